"""Every option of every command has a sentence, its default and its choices in --help."""

import argparse
import importlib
import re

import pytest
from helpers import ROOT

COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("main", "simulations", "misc")
    for path in (ROOT / folder).glob("*.py")
    if re.search(r"ArgumentParser\(|import Parser", path.read_text(encoding="utf-8"))
)


class Parser(Exception):
    """Carries the parser of a command out of its main."""


def parser_of(command, monkeypatch) -> argparse.ArgumentParser:
    def refuse(parser, *_, **__):
        raise Parser(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", refuse)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", refuse)
    with pytest.raises(Parser) as raised:
        importlib.import_module(command).main([])
    return raised.value.args[0]


def lacks(action: argparse.Action, parser: argparse.ArgumentParser) -> list[str]:
    """What the help of one option does not say."""
    text = action.help or ""
    if "%(default)s" not in text and isinstance(parser.formatter_class(""), argparse.ArgumentDefaultsHelpFormatter):
        text += f" (default: {action.default})" if action.default is not None else ""
    text = text.replace("%(default)s", str(action.default))
    words = text.split()
    missing = [] if len(words) >= 3 else ["a sentence"]
    default = action.default
    if default not in (None, False, "", argparse.SUPPRESS) and not isinstance(default, list | tuple):
        name = getattr(default, "name", None) if hasattr(default, "exists") else None
        plain = [
            str(default),
            f"{default:,}" if isinstance(default, int) else "",
            f"{default:g}" if isinstance(default, float) else "",
        ]
        if not any(p and p in text for p in plain + [name or ""]):
            missing.append(f"its default {default}")
    if (
        isinstance(action.choices, list | tuple) and action.metavar
    ):  # argparse shows choices where nothing else is shown
        missing += [f"its choice {choice}" for choice in action.choices if str(choice) not in text]
    return missing


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_each_option_is(command, monkeypatch):
    parser = parser_of(command, monkeypatch)
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            name = "/".join(action.option_strings) or action.dest
            assert lacks(action, parser) == [], f"{command} {name}: --help does not say it"


def test_commands_are_found():
    assert {"main.infer", "main.train", "simulations.simulate", "misc.limits"} <= set(COMMANDS)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"default": 3}, "a sentence"),
        ({"default": 3, "help": "Number of things."}, "its default 3"),
        ({"choices": ["a", "b"], "metavar": "X", "help": "One of a few things."}, "its choice b"),
    ],
)
def test_an_option_without_them_is_found(options, missing):
    parser = argparse.ArgumentParser()
    assert missing in lacks(parser.add_argument("--x", **options), parser)
