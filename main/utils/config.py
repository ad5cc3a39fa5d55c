"""Options as fields of dataclasses, and the same options on a command line."""

from __future__ import annotations

import argparse
from dataclasses import field, fields


def option(default, text: str, choices: tuple = (), within: tuple[float, float] | None = None):
    """A field of a dataclass of options.

    Parameters
    ----------
    default : int, float, str or bool
    text : str
        One sentence for `--help`.
    choices : tuple of str
        The values that the option may have, where they can be listed.
    within : (number, number), optional
        Smallest and largest value of a number, see `check_options`.
    """
    return field(default=default, metadata={"help": text, "choices": choices or None, "within": within})


def check_options(options) -> None:
    """Check that every number of a dataclass of options is within its range.

    Raises
    ------
    ValueError
        If one is not; the message names the option and the range.
    """
    for entry in fields(options):
        if entry.metadata["within"] is not None:
            check_number(entry.name, getattr(options, entry.name), *entry.metadata["within"])


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Check that an option is a number from `low` to `high`.

    Raises
    ------
    ValueError
        If it is not, or is nan.
    """
    if not low <= value <= high:
        raise ValueError(f"--{name.replace('_', '-')} {value}: expected a number from {low:,.12g} to {high:,.12g}")


def add_options(parser: argparse.ArgumentParser, kind: type) -> None:
    """Give a command an option for every field of a dataclass: `--its-name`, with its sentence, choices and default."""
    for entry in fields(kind):
        flag = f"--{entry.name.replace('_', '-')}"
        sentence = entry.metadata["help"].replace("%", "%%")  # argparse expands %
        text = f"{sentence} (default: {'nothing' if entry.default == '' else '%(default)s'})"
        if isinstance(entry.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=entry.default, help=text)
        else:
            choices = entry.metadata["choices"]
            text += f"; one of {', '.join(map(str, choices))}" if choices else ""
            metavar = type(entry.default).__name__.upper()
            parser.add_argument(flag, type=type(entry.default), default=entry.default, help=text, metavar=metavar)


def read_options(kind: type, arguments: argparse.Namespace):
    """The dataclass of options `kind`, filled from the parsed command line."""
    return kind(**{entry.name: getattr(arguments, entry.name) for entry in fields(kind)})
