"""Track files to K, alpha and state of every frame and segment: `python main/infer.py TRACKS --out DIR`."""

import argparse
import shlex
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from main.utils.readers import FORMATS, read_tracks
from main.utils.results import Results, andi_file, andi_text, pool, run_record, write_results
from main.utils.tables import analyse
from main.utils.tracks import COLUMNS, InputError, Tracks, check_values, with_units

MIN_LENGTH = 20


@dataclass
class Run:
    """What a call of `infer_files` made: pooled tables, files as read, the record, one line about it."""

    results: Results
    files: list[Tracks]
    record: dict
    summary: str


def infer_files(paths, out, *, format="auto", pixel_size=None, frame_interval=None,
                localization_error=None, columns=None, weights=None, adapt="none", min_length=MIN_LENGTH,
                device="auto", andi=False, csv=False, report=False, overwrite=False, progress=False,
                command=None) -> Run:
    """Analyse track files and write points, segments and tracks tables and run.json into a folder.

    Parameters
    ----------
    paths : str, Path or list of them
        Track files.
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
    paths = [Path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    out = Path(out)
    check_options(paths, out, pixel_size, frame_interval, localization_error, min_length, adapt, overwrite)
    files = [with_units(read_tracks(path, format, columns), pixel_size, frame_interval) for path in paths]
    check_same_units(files)
    if andi:
        check_andi_names(files)
    from main.utils.inference import DEFAULT_WEIGHTS, check_features, load_predictor  # brings torch, only now

    weights = weights or DEFAULT_WEIGHTS[adapt]
    predictor, config = load_predictor(weights, device)
    check_features(files, config)
    together = adapt == "sample"
    results = [analyse(f, predictor, config, min_length, localization_error, progress, together) for f in files]
    pooled = pool(results, files)
    texts = {}
    if andi:
        texts = {andi_file(file.path): andi_text(file, r) for file, r in zip(files, results, strict=True)}
    counts = count(files, pooled)
    options = {"format": format, "pixel_size": pixel_size, "frame_interval": frame_interval,
               "localization_error": localization_error, "columns": columns, "weights": str(weights),
               "adapt": adapt, "min_length": min_length, "device": str(predictor.device), "andi": andi, "csv": csv}
    warnings = [w for file in files for w in file.warnings
                if localization_error is None or "--localization-error" not in w] + noise_warning(counts)
    warnings += [f"{f.path}: {r.sample['reason']}." for f, r in zip(files, results, strict=True)
                 if together and not r.sample["mixture"]]
    record = run_record(files, options, config, counts, warnings)
    if together:
        record["samples"] = [r.sample for r in results]
    if command:
        record["command"] = command
    write_results(out, pooled, files[0].units.labels(), record, texts, csv)
    line = summary(counts, warnings, min_length, out) + (report_line(out) if report else "")
    return Run(pooled, files, record, line)


def report_line(out: Path) -> str:
    """Write the report; where it is, for the last line."""
    from main.utils.report import write_report  # brings matplotlib and scipy, only now

    return f", report in {write_report(out)}"


def check_options(paths, out, pixel_size, frame_interval, localization_error, min_length, adapt, overwrite) -> None:
    """Raise InputError for options that cannot be used, before anything is read."""
    check_values(pixel_size, frame_interval, localization_error, min_length, adapt)
    if not paths:
        raise InputError("No track file given.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError("The same track file is given twice.")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, expected a folder for the results.")
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already, give another folder or --overwrite.")


def check_same_units(files: list[Tracks]) -> None:
    """Raise InputError if the files' results would stand in different units."""
    first = files[0]
    for other in files[1:]:
        if other.units.labels() != first.units.labels():
            raise InputError(f"{first.path} and {other.path} would give results in different units "
                             f"({first.units} and {other.units}), run them apart.")


def check_andi_names(files: list[Tracks]) -> None:
    """Raise InputError if two files would be written to one challenge file."""
    names = Counter(andi_file(file.path) for file in files)
    name, times = names.most_common(1)[0]
    if times > 1:
        raise InputError(f"{times} files would be written to {name}, expected exp_E and fov_F in the paths.")


def count(files: list[Tracks], results: Results) -> dict:
    """Counts for run.json and the last line: what was read, dropped, analysed and flagged."""
    dropped, flags = Counter(), Counter()
    for file in files:
        dropped.update(file.dropped)
    for flag in results.tracks["flags"]:
        flags.update(filter(None, flag.split(";")))
    tracks = results.tracks
    return {"files": len(files), "tracks": len(tracks), "points": sum(len(file.table) for file in files),
            "gaps": int(tracks["n_gaps"].sum()), "analysed": int((tracks["n_segments"] > 0).sum()),
            "segments": len(results.segments), "dropped": dict(dropped), "flags": dict(flags)}


def noise_warning(counts: dict) -> list[str]:
    """One warning if tracks are noise_dominated, else none."""
    noisy = counts["flags"].get("noise_dominated", 0)
    if not noisy:
        return []
    return [f"{noisy} tracks are noise_dominated: alpha near 0 and localisation noise look alike while the "
            "noise is unknown; give --localization-error."]


def summary(counts: dict, warnings: list[str], min_length: int, out: Path) -> str:
    """The line that ends a run: what was read, what was dropped and why, where the results are."""
    dropped = [f"{n} {reason} points" for reason, n in counts["dropped"].items()]
    short = counts["flags"].get("too_short", 0)
    if short:
        dropped.append(f"{short} tracks below {min_length} points (kept as rows with a classical D)")
    flags = [f"{n} {flag}" for flag, n in counts["flags"].items() if flag != "too_short"]
    parts = [f"Read {counts['tracks']} tracks, {counts['points']} points from {counts['files']} file(s)",
             f"dropped {', '.join(dropped) or 'nothing'}",
             f"{counts['segments']} segments in {counts['analysed']} tracks"]
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


class Parser(argparse.ArgumentParser):
    """Reports a wrong option in one sentence."""

    def error(self, message):
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments=None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="infer.py",
                    description="K, alpha and state of every frame, changepoints and segments.")
    parser.add_argument("tracks", nargs="+", metavar="TRACKS", help="CSV, Parquet or TrackMate XML files")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--format", default="auto", choices=list(FORMATS))
    parser.add_argument("--pixel-size", type=float, metavar="UM", help="um per pixel")
    parser.add_argument("--frame-interval", type=float, metavar="S", help="seconds between frames")
    parser.add_argument("--localization-error", type=float, metavar="SIGMA", help="in the unit of x and y")
    parser.add_argument("--columns", type=column_names, metavar="track=..,frame=..,x=..,y=..")
    parser.add_argument("--weights", metavar="NAME",
                        help="shipped name or a folder (default; with --adapt sample: sample)")
    parser.add_argument("--adapt", default="none", choices=["none", "sample"],
                        help="sample: the tracks of a file are read in the light of each other")
    parser.add_argument("--min-length", type=int, default=MIN_LENGTH, metavar="N",
                        help=f"points a track needs to be analysed ({MIN_LENGTH})")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
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
        run = infer_files(options.pop("tracks"), options.pop("out"), progress=sys.stderr.isatty(), command=command,
                          **options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for warning in run.record["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(run.summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
