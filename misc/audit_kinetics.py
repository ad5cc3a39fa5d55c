"""Rows of the audit about tracks that switch between two states: dwell times, occupancy, and their intervals."""

import numpy as np
import pandas as pd
from audit_rows import Cell, Row, count, make_cell, mean, median, read_files, share
from known_tracks import FRAME_INTERVAL, STEP, localise, switching

from main.tracks.kinetics.describe import describe_kinetics
from main.tracks.kinetics.likelihood import fit_tracks

D = STEP**2 / (2 * FRAME_INTERVAL)  # um^2/s
SWITCHING = (  # mean dwells of the free and of the immobile state, s; frames
    ((0.2, 0.2), 100),
    ((0.6, 0.6), 100),
    ((1.2, 0.3), 200),
)
N_TRACKS = 200
N_ADAPTED = 20  # repetitions with --adapt sample at full size
DWELL_BIAS, OCCUPANCY_BIAS = (-0.07, 0.07), (-0.02, 0.02)  # of a dwell; of 1
INSIDE = (0.83, 0.96)  # share of repetitions whose 90 % intervals hold the truth
LIKELIHOOD_CODE = (
    "main/tracks/kinetics",
    "main/tracks/quality/outliers.py",
    "main/utils/bootstrap.py",
    "misc/known_tracks.py",
    "misc/audit_rows.py",
    "misc/audit_kinetics.py",
)
IMMOBILE, TWO_MOBILE = ("immobile", "mobile"), ("slow", "fast")  # names that kinetics gives to the states


def kinetics_rows(tables: list[pd.DataFrame], states: tuple, dwells: tuple, text: str, warned, inside) -> list[Row]:
    """Bias and coverage of dwells and occupancy over repetitions.

    Parameters
    ----------
    tables : list of DataFrame
        One for each repetition: state, quantity, value, low, high.
    states : (str, str)
        Names of the slow and of the fast state.
    dwells : (float, float)
        True mean dwells of the slow and of the fast state, s.
    text : str
    warned : list of bool
        Whether kinetics warns, for each repetition.
    inside : (float, float) or None
        Target of the coverage.
    """
    truths = {(state, "mean_dwell"): dwell for state, dwell in zip(states, dwells, strict=True)}
    truths[states[0], "occupancy"] = dwells[0] / sum(dwells)
    rows = []
    for (state, quantity), truth in truths.items():
        found = np.array([look_up(table, state, quantity) for table in tables])
        occupancy = quantity == "occupancy"
        errors = found[:, 0] - truth if occupancy else found[:, 0] / truth - 1
        empty = np.mean(~np.isfinite(errors))
        note = f"spread {np.nanstd(errors):.3f}, median {median(errors).value:.3f}"
        note += f"; no value in {empty:.2f} of the repetitions" if empty else ""
        words = "occupancy of" if occupancy else "mean dwell in"
        question = f"{words} {state}: " + ("mean - truth" if occupancy else "mean / truth - 1")
        limits = OCCUPANCY_BIAS if occupancy else DWELL_BIAS
        rows.append(Row(question, text, mean(errors), limits, np.mean(warned), note))
        hits = (found[:, 1] <= truth) & (truth <= found[:, 2])
        rows.append(Row(f"{words} {state} inside", text, share(hits), inside, np.mean(warned), "", True))
    return rows


def look_up(table: pd.DataFrame, state: str, quantity: str) -> tuple[float, float, float]:
    """Value and interval of one quantity of one state; NaN where the table has none."""
    rows = table[(table["state"] == state) & (table["quantity"] == quantity)]
    return tuple(rows[["value", "low", "high"]].iloc[0]) if len(rows) else (np.nan,) * 3


def measure_fit(dwells, frames, noise, ratio, repetitions, rng, scale) -> list[Row]:
    """The likelihood fit of tracks that switch; `ratio` is D of the slow over D of the fast state."""
    sigma, tables, warned, n = noise * STEP, [], [], N_TRACKS
    for _ in range(count(repetitions, scale)):
        tracks, _ = switching(n, frames, dwells, rng, (D, ratio * D))
        fit = fit_tracks(localise(tracks, sigma, rng), sigma, frame_interval=FRAME_INTERVAL)
        tables.append(fit.tabulate())
        warned.append(bool(fit.warnings))
    states = TWO_MOBILE if ratio else IMMOBILE
    text = f"{describe(dwells, frames, noise, ratio, n)}, likelihood fit of kinetics.py"
    return kinetics_rows(tables, states, dwells[::-1], text, warned, INSIDE)


def measure_product(adapt, dwells, frames, noise, ratio, repetitions, rng, scale) -> list[Row]:
    """The same through infer.py and kinetics.py, from a CSV file; too few repetitions to judge the coverage."""
    sigma, tables, n = noise * STEP, [], N_TRACKS
    for _ in range(count(repetitions, scale)):
        tracks, _ = switching(n, frames, dwells, rng, (D, ratio * D))
        tracks = localise(tracks, sigma, rng)
        tables.append(read_files(tracks, sigma, lambda run: describe_kinetics(run.out)[0], adapt=adapt))
    states = TWO_MOBILE if ratio else IMMOBILE
    text = f"{describe(dwells, frames, noise, ratio, n)}, infer.py --adapt {adapt} and kinetics.py"
    return kinetics_rows(tables, states, dwells[::-1], text, [False], None)


def describe(dwells, frames, noise, ratio, n) -> str:
    """Say how tracks that switch were made."""
    kind = f"fast and slow, D a factor {1 / ratio:g} apart" if ratio else "free and immobile"
    length = f"{n} tracks of {frames} frames, noise {noise:g}, sigma known"
    return f"{kind}, true dwells {dwells[0]:g} and {dwells[1]:g} s, {length}"


def list_cells(repetitions: int) -> list[Cell]:
    """All cells of this file."""
    samples = [(dwells, n, noise, 0.0) for dwells, n in SWITCHING for noise in (0.085, 0.2, 0.5)]
    names = [f"Switching: {dwells[0]:g} and {dwells[1]:g} s, noise {noise:g}" for dwells, _, noise, _ in samples]
    samples.append(((0.6, 0.6), 100, 0.2, 0.1))
    names.append("Switching: two mobile states")
    cells = [
        make_cell(name, measure_fit, *sample, repetitions, code=LIKELIHOOD_CODE)
        for name, sample in zip(names, samples, strict=True)
    ]
    few = min(N_ADAPTED, repetitions)
    whole = (0.6, 0.6), 100, 0.2, 0.0, few
    cells.append(make_cell("Switching: infer.py and kinetics.py", measure_product, "none", *whole))
    cells.append(make_cell("Switching: adapt sample", measure_product, "sample", *whole))
    return cells
