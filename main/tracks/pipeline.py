"""Track files to a folder of result tables: read, analyse block by block, write."""

import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from main.tracks.options import DEFAULT_WEIGHTS, MIN_LENGTH, check_values
from main.tracks.reading.formats import read_tracks
from main.tracks.reading.sources import BLOCK_POINTS, Source, blocks, expand, open_sources
from main.tracks.results.andi_files import andi_file, andi_text
from main.tracks.results.tables import Results
from main.tracks.results.writer import TABLES, results_in, writing
from main.tracks.table import with_units
from main.utils.errors import InputError
from main.utils.files import PACKAGES, version


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
        Key of `main.tracks.reading.formats.FORMATS`.
    pixel_size : float, optional
        Micrometres per pixel, for files in pixels.
    frame_interval : float, optional
        Seconds between frames; must agree with what the file declares.
    localization_error : float, optional
        In the unit of x and y; goes before the file's error columns.
    columns : dict, optional
        track_id, frame, x, y -> column name.
    weights : str or Path, optional
        Name of shipped weights, or their folder; by default those of `main.tracks.options.DEFAULT_WEIGHTS`.
    adapt : {"none", "sample"}
        "sample": each file is one sample, whose tracks are read in the light of each other.
    min_length : int
        Tracks with fewer points get no segments, 2 or more.
    device : {"auto", "cpu", "cuda"}
    scheduler : str, optional
        Address of a dask scheduler on whose workers the tracks are analysed.
    andi, csv, report : bool
        Also write the AnDi-2 challenge's text files; CSV copies of the tables; report.html.
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
    from main.tracks.analysis import (  # imports torch, for which a refused file need not wait
        check_features,
        load_predictor,
    )

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
    from main.tracks.report.write import write_report  # brings matplotlib and scipy, only now

    return f", report in {write_report(out)}"


def analyse_files(files: list[Source], writer, predictor, config: dict, options: dict, progress: bool) -> "Tally":
    """Analyse all tracks of all files, here or on a cluster, and write their tables; returns what was counted."""
    from main.tracks.analysis import analyse_tracks  # imports torch, as above

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
            run = partial(analyse_tracks, predictor=predictor, config=config, progress=progress and together, **given)
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
    from main.tracks.cluster import analyse_on, code  # dask is needed here only
    from simulations.scheduler import connect

    try:
        client = stack.enter_context(connect(options["scheduler"], code))
    except ValueError as error:
        raise InputError(str(error)) from error
    return analyse_on(client, parts, (options["weights"], options["device"]), config, given)


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


def run_record(files: list, options: dict, config: dict, counts: dict, warnings: list[str]) -> dict:
    """What run.json holds: inputs with sha256, versions, weights, options, units, counts, warnings."""
    inputs = [
        {
            "path": str(f.path),
            "condition": f.condition,
            "sha256": f.sha256,
            "format": f.format,
            "dropped": f.dropped,
            "position": f.units.position,
            "um_per_unit": f.units.um_per_unit,
            "frame_interval_s": f.units.frame_interval_s,
        }
        for f in files
    ]
    return {
        "inputs": inputs,
        "code_version": version("tracewise"),
        "weights": config.get("sha256", {}),
        "options": options,
        "units": files[0].units.labels(),
        "counts": counts,
        "warnings": warnings,
        "packages": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def labelled(results: Results, source: Source, several: bool) -> dict:
    """The tables of a block by name; with `several` files a column `file`, track_id unique over all of them, the
    file's own in `source_track`; a column `condition` where there is one."""
    tables = {name: getattr(results, name) for name in ("points", "segments", "tracks")}
    for name, table in tables.items():
        if several:
            table = table.rename(columns={"track_id": "source_track"})
            number = source.first_id + np.searchsorted(source.track_ids, table["source_track"])
            table.insert(0, "track_id", number)
            table.insert(1, "file", str(source.path))
        if source.condition is not None:
            table = table.assign(condition=source.condition)
        tables[name] = table
    return tables
