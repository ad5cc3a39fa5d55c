"""Track files to K, alpha and state of every frame and segment: `python main/infer.py TRACKS --out DIR`."""

import argparse
import shlex
import sys
from collections import Counter

from main.tracks.options import MIN_LENGTH
from main.tracks.pipeline import infer_files
from main.tracks.reading.formats import FORMATS
from main.tracks.table import COLUMNS
from main.utils.errors import InputError


def column_names(text: str) -> dict[str, str]:
    """track=..,frame=..,x=..,y=.. as a dictionary track_id, frame, x, y -> column name."""
    roles = {"track": "track_id"} | {name: name for name in COLUMNS}
    pairs = [part.partition("=") for part in text.split(",")]
    for role, _, name in pairs:
        if role.strip() not in roles or not name.strip():
            raise argparse.ArgumentTypeError(f"'{text}' is not like track=..,frame=..,x=..,y=..")
    return {roles[role.strip()]: name.strip() for role, _, name in pairs}


def chosen(tracks: list[str], conditions: list[list[str]] | None):
    """The files of the command line: a list, or with --condition a dict of condition -> list."""
    if not conditions:
        return tracks
    if tracks:
        raise InputError(f"{tracks[0]}: belongs to no condition, give it after --condition NAME.")
    for name, *files in conditions:
        if not files:
            raise InputError(f"--condition {name}: expected a name and its track files.")
    names = Counter(name for name, *_ in conditions)
    return {name: [f for own, *files in conditions if own == name for f in files] for name in names}


class Parser(argparse.ArgumentParser):
    """Reports a wrong option in one sentence."""

    def error(self, message):
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments=None, prog=None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(
        prog=prog or "infer.py", description="K, alpha and state of every frame, changepoints and segments."
    )
    parser.add_argument("tracks", nargs="*", metavar="TRACKS", help="CSV, Parquet or TrackMate XML files, or patterns")
    parser.add_argument(
        "--condition",
        nargs="+",
        action="append",
        metavar=("NAME", "TRACKS"),
        help="a name and the files it stands for, instead of TRACKS; once for each condition",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--format", default="auto", choices=list(FORMATS))
    parser.add_argument("--pixel-size", type=float, metavar="UM", help="um per pixel")
    parser.add_argument("--frame-interval", type=float, metavar="S", help="seconds between frames")
    parser.add_argument("--localization-error", type=float, metavar="SIGMA", help="in the unit of x and y")
    parser.add_argument("--columns", type=column_names, metavar="track=..,frame=..,x=..,y=..")
    parser.add_argument(
        "--weights", metavar="NAME", help="shipped name or a folder (default; with --adapt sample: sample)"
    )
    parser.add_argument(
        "--adapt",
        default="none",
        choices=["none", "sample"],
        help="sample: the tracks of a file are read in the light of each other",
    )
    parser.add_argument(
        "--min-length",
        type=int,
        default=MIN_LENGTH,
        metavar="N",
        help=f"points a track needs to be analysed ({MIN_LENGTH})",
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="analyse on the workers of this dask scheduler (tcp://HOST:8786, or its scheduler file)",
    )
    parser.add_argument("--andi", action="store_true", help="also write the AnDi-2 challenge's files")
    parser.add_argument("--csv", action="store_true", help="also write CSV copies of the tables")
    parser.add_argument("--report", action="store_true", help="also write report.html: one page to look at and pass on")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that exists")
    return parser.parse_args(arguments)


def main(arguments=None, prog=None) -> int:
    """Run the command; 0, or 2 with one sentence on stderr when input or options cannot be used."""
    options = vars(parse(arguments, prog))
    words = [*prog.split(), *arguments] if prog else ["python", *sys.argv] if arguments is None else []
    command = shlex.join(words) or None  # None: called from Python
    try:
        paths = chosen(options.pop("tracks"), options.pop("condition"))
        run = infer_files(paths, options.pop("out"), progress=sys.stderr.isatty(), command=command, **options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for warning in run.record["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(run.summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
