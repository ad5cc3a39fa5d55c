"""Track files to K, alpha and state of every frame and segment: `python main/infer.py TRACKS --out DIR`."""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from main.utils.readers import FORMATS, read_tracks
from main.utils.results import andi_file, andi_text, run_record
from main.utils.sources import BLOCK_POINTS, Source, blocks, expand, labelled, open_sources
from main.utils.tables import Results, tabulate
from main.utils.tracks import COLUMNS, InputError, check_values, with_units
from main.utils.writer import TABLES, results_in, writing

MIN_LENGTH = 20


@dataclass
class Run:
    """What a call of `infer_files` made: the folder, the files as read, the record, one line about it."""

    out: Path
    files: list[Source]
    record: dict
    summary: str

    @property
    def results(self) -> Results:
        """The tables, read from the folder."""
        return Results(*(pd.read_parquet(self.out / f"{name}.parquet") for name in TABLES))


def infer_files(
    paths,
    out,
    *,
    format="auto",
    pixel_size=None,
    frame_interval=None,
    localization_error=None,
    columns=None,
    weights=None,
    adapt="none",
    min_length=MIN_LENGTH,
    device="auto",
    scheduler=None,
    andi=False,
    csv=False,
    report=False,
    overwrite=False,
    progress=False,
    command=None,
) -> Run:
    """Analyse track files and write points, segments and tracks tables and run.json into a folder.

    Tracks are analysed and written some thousand at a time, so that memory does not grow with their number, but for
    what reading the largest file takes; with `adapt` a file is analysed as a whole.

    Parameters
    ----------
    paths : path, list of paths, or dict of condition -> path or list of paths
        Track files, or patterns such as `day1/*.csv`. With a dict the tables have a column `condition`.
    out : str or Path
        Folder to write; refused if it exists, unless `overwrite`.
    format : str
        Key of `main.utils.readers.FORMATS`.
    pixel_size : float, optional
        Micrometres per pixel, for files in pixels.
    frame_interval : float, optional
        Seconds between frames; must agree with what the file declares.
    localization_error : float, optional
        In the unit of x and y; goes before the file's error columns.
    columns : dict, optional
        track_id, frame, x, y -> column name.
    weights : str or Path, optional
        Name of shipped weights, or their folder; by default those of `main.utils.inference.DEFAULT_WEIGHTS`.
    adapt : {"none", "sample"}
        "sample": each file is one sample, whose tracks are read in the light of each other.
    min_length : int
        Tracks with fewer points get no segments, 2 or more.
    device : {"auto", "cpu", "cuda"}
    scheduler : str, optional
        Address of a dask scheduler on whose workers the tracks are analysed.
    andi, csv, report : bool
        Also write the AnDi-2 challenge's text files; CSV copies of the tables; report.html (`main.utils.report`).
    overwrite : bool
    progress : bool
        Show progress bars.
    command : str, optional
        The command line, for run.json.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        One sentence; nothing has been written then.
    """
    out = Path(out)
    check_values(pixel_size, frame_interval, localization_error, min_length, adapt)
    check_folder(out, overwrite)
    paths = expand(paths)
    check_inputs_stay([path for path, _ in paths], out)

    def read(path):
        return with_units(read_tracks(path, format, columns), pixel_size, frame_interval)

    files = open_sources(paths, read)
    check_same_units(files)
    if andi:
        check_andi_names(files)
    from main.utils.inference import DEFAULT_WEIGHTS, check_features, load_predictor  # brings torch, only now

    weights = weights or DEFAULT_WEIGHTS[adapt]
    predictor, config = load_predictor(weights, "cpu" if scheduler else device)
    check_features(files, config)
    options = {
        "format": format,
        "pixel_size": pixel_size,
        "frame_interval": frame_interval,
        "localization_error": localization_error,
        "columns": columns,
        "weights": str(weights),
        "adapt": adapt,
        "min_length": min_length,
        "device": device if scheduler else str(predictor.device),
        "scheduler": scheduler,
        "andi": andi,
        "csv": csv,
    }
    with writing(out, files[0].units.labels(), csv) as writer:
        tally = analyse_files(files, writer, predictor, config, options, progress)
        counts, warnings = tally.counts(files), tally.warnings(files, localization_error)
        record = run_record(files, options, config, counts, warnings)
        record |= ({"samples": tally.samples} if tally.samples else {}) | ({"command": command} if command else {})
        writer.finish(record, {name: "".join(text) for name, text in tally.texts.items()})
    line = summary(counts, warnings, min_length, out) + (report_line(out) if report else "")
    return Run(out, files, record, line)


def report_line(out: Path) -> str:
    """Write the report; where it is, for the last line."""
    from main.utils.report import write_report  # brings matplotlib and scipy, only now

    return f", report in {write_report(out)}"


def analyse_files(files: list[Source], writer, predictor, config: dict, options: dict, progress: bool) -> "Tally":
    """Analyse all tracks of all files, here or on a cluster, and write their tables; returns what was counted."""
    tally, together, scheduler = Tally(), options["adapt"] == "sample", options["scheduler"]
    given = {"min_length": options["min_length"], "sigma": options["localization_error"], "adapt": together}
    parts = pieces(files, None if together else BLOCK_POINTS["cpu" if scheduler else predictor.device.type])
    n_tracks = sum(len(file.track_ids) for file in files)
    bar = tqdm(desc="tracks", total=n_tracks, unit="track", disable=not progress or together)
    with ExitStack() as stack:
        stack.enter_context(bar)
        if scheduler:
            parts = on_cluster(stack, parts, config, options, given)
        else:
            run = partial(tabulate, predictor=predictor, config=config, progress=progress and together, **given)
            parts = ((source, block, run(block)) for source, block in parts)
        for source, block, results in parts:
            if options["andi"]:
                tally.texts.setdefault(andi_file(source.path), []).append(andi_text(block, results))
            writer.add(labelled(results, source, len(files) > 1))
            tally.add(source, results)
            bar.update(len(results.tracks))
    return tally


def pieces(files: list[Source], n_points: int | None) -> Iterator:
    """(file, some of its tracks) through all files; all of its tracks at once if `n_points` is None."""
    for source in files:
        tracks = source.tracks()
        yield from ((source, block) for block in blocks(tracks, n_points or len(tracks.table)))


def on_cluster(stack: ExitStack, parts, config: dict, options: dict, given: dict) -> Iterator:
    """(file, tracks, their tables), from the workers of a dask scheduler."""
    from main.utils.cluster import code, tabulate_on  # dask is needed here only
    from simulations.scheduler import connect

    try:
        client = stack.enter_context(connect(options["scheduler"], code))
    except ValueError as error:
        raise InputError(str(error)) from error
    return tabulate_on(client, parts, (options["weights"], options["device"]), config, given)


@dataclass
class Tally:
    """What all blocks come to: counts, and what is written at the end."""

    tracks: int = 0
    gaps: int = 0
    analysed: int = 0
    segments: int = 0
    flags: Counter = field(default_factory=Counter)
    samples: list = field(default_factory=list)
    not_decoded: list[str] = field(default_factory=list)
    texts: dict = field(default_factory=dict)  # of the challenge's files, in pieces

    def add(self, source: Source, results: Results) -> None:
        """Count in a block."""
        rows = results.tracks
        self.tracks += len(rows)
        self.gaps += int(rows["n_gaps"].sum())
        self.analysed += int((rows["n_segments"] > 0).sum())
        self.segments += len(results.segments)
        for flags in rows["flags"]:
            self.flags.update(filter(None, flags.split(";")))
        if results.sample is not None:
            self.samples.append(results.sample)
            if not results.sample["mixture"]:
                self.not_decoded.append(f"{source.path}: {results.sample['reason']}.")

    def counts(self, files: list[Source]) -> dict:
        """What was read, dropped, analysed and flagged."""
        dropped = sum((Counter(file.dropped) for file in files), Counter())
        return {
            "files": len(files),
            "tracks": self.tracks,
            "points": sum(file.n_points for file in files),
            "gaps": self.gaps,
            "analysed": self.analysed,
            "segments": self.segments,
            "dropped": dict(dropped),
            "flags": dict(self.flags),
        }

    def warnings(self, files: list[Source], localization_error: float | None) -> list[str]:
        """What the user should know: of the files, of noise that may pass for motion, of samples not decoded."""
        found = [
            w for file in files for w in file.warnings if localization_error is None or "--localization-error" not in w
        ]
        intervals = {file.units.frame_interval_s for file in files}
        if len(intervals) > 1:
            listed = ", ".join(f"{interval:g}" for interval in sorted(intervals))
            found.append(
                f"The files have different frame intervals ({listed} s): msd_1 and numbers of frames cannot "
                "be compared between them."
            )
        if noisy := self.flags["noise_dominated"]:
            found.append(
                f"{noisy} tracks are noise_dominated: alpha near 0 and localisation noise look alike while "
                "the noise is unknown; give --localization-error."
            )
        return found + self.not_decoded


def check_folder(out: Path, overwrite: bool) -> None:
    """Raise InputError for a folder that results cannot go to."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, expected a folder for the results.")
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already, give another folder or --overwrite.")


def check_inputs_stay(paths: list[Path], out: Path) -> None:
    """Raise InputError if the results would take the place of a file that they are made from."""
    replaced = {path.resolve() for path in results_in(out)}
    for path in paths:
        if path.resolve() in replaced:
            raise InputError(f"{path}: would be replaced by the results, give another folder than {out}.")


def check_same_units(files: list[Source]) -> None:
    """Raise InputError if the files' results would stand in different units."""
    first = files[0]
    for other in files[1:]:
        if other.units.labels() != first.units.labels():
            raise InputError(
                f"{first.path} and {other.path} would give results in different units "
                f"({first.units} and {other.units}), run them apart."
            )


def check_andi_names(files: list[Source]) -> None:
    """Raise InputError if two files would be written to one challenge file."""
    names = Counter(andi_file(file.path) for file in files)
    name, times = names.most_common(1)[0]
    if times > 1:
        raise InputError(f"{times} files would be written to {name}, expected exp_E and fov_F in the paths.")


def summary(counts: dict, warnings: list[str], min_length: int, out: Path) -> str:
    """The line that ends a run: what was read, what was dropped and why, where the results are."""
    dropped = [f"{n} {reason} points" for reason, n in counts["dropped"].items()]
    short = counts["flags"].get("too_short", 0)
    if short:
        dropped.append(f"{short} tracks below {min_length} points (kept as rows with a classical D)")
    flags = [f"{n} {flag}" for flag, n in counts["flags"].items() if flag != "too_short"]
    parts = [
        f"Read {counts['tracks']} tracks, {counts['points']} points from {counts['files']} file(s)",
        f"dropped {', '.join(dropped) or 'nothing'}",
        f"{counts['segments']} segments in {counts['analysed']} tracks",
    ]
    parts += [f"flagged {', '.join(flags)}"] if flags else []
    parts += [f"{len(warnings)} warning(s) in run.json"] if warnings else []
    return "; ".join(parts) + f"; results in {out}"


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


def parse(arguments=None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="infer.py", description="K, alpha and state of every frame, changepoints and segments.")
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


def main(arguments=None) -> int:
    """Run the command; 0, or 2 with one sentence on stderr when input or options cannot be used."""
    options = vars(parse(arguments))
    command = shlex.join(["python", *sys.argv]) if arguments is None else None
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
