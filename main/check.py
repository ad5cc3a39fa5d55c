"""Say what track files were understood to hold, without analysing them: `python main/check.py TRACKS`."""

import sys

from main.tracks.arguments import add_min_length, add_reading_arguments
from main.tracks.options import InferenceOptions
from main.tracks.preview import preview_file
from main.tracks.reading.sources import find_files
from main.utils.errors import InputError
from simulations.arguments import Parser

DESCRIPTION = """Read track files as infer.py would, and print what was understood: format, columns, units, account of
all rows, lengths of tracks, what would be analysed and what not, the first rows. Takes the options of infer.py that say
how files are read. Nothing is analysed or written."""


def make_parser(prog: str = "check.py") -> Parser:
    """Make the parser of the command line."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument(
        "tracks", nargs="+", metavar="TRACKS", help="Track files, or patterns such as 'day1/*.csv'. Required."
    )
    add_reading_arguments(parser)
    add_min_length(parser)
    return parser


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Describe every file.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the command line.
    prog : str, optional
        Name of the command that calls this one, for messages.

    Returns
    -------
    int
        0, or 2 with one sentence on stderr for each file that cannot be used.
    """
    values = vars(make_parser(prog or "check.py").parse_args(arguments))
    code = 0
    try:
        files = find_files(values.pop("tracks"))
        options = InferenceOptions(**values)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for number, (path, _) in enumerate(files):
        try:
            print("\n" * (number > 0) + preview_file(path, options))
        except InputError as error:
            print(error, file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())
