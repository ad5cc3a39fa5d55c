"""Kinetics of a folder of results: tables, a note on how to read them, and figures."""

from pathlib import Path

import pandas as pd

from main.tracks.kinetics.dwells import MIN_DWELL_FRAMES, estimate_survival
from main.tracks.kinetics.figures import plot_distributions, plot_survival
from main.tracks.kinetics.rates import (
    MIN_EVENTS,
    MIN_FILES,
    Estimate,
    compare_conditions,
    estimate_groups,
    tabulate_kinetics,
)
from main.tracks.results.record import read_record
from main.utils.files import write_atomically
from main.utils.plotting import save
from simulations.parameters import STATES

FIGURES = "figures"  # the subfolder for figures
ALL_TRACKS = "all tracks"  # name of the one group where there are no conditions and no files to tell apart
NOTE = """Times are in {time_unit}, rates are per {rate_unit}. low and high: 90 % intervals from resampling {resampled}.
n counts the events behind a value: below {min_events} there is no interval. _frames: every frame counts alike. _tracks:
every track counts alike. (Long tracks are those of particles that stay in view.) k_... and msd_1_... are geometric
means. Compare msd_1 (the MSD at one frame), not k: the unit of k depends on alpha. mean_dwell uses dwells whose start
was seen; dwells that end with their track are censored. {left_out} dwells that start with their track are left out.
Stays shorter than {min_dwell} frames are not seen. Dwell times and rates are biased where tracks end because of what
the particle does (it bleaches, or it leaves the field of view)."""
FILES_NOTE = f"""Tracks of one recording are alike: with fewer than {MIN_FILES} files in a condition, tracks are
resampled, and the intervals do not include the differences between recordings."""
NO_REFERENCE_NOTE = """No track of the first condition was long enough to analyse. Therefore no condition is compared
with it."""
INTERVALS_NOTE = "The frame intervals differ. Therefore msd_1, the MSD at one frame, is not compared."


def describe_kinetics(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame, str, list[Path]]:
    """Estimate the kinetics of every condition of a results folder, and write tables and figures.

    Without conditions, every file is described; with one file, all tracks. Writes `kinetics.csv` and the subfolder
    `figures`. With conditions, also writes how each differs from the first: `comparison.csv`.

    Parameters
    ----------
    folder : path
        Folder that `infer.py` wrote.

    Returns
    -------
    table : pandas.DataFrame
        As returned by `main.tracks.kinetics.rates.tabulate_kinetics`, with a column condition (or file) where there
        are several. Empty, and nothing is written, if no track was analysed.
    comparison : pandas.DataFrame
        As returned by `main.tracks.kinetics.rates.compare_conditions`.
    note : str
        How to read the tables.
    written : list of Path
        The figures.

    Raises
    ------
    InputError
        If the folder holds no results, or a condition has files of different frame intervals.
    """
    folder = Path(folder)
    record = read_record(folder)
    segments = pd.read_parquet(folder / "segments.parquet")
    if segments.empty:
        return pd.DataFrame(), pd.DataFrame(), "", []
    by = next((name for name in ("condition", "file") if name in segments), None)
    labels = [ALL_TRACKS] * len(segments) if by is None else segments[by]
    estimates = estimate_groups(segments, labels, record)
    tables = {name: tabulate_kinetics(estimate) for name, estimate in estimates.items()}
    if by is not None:
        tables = {name: table.assign(**{by: name}) for name, table in tables.items()}
    result = pd.concat(tables.values(), ignore_index=True)
    comparison = compare_conditions(estimates, record) if by == "condition" else pd.DataFrame()
    (folder / "comparison.csv").unlink(missing_ok=True)
    if len(comparison):
        write_atomically(folder / "comparison.csv", lambda part: comparison.to_csv(part, index=False))
    write_atomically(folder / "kinetics.csv", lambda part: result.to_csv(part, index=False))
    note = explain_tables(estimates, conditions_left_out=by == "condition" and len(estimates) > 1 and comparison.empty)
    return result, comparison, note, draw_kinetics(folder, estimates, record["units"])


def explain_tables(estimates: dict[str, Estimate], conditions_left_out: bool) -> str:
    """Say in a few sentences how to read the tables, and what their limits are."""
    time_unit = next(iter(estimates.values())).time_unit
    resampled = " and ".join(dict.fromkeys(estimate.resampled_unit for estimate in estimates.values()))
    note = NOTE.format(
        time_unit=time_unit,
        rate_unit="s" if time_unit == "s" else "frame",
        resampled=resampled,
        min_events=MIN_EVENTS,
        min_dwell=MIN_DWELL_FRAMES,
        left_out=sum(int((~estimate.dwells["start_seen"]).sum()) for estimate in estimates.values()),
    )
    notes = [note]
    if "tracks" in resampled:
        notes.append(FILES_NOTE)
    if conditions_left_out:
        notes.append(NO_REFERENCE_NOTE)
    if len({estimate.frame_interval_s for estimate in estimates.values()}) > 1:
        notes.append(INTERVALS_NOTE)
    return " ".join(notes).replace("\n", " ")


def draw_kinetics(folder: Path, estimates: dict[str, Estimate], units: dict[str, str]) -> list[Path]:
    """Draw the survival of dwells of each condition or file, and the distributions of all; return the files written."""
    written = []
    for path in (folder / FIGURES).glob("dwell_times*"):
        path.unlink()
    for i, (name, estimate) in enumerate(estimates.items()):
        curves = {state: estimate_survival(estimate.dwells, number) for number, state in enumerate(STATES)}
        if not all(curve.empty for curve in curves.values()):
            one = name == ALL_TRACKS and len(estimates) == 1
            figure = plot_survival(
                curves, estimate.frame_interval_s or 1.0, estimate.time_unit, None if one else str(name)
            )
            written.append(save(figure, "dwell_times" if one else f"dwell_times_{i}", folder / FIGURES))
    groups = {str(name): estimate.segments for name, estimate in estimates.items()}
    return [*written, save(plot_distributions(groups, units), "distributions", folder / FIGURES)]
