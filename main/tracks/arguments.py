"""The options of commands that read track files, which say how to read them."""

import argparse
import re

from main.tracks.options import DECIMALS, DEFAULT_FORMAT, ESTIMATE, MIN_LENGTH
from main.tracks.reading.formats import FORMATS
from main.tracks.table import COLUMNS
from simulations.arguments import Parser

COLUMNS_EXAMPLE = "track=NAME,frame=NAME,x=NAME,y=NAME"


def add_reading_arguments(parser: Parser) -> None:
    """Add the options that say how track files are to be read."""
    parser.add_argument(
        "--format",
        default=DEFAULT_FORMAT,
        choices=list(FORMATS),
        help="Format of the track files. Default: %(default)s, which looks at the extension and the header of each "
        "file. Choices: %(choices)s.",
    )
    parser.add_argument(
        "--columns",
        type=parse_columns,
        metavar=COLUMNS_EXAMPLE,
        help="Names of the columns in the files, for those that have unusual names. Default: columns are found by "
        "their usual names.",
    )
    parser.add_argument(
        "--decimal",
        choices=DECIMALS,
        help="Decimal mark of text files. Default: what their numbers show; a file in which 15.674 can be 15674 is "
        "refused without this option. Choices: %(choices)s.",
    )
    parser.add_argument(
        "--pixel-size",
        type=float,
        metavar="UM",
        help="Size of a pixel in micrometres, for files in pixels. Default: results stay in the unit of the file.",
    )
    parser.add_argument(
        "--frame-interval",
        type=float,
        metavar="S",
        help="Time between frames in seconds. Default: what the file declares; without it, times are in frames.",
    )
    parser.add_argument(
        "--localization-error",
        type=parse_localization_error,
        metavar="SIGMA",
        help="Localisation error: its standard deviation per coordinate, in the unit of x and y; or the word estimate, "
        "which takes it from the tracks of each file. Default: the error columns of the file; without them, it is "
        "unknown.",
    )


def parse_columns(text: str) -> dict[str, str]:
    """Parse `track=NAME,frame=NAME,x=NAME,y=NAME`, or a part of it.

    Returns
    -------
    dict of str -> str
        track_id, frame, x, y -> column name.

    Raises
    ------
    argparse.ArgumentTypeError
        If a part is not of this form, or a column is named twice.
    """
    roles = {"track": "track_id"} | {name: name for name in COLUMNS}
    pairs = [part.partition("=") for part in re.split(rf",(?=\s*(?:{'|'.join(roles)})\s*=)", text)]
    named = {roles.get(role.strip()): name.strip() for role, _, name in pairs}
    if None in named or "" in named.values() or len(named) < len(pairs):
        raise argparse.ArgumentTypeError(f"'{text}' cannot be used, expected {COLUMNS_EXAMPLE} or a part of it")
    return named


def parse_localization_error(text: str) -> float | str:
    """Parse the value of --localization-error: a number, or "estimate".

    Raises
    ------
    argparse.ArgumentTypeError
        If it is neither.
    """
    if text == ESTIMATE:
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' cannot be used, expected a number or {ESTIMATE}") from None


def add_min_length(parser: Parser) -> None:
    """Add the option that says which tracks are long enough to be analysed."""
    parser.add_argument(
        "--min-length",
        type=int,
        default=MIN_LENGTH,
        metavar="N",
        help="Number of points that a track needs to be analysed, 5 or more; a shorter track keeps one row, with a "
        "warning. Default: %(default)s.",
    )
