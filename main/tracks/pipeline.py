"""From track files to a folder of result tables: read and check, analyse block by block, write."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from main.tracks.options import DEFAULT_WEIGHTS, InferenceOptions
from main.tracks.quality.check import check_tracks, warn_of_exposure
from main.tracks.reading.formats import read_tracks
from main.tracks.reading.sources import BLOCK_POINTS, Source, find_files, open_sources, split_blocks
from main.tracks.results.andi_files import find_andi_path, format_andi_tracks
from main.tracks.results.folder import (
    REPORT,
    TABLES,
    claim_new_results,
    list_own_files,
    read_tables,
    refuse_other_files,
)
from main.tracks.results.record import Tally, list_quality, make_record, read_record, summarize_run
from main.tracks.results.tables import Results
from main.tracks.results.writer import Writer, open_writer
from main.tracks.table import Tracks, with_units
from main.utils.errors import InputError


@dataclass(frozen=True)
class Run:
    """Outcome of `infer_files`.

    Parameters
    ----------
    out : Path
        Folder of the results.
    files : list of Source
        The files as they were read.
    record : dict
        Content of run.json.
    summary : str
        One line: what was read, dropped and found.
    """

    out: Path
    files: list[Source]
    record: dict
    summary: str

    @property
    def results(self) -> Results:
        """The tables, read from the folder."""
        return Results(*read_tables(self.out))


def infer_files(paths, out, *, report=False, overwrite=False, progress=False, command=None, **options) -> Run:
    """Analyse track files and write the tables points, segments and tracks and run.json into a folder.

    Tracks are analysed and written in blocks, so that only the largest file needs memory. With `adapt="sample"` a
    file is one block.

    Parameters
    ----------
    paths : path, list of paths, or dict of condition -> path or list of paths
        Track files, or patterns such as `day1/*.csv`. With a dict the tables get a column `condition`.
    out : str or Path
        Folder for the results; refused if it exists, unless `overwrite` is true.
    report, overwrite, progress : bool
        Whether to write report.html; to write into a folder that exists; to show progress bars.
    command : str, optional
        The command line, stored in run.json.
    options
        Fields of `main.tracks.options.InferenceOptions`, such as pixel_size, frame_interval, localization_error, adapt.

    Raises
    ------
    InputError
        If a file or an option cannot be used, in one sentence; nothing has been written then.
    TypeError
        If an option is unknown.
    """
    if options.get("weights") is not None:
        options["weights"] = str(options["weights"])
    chosen = InferenceOptions(**options)
    with claim_new_results(out, overwrite) as temporary:
        return run_inference(find_files(paths), Path(out), temporary, chosen, report, progress, command)


def run_inference(
    paths: list[tuple[Path, str | None]],
    out: Path,
    temporary: Path,
    options: InferenceOptions,
    report: bool = False,
    progress: bool = False,
    command: str | None = None,
) -> Run:
    """Read and check the files, analyse them and write the folder; see `infer_files`."""
    check_conditions([condition for _, condition in paths])
    check_inputs_stay([path for path, _ in paths], out)
    refuse_other_files(out, list_new_files(options, report))
    files = open_sources(paths, partial(read_file, options=options), progress=progress)
    check_same_units(files)
    if options.andi:
        check_andi_paths(files)
    # Imported here: this loads torch, which takes seconds, and a file that cannot be used is refused without waiting.
    from main.tracks.analysis import analyse_tracks, check_features, load_predictor

    weights = options.weights or DEFAULT_WEIGHTS[options.adapt]
    predictor, config = load_predictor(weights, "cpu" if options.scheduler else options.device)
    check_features(files, config)
    options = replace(options, weights=weights)
    if options.scheduler:
        analyse = partial(analyse_on_cluster, options=options, sha256=config.get("sha256", {}))
    else:
        options = replace(options, device=str(predictor.device))
        of_block = partial(
            analyse_tracks,
            predictor=predictor,
            config=config,
            min_length=options.min_length,
            sigma=options.sigma,
            exposure=options.exposure,
            progress=progress and options.as_sample,
            adapt=options.as_sample,
        )
        analyse = partial(analyse_here, analyse_block=of_block)
    block_points = None if options.as_sample else BLOCK_POINTS[predictor.device.type]
    with open_writer(out, temporary, files[0].units.labels(), options.csv) as writer:
        tally = analyse_files(files, writer, analyse, block_points, options.andi, progress and not options.as_sample)
        counts, warnings = tally.counts(files), tally.list_warnings(files, options.localization_error)
        warnings += warn_of_exposure(options.exposure)
        record = make_record(files, options, config, counts, warnings)
        record["left_out"] = tally.list_left_out()
        record |= list_quality(files)
        record |= ({"samples": tally.samples} if tally.samples else {}) | ({"command": command} if command else {})
        writer.finish(record, {name: "".join(text) for name, text in tally.texts.items()})
    line = summarize_run(counts, warnings, options.min_length, out)
    if report:
        line += f", report in {write_report_of_run(out, temporary)}"
    return Run(out, files, read_record(out), line)


def read_file(path: Path, options: InferenceOptions) -> Tracks:
    """Read one track file, complete its units by the options and check its tracks."""
    tracks = read_tracks(path, options.format, options.columns, options.frame_interval, options.decimal)
    tracks = with_units(tracks, options.pixel_size, options.frame_interval)
    return check_tracks(tracks, options.localization_error, options.exposure, options.correct_drift)


def list_new_files(options: InferenceOptions, report: bool) -> list[str]:
    """List the files that a run writes and whose names are known before it begins."""
    endings = ("parquet", "csv") if options.csv else ("parquet",)
    return [f"{name}.{ending}" for name in TABLES for ending in endings] + ([REPORT] if report else [])


def write_report_of_run(out: Path, temporary: Path) -> Path:
    """Write report.html beside the tables of this run; a failure says that these are complete."""
    way_out = f"the tables in {out} are complete; write the report again with python main/report.py {out}"
    try:
        from main.tracks.report.write import add_report  # imports matplotlib and scipy, which only a report needs

        return add_report(out, temporary, read_record(out))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(way_out) from None
    except Exception as error:  # whatever it is, the user shall know that the analysis is not lost
        reason = str(error).rstrip(".") if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{reason}: there is no report, but {way_out}.") from error


def analyse_files(
    files: list[Source], writer: Writer, analyse: Callable, block_points: int | None, andi: bool, progress: bool
) -> Tally:
    """Analyse all tracks of all files block by block and write their tables.

    Parameters
    ----------
    files : list of Source
    writer : Writer
    analyse : callable
        Iterator of (Source, Tracks) -> iterator of (Source, Tracks, Results), in the same order.
    block_points : int or None
        About how many points a block has; None: one block for each file.
    andi : bool
        Whether to keep the texts of the challenge's files.
    progress : bool
        Whether to show a progress bar of tracks.

    Returns
    -------
    Tally
    """
    tally, n_tracks = Tally(), sum(len(file.track_ids) for file in files)
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(desc="tracks", total=n_tracks, unit="track", disable=not progress))
        for source, block, results in stack.enter_context(closing(analyse(read_blocks(files, block_points)))):
            if andi:
                tally.texts.setdefault(find_andi_path(source.path), []).append(format_andi_tracks(block, results))
            results.check_finite(source.path)
            writer.add(add_file_columns(results, source, len(files) > 1))
            tally.add(source, results)
            bar.update(len(results.tracks))
    return tally


def read_blocks(files: list[Source], n_points: int | None) -> Iterator[tuple[Source, Tracks]]:
    """Give the tracks of all files in blocks of about `n_points` points, or each file at once if that is None."""
    for source in files:
        tracks = source.tracks()
        yield from ((source, block) for block in split_blocks(tracks, n_points or len(tracks.table)))


def analyse_here(blocks: Iterator, analyse_block: Callable[[Tracks], Results]) -> Iterator:
    """Analyse blocks, given as (Source, Tracks), in this process; gives (Source, Tracks, Results)."""
    for source, block in blocks:
        yield source, block, analyse_block(block)


def analyse_on_cluster(blocks: Iterator, options: InferenceOptions, sha256: dict[str, str]) -> Iterator:
    """Analyse blocks, given as (Source, Tracks), on the workers of a dask scheduler; gives (Source, Tracks, Results).

    Raises
    ------
    InputError
        If no scheduler answers, or as raised by `main.tracks.cluster.analyse_blocks`.
    """
    from main.tracks.cluster import analyse_blocks, describe_code  # imports dask, which is needed here only
    from simulations.scheduler import connect  # as above

    with ExitStack() as stack:
        try:
            client = stack.enter_context(connect(options.scheduler, describe_code))
        except ValueError as error:
            raise InputError(f"{str(error).rstrip('.')}.") from error
        yield from analyse_blocks(client, blocks, options, sha256)


def check_conditions(conditions: list[str | None]) -> None:
    """Raise InputError if a name of a condition cannot be written into the tables, or some files have none."""
    for name in set(conditions) - {None}:
        readable = isinstance(name, str) and name.strip() and name.isprintable()
        if not readable:  # surrogates, which are no UTF-8, are not printable either
            raise InputError(f"--condition {name!r}: expected a name of letters that can be printed.")
    if None in conditions and len(set(conditions)) > 1:
        raise InputError("Some track files have no condition, but others have; give each file one.")


def check_inputs_stay(paths: list[Path], out: Path) -> None:
    """Raise InputError if the results would replace one of the files that they are made from."""
    replaced = {os.path.realpath(out / name) for name in list_own_files(out)}
    for path in paths:
        if os.path.realpath(path) in replaced:
            raise InputError(f"{path}: would be replaced by the results, give another folder than {out} to --out.")


def check_same_units(files: list[Source]) -> None:
    """Raise InputError if results of the files would have different units."""
    first = files[0]
    for other in files[1:]:
        if other.units.labels() != first.units.labels():
            raise InputError(
                f"{first.path} and {other.path} would give results in different units "
                f"({first.units}; {other.units}), analyse them in separate runs."
            )


def check_andi_paths(files: list[Source]) -> None:
    """Raise InputError if two files would be written to the same file of the challenge."""
    first = {}
    for file in files:
        path = find_andi_path(file.path)
        if path in first:
            raise InputError(
                f"--andi: {first[path]} and {file.path} would both be written to {path}, expected a different exp_E "
                "or fov_F in each path; rename the files or their folders."
            )
        first[path] = file.path


def add_file_columns(results: Results, source: Source, several: bool) -> dict[str, pd.DataFrame]:
    """Return the tables of a block by name, with columns that tell files and conditions apart.

    Parameters
    ----------
    results : Results
    source : Source
    several : bool
        Whether the run has several files. Then `file` is the path, track_id is unique over all files, and the file's
        track_id moves to `source_track`. A file with a condition gets a column `condition`.
    """
    tables = {name: getattr(results, name) for name in TABLES}
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
