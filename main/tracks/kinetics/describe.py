"""Kinetics of a folder of results: tables, a note on how to read them, and figures."""

from pathlib import Path

import pandas as pd

from main.tracks.kinetics.determined import warn_of_alpha
from main.tracks.kinetics.dwells import MIN_DWELL_FRAMES, estimate_survival
from main.tracks.kinetics.figures import plot_distributions, plot_survival
from main.tracks.kinetics.likelihood import ALL_TRACKS, MIN_STEPS, KineticsFit, fit_kinetics
from main.tracks.kinetics.rates import (
    MIN_EVENTS,
    MIN_FILES,
    Estimate,
    compare_conditions,
    estimate_groups,
    tabulate_kinetics,
)
from main.tracks.results.folder import (
    FIGURES,
    add_to_results,
    claim_results,
    explain_write_errors,
    read_tables,
    refuse_other_files,
)
from main.utils.plotting import save
from simulations.parameters import STATES

TABLE, COMPARISON = "kinetics.csv", "comparison.csv"  # the files, in the folder of results
DRAWN = ("dwell_times", "distributions")  # names of figures; those of several conditions have numbers
NOTE = """Times are in {time_unit}, rates are per {rate_unit}, d is the diffusion coefficient. low and high: 90 %
intervals from resampling {resampled}. Source "likelihood": states of a hidden Markov model, estimated from the
positions (also after --adapt sample). Stays too short to be seen, stays that are cut by the ends of a track and the
localisation error are part of the model. n of a mean dwell or a rate: changes of state that are expected in these
tracks. Source "labels": states of the networks, counted. The share of labelled frames is not a bound fraction, because
short stays are missed. _frames: every frame counts alike. _tracks: every track counts alike. (Long tracks are those of
particles that stay in view.) k_... and msd_1_... are geometric means. Compare msd_1 (the MSD at one frame), not k: the
unit of k depends on alpha. There is no interval where n is below {min_events}. The curves of dwell_times are counted
labels of the networks: stays shorter than {min_dwell} frames are missed, which lengthens them; the lines are the mean
dwells of the model. Dwell times and rates are biased where tracks end because of what the particle does (it bleaches,
or it leaves the field of view)."""
FILES_NOTE = f"""Tracks of one recording are alike: with fewer than {MIN_FILES} files in a condition, tracks are
resampled, and the intervals do not include the differences between recordings."""
NO_REFERENCE_NOTE = """No track of the first condition was long enough to analyse. Therefore no condition is compared
with it."""
INTERVALS_NOTE = "The frame intervals differ. Therefore msd_1, the MSD at one frame, is not compared."
THREE_STATES_NOTE = """Between each two states, as many particles are taken to go one way as the other (detailed
balance)."""
LIKELIHOOD, LABELS = "likelihood", "labels"  # sources of quantities


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
        source ("likelihood" or "labels") and the columns of `main.tracks.kinetics.rates.tabulate_kinetics`, with a
        column condition (or file) where there are several. Empty, and nothing is written, if no track was analysed.
    comparison : pandas.DataFrame
        source and the columns of `main.tracks.kinetics.rates.compare_conditions`.
    note : str
        Which model was used, what the data do not determine, and how to read the tables.
    written : list of Path
        The figures.

    Raises
    ------
    InputError
        If a condition has files of different frame intervals, or the folder holds no results, is in use or cannot be
        written.
    """
    folder = Path(folder)
    with claim_results(folder) as (record, temporary):
        refuse_other_files(folder, [TABLE])
        points, segments, tracks = read_tables(folder)
        if segments.empty:
            return pd.DataFrame(), pd.DataFrame(), "", []
        by = next((name for name in ("condition", "file") if name in segments), None)
        labels = [ALL_TRACKS] * len(segments) if by is None else segments[by]
        estimates = estimate_groups(segments, labels, record)
        fits = fit_kinetics(points, tracks, record, by)
        result, comparison = tabulate(fits, estimates, record, by)
        with explain_write_errors(folder):
            if len(comparison):
                comparison.to_csv(temporary / COMPARISON, index=False)
            result.to_csv(temporary / TABLE, index=False)
            written = draw_kinetics(temporary, estimates, fits, record["units"])
        add_to_results(folder, temporary, record, [TABLE, COMPARISON, *(f"{FIGURES}/{name}*" for name in DRAWN)])
    note = explain_tables(estimates, by == "condition" and len(estimates) > 1 and comparison.empty)
    note = "\n".join([*explain_fits(fits, estimates), note])
    return result, comparison, note, [folder / path.relative_to(temporary) for path in written]


def tabulate(
    fits: dict[str, KineticsFit], estimates: dict[str, Estimate], record: dict, by: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the table of kinetics, and that of the comparison of conditions, of both sources."""
    sources = {LIKELIHOOD: fits, LABELS: estimates}
    tables = [
        tabulate_kinetics(found[name]).assign(source=source, **({} if by is None else {by: name}))
        for name in estimates
        for source, found in sources.items()
        if name in found
    ]
    result = put_source_first(pd.concat(tables, ignore_index=True))
    compared = {source: compare_conditions(found, record) for source, found in sources.items() if by == "condition"}
    compared = [table.assign(source=source) for source, table in compared.items() if len(table)]
    return result, put_source_first(pd.concat(compared, ignore_index=True)) if compared else pd.DataFrame()


def put_source_first(table: pd.DataFrame) -> pd.DataFrame:
    """Move the column source to the front."""
    return table[["source", *(name for name in table if name != "source")]]


def explain_fits(fits: dict[str, KineticsFit], estimates: dict[str, Estimate]) -> list[str]:
    """Say which model was used, and what the data of each condition or file do not determine."""
    first = next(iter(fits.values()), None)
    notes = [] if first is None else [first.model_note]
    if first is not None and len(first.states) > 2:
        notes.append(THREE_STATES_NOTE.replace("\n", " "))
    for name, estimate in estimates.items():
        found = (
            [*fits[name].warnings, *warn_of_alpha(estimate.segments)]
            if name in fits
            else [f"Fewer than {MIN_STEPS} steps: no dwell times and rates."]
        )
        notes += [f"WARNING ({name}): {text}" for text in found]
    return notes


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
    )
    notes = [note]
    if "tracks" in resampled:
        notes.append(FILES_NOTE)
    if conditions_left_out:
        notes.append(NO_REFERENCE_NOTE)
    if len({estimate.frame_interval_s for estimate in estimates.values()}) > 1:
        notes.append(INTERVALS_NOTE)
    return " ".join(notes).replace("\n", " ")


def draw_kinetics(
    folder: Path, estimates: dict[str, Estimate], fits: dict[str, KineticsFit], units: dict[str, str]
) -> list[Path]:
    """Draw the survival of dwells of each condition or file, and the distributions of all; return the files written."""
    written = []
    for i, (name, estimate) in enumerate(estimates.items()):
        curves = {state: estimate_survival(estimate.dwells, number) for number, state in enumerate(STATES)}
        if not all(curve.empty for curve in curves.values()):
            one = name == ALL_TRACKS and len(estimates) == 1
            fit = fits.get(name)
            means = dict(zip(fit.states, fit.value["mean_dwell"], strict=True)) if fit and len(fit.states) > 1 else {}
            figure = plot_survival(
                curves, means, estimate.frame_interval_s or 1.0, estimate.time_unit, None if one else str(name)
            )
            written.append(save(figure, "dwell_times" if one else f"dwell_times_{i}", folder / FIGURES))
    groups = {str(name): estimate.segments for name, estimate in estimates.items()}
    return [*written, save(plot_distributions(groups, units), "distributions", folder / FIGURES)]
