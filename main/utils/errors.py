"""The error whose message a user sees, and text that can be shown to a user."""

import re

# Control characters (a file name may hold a line break, or change the colours of a terminal), separators of lines,
# changes of the direction of writing, and the surrogates by which Python stands for bytes that are no UTF-8.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class InputError(ValueError):
    """A file or an option cannot be used. The message is one sentence for the user, on one line.

    A message of more than 500 characters is shortened in its middle.
    """

    def __init__(self, message):
        text = " ".join(str(message).split())
        text = make_printable(text)
        super().__init__(text if len(text) <= 500 else f"{text[:300]} ... {text[-190:]}")


def make_printable(text) -> str:
    """Return a text with `\\x..` or `\\u....` in place of characters that cannot be printed or written as UTF-8."""
    return UNPRINTABLE.sub(lambda found: _escape(found.group()), str(text))


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # the byte code - 0xDC00 of a file name (PEP 383)
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
