"""Text and tables of a report on the states of the hidden Markov model: occupancy, dwell times, rates."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from main.tracks.kinetics.determined import warn_of_alpha
from main.tracks.kinetics.likelihood import MIN_STEPS, KineticsFit, fit_kinetics
from main.tracks.kinetics.rates import MIN_EVENTS, Estimate, tabulate_kinetics
from main.tracks.report.diagram import draw_diagram
from main.tracks.report.html import (
    element,
    format_estimate,
    format_percent,
    format_rate,
    format_sentence,
    format_unit,
    make_list,
    make_table,
)

MAX_FIT_POINTS = 40_000  # of all groups together; the fit takes 2 to 15 s on one core
NO_FIT = f"Fewer than {MIN_STEPS} steps: no states were fitted, and there are no occupancies, dwell times and rates."
FIT_LIMITS = (
    "Occupancies, dwell times and rates are estimated by likelihood from the measured positions, not counted from "
    "labels. Stays too short to be seen, stays that are cut by the ends of a track and the localisation error are part "
    "of the model.",
    "They are biased if tracks end because of what the particle does, for example if it bleaches while it is immobile, "
    "or leaves the focus while it moves. No estimator can correct this.",
    "The model takes the motion in each state as Brownian, with one diffusion coefficient D, and the chance to leave a "
    "state as independent of the time already spent in it. Immobile: D = 0.",
)


def fit_groups(
    points: pd.DataFrame,
    tracks: pd.DataFrame,
    segments: pd.DataFrame,
    labels: np.ndarray,
    record: dict,
    max_points: int = MAX_FIT_POINTS,
) -> tuple[dict[str, KineticsFit], str]:
    """Fit the states of groups of tracks.

    Parameters
    ----------
    points, tracks, segments : pandas.DataFrame
        Tables of `infer.py`; N segments.
    labels : array of str, shape (N,)
        Group of each segment's track.
    record : dict
        Contents of run.json.
    max_points : int
        Of more points of all groups, a share of the tracks is drawn at random.

    Returns
    -------
    fits : dict of str -> KineticsFit
        Groups with too few steps are left out.
    note : str
        How many tracks were drawn; empty if all were used.
    """
    group, note = points["track_id"].map(dict(zip(segments["track_id"], labels, strict=True))), ""
    points, ids = points.assign(group=group), points["track_id"].unique()
    if len(points) > max_points:
        drawn = np.random.default_rng(0).choice(ids, max(1, int(len(ids) * max_points / len(points))), replace=False)
        points = points[points["track_id"].isin(drawn)]
        note = (
            f"So that the report is written fast, the states were fitted to {len(drawn):,} of the {len(ids):,} "
            "analysed tracks, drawn at random. kinetics.py uses more of them."
        )
    return fit_kinetics(points, tracks, record, "group", pool_intervals=True), note


def list_fit_warnings(fits: dict[str, KineticsFit], estimates: dict[str, Estimate]) -> dict[str, list[str]]:
    """List what the data of each group do not determine about its states: group -> sentences."""
    return {
        name: [*(fits[name].warnings if name in fits else [NO_FIT]), *warn_of_alpha(estimate.segments)]
        for name, estimate in estimates.items()
    }


def make_fit_sections(fits: dict[str, KineticsFit], warnings: dict[str, list[str]], note: str, record: dict) -> Markup:
    """Make the tables and diagrams of all groups, of which the browser shows one, and their limits.

    Parameters
    ----------
    fits : dict of str -> KineticsFit
    warnings : dict of str -> list of str
        As returned by `list_fit_warnings`; its keys are the groups.
    note : str
        As returned by `fit_groups`.
    record : dict
        Contents of run.json.
    """
    parts = []
    for i, (name, found) in enumerate(warnings.items()):
        box = element("div", make_list(map(format_sentence, found)), class_="warning") if found else Markup()
        content = make_fit_section(fits[name]) if name in fits else Markup()
        parts.append(element("div", box, content, class_="group", data_group=i))
    limits = [note, *FIT_LIMITS] if note else [*FIT_LIMITS]
    if any(not fit.frame_interval_s for fit in fits.values()) and any(i["frame_interval_s"] for i in record["inputs"]):
        limits.insert(0, "Files of different frame intervals are pooled. Therefore times are in frames.")
    return Markup("").join(parts) + make_list(limits)


def make_fit_section(fit: KineticsFit) -> Markup:
    """Make the tables of the states of a model and of the rates between them, and the diagram."""
    rates, unit = tabulate_kinetics(fit), name_rate_unit(fit)
    values, several = rates.set_index(["state", "quantity"]), len(fit.states) > 1
    rows, rate_rows = [], []
    for name in fit.states:
        cells = [
            format_estimate(values.loc[(name, "d")]) if (name, "d") in values.index else "0",
            format_estimate(values.loc[(name, "occupancy")], format_percent),
        ]
        if several:
            dwell = values.loc[(name, "mean_dwell")]
            cells.append(format_estimate(dwell) if dwell["n"] else "–")
            ends = ("" if end == name else format_rate(values.loc[(name, f"rate_to_{end}")]) for end in fit.states)
            rate_rows.append([f"from {name}", *ends])
        rows.append([name, *cells])
    header = ["state", Markup("D ({})").format(format_unit(fit.d_unit)), "occupancy"]
    header += [f"mean dwell time ({fit.time_unit})"] * several
    resampled = f"90 % intervals from resampling {fit.resampled_unit}; none for fewer than {MIN_EVENTS} events (n)"
    caption = f"States. Occupancy: share of the time. Below each value: {resampled}."
    parts = [element("p", fit.model_note), make_table(header, rows, caption)]
    if not (several and (values.loc[values.index.get_level_values(1).str.startswith("rate_to"), "n"] > 0).any()):
        return Markup("").join(parts)
    parts.append(
        make_table(
            ["", *(f"to {name} ({unit})" for name in fit.states)],
            rate_rows,
            "Rates of changes between states. n: number of changes that are expected in these tracks.",
        )
    )
    drawing = draw_diagram(rates, unit)
    text = (
        f"Discs: the area is proportional to the occupancy. Arrows: the number is the rate ({unit}), the width grows "
        "with it; the colour is that of the state that the particle leaves."
    )
    figure = element("figure", drawing, element("figcaption", text))
    return element("div", element("div", *parts), figure, class_="pair")


def name_rate_unit(fit: KineticsFit) -> str:
    """Name the unit of rates: "1/s" where the frame interval is known, else "1/frame"."""
    return "1/s" if fit.frame_interval_s else "1/frame"
