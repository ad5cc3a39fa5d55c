"""Localise the molecules of a movie and link them to tracks: `python main/localise.py MOVIE.tif --out tracks.csv`."""

import argparse
import math
import shlex
import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from main.images.linking import MAX_GAP
from main.images.tiff import Movie, open_movie
from main.tracks.options import FRAME_INTERVALS_S, PIXEL_SIZES_UM, check_number
from main.utils.errors import InputError
from main.utils.files import write_atomically
from simulations.arguments import Parser

DESCRIPTION = """Find the molecules in every frame of a movie (TIFF), fit position, width, photons and background of
each by maximum likelihood, and link them to tracks. Writes one table with a row for each spot, which infer.py reads.
The middle of the first pixel is (0, 0); x runs along columns."""
ENDINGS = (".csv", ".parquet")
CAMERA_EXAMPLE = "OFFSET,GAIN,READ_NOISE[,EXCESS]"
ESTIMATED = "estimated"


def make_parser(prog: str = "localise.py") -> Parser:
    """Make the parser of the command line."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("movie", metavar="MOVIE", type=Path, help="TIFF file with the frames of one channel. Required.")
    parser.add_argument(
        "--out", metavar="TRACKS", type=Path, required=True, help="Table to write, .csv or .parquet. Required."
    )
    parser.add_argument(
        "--pixel-size",
        type=float,
        metavar="UM",
        help="Size of a pixel in micrometres. Default: what the file declares; without it, the table is in pixels.",
    )
    parser.add_argument(
        "--frame-interval",
        type=float,
        metavar="S",
        help="Time between frames in seconds. Default: what the file declares; without it, the table has no times.",
    )
    parser.add_argument(
        "--camera",
        type=parse_camera,
        default=ESTIMATED,
        metavar=CAMERA_EXAMPLE,
        help="Counts without light, counts per photoelectron, read noise in photoelectrons, and 2 for an EMCCD (else "
        "1). Default: %(default)s, from the pixels without a molecule.",
    )
    parser.add_argument(
        "--psf-sigma",
        type=float,
        metavar="UM",
        help="Standard deviation of the spot of a molecule at rest, in micrometres (in pixels where the pixel size is "
        "not known). Default: estimated from the spots.",
    )
    parser.add_argument(
        "--max-step",
        type=float,
        metavar="UM",
        help="Longest step from one frame to the next, in micrometres (in pixels where the pixel size is not known). "
        "Default: from the steps found, at most as far as other molecules are.",
    )
    parser.add_argument(
        "--max-gap",
        type=int,
        default=MAX_GAP,
        metavar="N",
        help="Frames without a spot that a track may bridge, 0 to 10. Default: %(default)s.",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace the table if there is one.")
    return parser


def parse_camera(text: str):
    """Parse `OFFSET,GAIN,READ_NOISE[,EXCESS]`, or the word estimated, as a tuple of four numbers or None.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is neither.
    """
    if text == ESTIMATED:
        return None
    try:
        offset, gain, read, *excess = (float(part) for part in text.split(","))
        (excess,) = excess or (1.0,)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' cannot be used, expected {CAMERA_EXAMPLE} or {ESTIMATED}") from None
    if not (math.isfinite(offset) and 0 < gain < math.inf and 0 <= read < math.inf and 1 <= excess <= 2):
        raise argparse.ArgumentTypeError(
            f"'{text}' cannot be used, expected a gain above 0, a read noise of 0 or more and an excess of 1 to 2"
        )
    return offset, gain, read, excess


def check_options(args) -> None:
    """Raise InputError if an option cannot be used."""
    for name, allowed, unit in (("pixel_size", PIXEL_SIZES_UM, "um"), ("frame_interval", FRAME_INTERVALS_S, "s")):
        if getattr(args, name) is not None:
            check_number(f"--{name.replace('_', '-')}", getattr(args, name), allowed, unit)
    for name in ("psf_sigma", "max_step"):
        value = getattr(args, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"--{name.replace('_', '-')} {value:g}: expected a number above 0.")
    if not 0 <= args.max_gap <= 10:
        raise InputError(f"--max-gap {args.max_gap}: expected 0 to 10.")
    if args.out.suffix.lower() not in ENDINGS:
        raise InputError(f"{args.out}: has no ending {' or '.join(ENDINGS)}; give the table such a name.")
    if not args.out.parent.is_dir():
        raise InputError(f"{args.out}: its folder does not exist; make it first.")
    if args.out.exists() and not args.overwrite:
        raise InputError(f"{args.out}: exists already; give another name, or --overwrite to replace it.")
    if args.out.exists() and (args.out.is_dir() or args.out.samefile(args.movie)):
        raise InputError(f"{args.out}: is a folder or the movie itself, and is not replaced; give another name.")


def make_table(table: pd.DataFrame, pixel_size: float | None, frame_interval: float | None) -> pd.DataFrame:
    """Return the table of spots (px, frames) with its units in the names of the columns, and with times.

    Parameters
    ----------
    table : pandas.DataFrame
        As `main.images.localise.Localisations.table`.
    pixel_size, frame_interval : float, optional
        um, s.
    """
    unit, factor = ("px", 1.0) if pixel_size is None else ("um", pixel_size)
    columns = {name: table[name] for name in ("track_id", "frame")}
    columns |= {f"{name}_{unit}": table[name] * factor for name in ("x", "y", "x_err", "y_err", "width")}
    columns |= {name: table[name] for name in ("photons", "background")}
    if frame_interval is not None:
        columns["time_s"] = table["frame"] * frame_interval
    return pd.DataFrame(columns)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV or Parquet, whole or not at all."""
    if path.suffix.lower() == ".csv":
        write_atomically(path, lambda part: table.to_csv(part, index=False, float_format="%.7g"), shared=True)
    else:
        write_atomically(path, lambda part: table.to_parquet(part, index=False), shared=True)


def describe(found, movie: Movie, pixel_size: float | None, out: Path) -> str:
    """What was found, in some lines of text."""
    unit, factor = ("px", 1.0) if pixel_size is None else ("um", pixel_size)
    n_tracks = found.table["track_id"].nunique()
    lines = [
        f"{movie.path}: {movie.n_frames} frames of {movie.width} x {movie.height} pixels",
        f"{len(found.table):,} spots ({found.n_detected:,} candidates) in {n_tracks:,} tracks, "
        f"{len(found.table) / max(1, n_tracks):.1f} spots each; median of {found.table['photons'].median():.0f} "
        "photons",
        f"point spread function: sigma {found.psf.value * factor:.4g} +- {found.psf.error * factor:.2g} {unit}"
        + ("" if found.psf.identified else " (not identified)"),
        f"longest step: {found.radius * factor:.3g} {unit}",
    ]
    if found.estimate is not None:
        lines.append(found.estimate.describe())
        if not found.estimate.gain_excess.identified:
            lines.append("photons and errors depend on the gain, which is not known well; --camera sets it.")
    lines.append(f"{out}: written; next: python main/infer.py {shlex.quote(str(out))} --out results/FOLDER")
    return "\n".join(lines)


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Localise one movie.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the command line.
    prog : str, optional
        Name of the command that calls this one, for messages.

    Returns
    -------
    int
        0, or 2 with one sentence on stderr if the movie or an option cannot be used; nothing is then written.
    """
    args = make_parser(prog or "localise.py").parse_args(arguments)
    try:
        check_options(args)
        with open_movie(args.movie) as movie:
            run(movie, args)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{args.out}: cannot be written ({error.strerror or error}).", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written.", file=sys.stderr)
        return 130
    return 0


def run(movie: Movie, args) -> None:
    """Localise an open movie, write the table, and print what was found."""
    # torch takes seconds to import; a file or an option that cannot be used is refused before
    from main.images.localise import Camera, localise

    for sentence in movie.warnings:
        print(sentence, file=sys.stderr)
    pixel_size = args.pixel_size or movie.pixel_size_um
    frame_interval = args.frame_interval or movie.frame_interval_s
    factor = pixel_size or 1.0
    camera = None if args.camera in (None, ESTIMATED) else Camera(*args.camera)
    found = localise(
        movie,
        camera,
        args.psf_sigma and args.psf_sigma / factor,
        args.max_step and args.max_step / factor,
        args.max_gap,
        lambda parts, total: tqdm(parts, total=total, desc="localise", disable=None),
    )
    if found.table.empty:
        raise InputError(f"{movie.path}: no molecule was found in any frame; look at the movie, or give --camera.")
    write_table(make_table(found.table, pixel_size, frame_interval), args.out)
    print(describe(found, movie, pixel_size, args.out))


if __name__ == "__main__":
    sys.exit(main())
