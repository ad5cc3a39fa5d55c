"""Estimate K, alpha and state of tracks, per frame and per segment: `python main/infer.py TRACKS --out DIR`."""

import shlex
import sys

from main.tracks.arguments import add_min_length, add_reading_arguments
from main.tracks.options import ADAPTATIONS, DEFAULT_WEIGHTS, DEVICES
from main.tracks.pipeline import infer_files
from main.utils.errors import InputError
from simulations.arguments import Parser

DESCRIPTION = """Estimate the generalised diffusion coefficient K, the anomalous exponent alpha and the state of every
frame, find changepoints, and cut every track into segments. Writes the tables points, segments and tracks (Parquet)
and run.json."""


def group_by_condition(tracks: list[str], conditions: list[list[str]] | None) -> list[str] | dict[str, list[str]]:
    """Return the files of the command line: a list or, with --condition, a dict of condition -> list.

    Raises
    ------
    InputError
        If some files have a condition and others none, or a condition has no file.
    """
    if not conditions:
        return tracks
    if tracks:
        raise InputError(f"{tracks[0]}: has no condition, but others have; give it after --condition NAME.")
    grouped = {}
    for name, *files in conditions:
        if not files:
            raise InputError(f"--condition {name}: has no track files, expected a name and its files.")
        grouped.setdefault(name, []).extend(files)
    return grouped


def make_parser(prog: str = "infer.py") -> Parser:
    """Make the parser of the command line."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add_file_arguments(parser)
    add_analysis_arguments(parser)
    add_output_arguments(parser)
    return parser


def add_file_arguments(parser: Parser) -> None:
    """Add what describes the track files."""
    parser.add_argument(
        "tracks",
        nargs="*",
        metavar="TRACKS",
        help="Track files (CSV, Parquet, TrackMate XML), or patterns such as 'day1/*.csv'. Required, unless every file "
        "is given with --condition.",
    )
    parser.add_argument(
        "--condition",
        nargs="+",
        action="append",
        metavar=("NAME", "TRACKS"),
        help="Name of an experimental condition and its track files, instead of TRACKS; repeat it for each condition. "
        "The tables get a column condition. Default: no conditions.",
    )
    add_reading_arguments(parser)
    parser.add_argument(
        "--exposure",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="Share of the frame interval during which the shutter is open, 0 to 1. Default: %(default)s, an "
        "instantaneous picture.",
    )
    parser.add_argument(
        "--correct-drift",
        action="store_true",
        help="Subtract the drift that all tracks of a file share; x and y of the tables are then relative to the "
        "field. Default: off, drift is only reported.",
    )


def add_analysis_arguments(parser: Parser) -> None:
    """Add what decides how tracks are analysed."""
    names = " and ".join(f"{weights} with --adapt {adapt}" for adapt, weights in DEFAULT_WEIGHTS.items())
    parser.add_argument(
        "--weights",
        metavar="NAME",
        help=f"Name of shipped weights (a folder in main/models/weights), or the path of a folder. Default: {names}.",
    )
    parser.add_argument(
        "--adapt",
        default="none",
        choices=ADAPTATIONS,
        help="Analyse each track alone (none), or all tracks of a file together as one sample (sample). Default: "
        "%(default)s. Choices: %(choices)s.",
    )
    add_min_length(parser)
    parser.add_argument(
        "--device",
        default="auto",
        choices=DEVICES,
        help="Processor that runs the networks. Default: %(default)s, a CUDA GPU if there is one, else the CPU. "
        "Choices: %(choices)s.",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Address of a dask scheduler (tcp://HOST:8786, or the path of its scheduler file), whose workers analyse "
        "the tracks. Default: this machine analyses them.",
    )


def add_output_arguments(parser: Parser) -> None:
    """Add what decides which files are written, and where."""
    parser.add_argument("--out", required=True, metavar="DIR", help="Folder for the results. Required.")
    parser.add_argument(
        "--andi", action="store_true", help="Also write the text files of the AnDi-2 challenge. Default: off."
    )
    parser.add_argument("--csv", action="store_true", help="Also write CSV copies of the tables. Default: off.")
    parser.add_argument(
        "--report", action="store_true", help="Also write report.html, one page about the results. Default: off."
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="Write into a folder that exists, and replace earlier results there. Default: off, such a folder is "
        "refused.",
    )


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the command line.
    prog : str, optional
        Name of the command that calls this one, for messages and run.json.

    Returns
    -------
    int
        0; 2 with one sentence on stderr if a file or an option cannot be used; 130 after Ctrl-C.
    """
    options = vars(make_parser(prog or "infer.py").parse_args(arguments))
    called = ["python", *sys.argv] if arguments is None else [*prog.split(), *arguments] if prog else None
    try:
        paths = group_by_condition(options.pop("tracks"), options.pop("condition"))
        run = infer_files(
            paths,
            options.pop("out"),
            progress=sys.stderr.isatty(),
            command=shlex.join(called) if called else None,
            **options,
        )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"interrupted: {str(error) or 'nothing was written'}.", file=sys.stderr)
        return 130
    for warning in run.record["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(run.summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
