"""The parser of all commands: a wrong option gives one sentence."""

from __future__ import annotations

import argparse

MAX_MESSAGE = 400  # characters of a message; a longer one is shortened in its middle


class Parser(argparse.ArgumentParser):
    """A parser that reports a wrong option in one sentence, on one line."""

    def error(self, message):
        """Print the sentence and exit with code 2."""
        text = " ".join(message.split())
        if len(text) > MAX_MESSAGE:
            text = f"{text[: MAX_MESSAGE // 2]} ... {text[-MAX_MESSAGE // 4 :]}"
        self.exit(2, f"{self.prog}: {text}; see {self.prog} --help.\n")
