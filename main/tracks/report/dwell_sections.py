"""Text and tables of a report on dwell times: states, rates, their limits, and the comparison of conditions."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from main.tracks.kinetics.determined import warn_of_alpha
from main.tracks.kinetics.dwells import MIN_DWELL_FRAMES
from main.tracks.kinetics.likelihood import MIN_STEPS, KineticsFit
from main.tracks.kinetics.rates import MIN_EVENTS, MIN_FILES, Estimate, tabulate_kinetics
from main.tracks.report.html import element, format_number, format_percent, format_unit, make_list, make_table
from main.tracks.results.left_out import describe_left_out
from simulations.parameters import STATES, TRAPPED

DWELL_LIMITS = (
    "Dwell times, rates and occupancy are biased if tracks end because of what the particle does, for example if it "
    "bleaches while it is bound, or leaves the field of view while it moves. No estimator can correct this.",
    "They assume that the motion in each state is Brownian, and that the chance to leave a state does not depend on "
    "the time already spent in it.",
    f"The curves are stays counted from the labels of the networks. Stays shorter than {MIN_DWELL_FRAMES} frames are "
    "not seen in them, and two stays with such a stay between them count as one: the curves show longer dwells than "
    "the model does.",
)


def make_state_tables(fit: KineticsFit | None, estimate: Estimate, units: dict[str, str]) -> Markup:
    """Make tables with 90 % intervals: the states of the model, the rates between them, and the labels.

    Parameters
    ----------
    fit : KineticsFit or None
        None where there are too few steps.
    estimate : Estimate
        Labelled shares and motion.
    units : dict
        As under "units" in run.json.
    """
    return Markup("").join([*([] if fit is None else make_model_tables(fit)), make_label_table(estimate, units)])


def make_model_tables(fit: KineticsFit) -> list[Markup]:
    """Make the tables of the states of a model and of the rates between them."""
    values = tabulate_kinetics(fit).set_index(["state", "quantity"])
    rate_unit, rows, rate_rows = name_rate_unit(fit), [], []
    for name in fit.states:
        cells = [
            format_estimate(values.loc[(name, "d")]) if (name, "d") in values.index else "0 (immobile)",
            format_estimate(values.loc[(name, "occupancy")], format_percent),
        ]
        if len(fit.states) > 1:
            cells.append(format_estimate(values.loc[(name, "mean_dwell")]))
            ends = ("" if end == name else format_rate(values.loc[(name, f"rate_to_{end}")]) for end in fit.states)
            rate_rows.append([f"from {name}", *ends])
        rows.append([name, *cells])
    resampled = f"90 % intervals from resampling {fit.resampled_unit}"
    header = ["state", Markup("D ({})").format(format_unit(fit.d_unit)), "occupancy"]
    header += [f"mean dwell time ({fit.time_unit})"] if len(fit.states) > 1 else []
    caption = (
        f"{fit.model_note} Below each value: {resampled}. No interval is given for fewer than {MIN_EVENTS} events (n)."
    )
    tables = [make_table(header, rows, caption)]
    if rate_rows:
        rate_header = ["", *(f"to {name} ({rate_unit})" for name in fit.states)]
        text = f"Rates of changes between states. Below each rate: {resampled}, and the number n of expected changes."
        tables.append(make_table(rate_header, rate_rows, text))
    return tables


def make_label_table(estimate: Estimate, units: dict[str, str]) -> Markup:
    """Make the table of the labels of the networks: their shares, motion and counted dwells."""
    values = tabulate_kinetics(estimate).set_index(["state", "quantity"])
    dwells, rows = estimate.dwells, []
    for state, name in enumerate(STATES):
        shares = [values.loc[(name, f"labelled_share_{by}")] for by in ("frames", "tracks")]
        cells = [
            format_estimate(values.loc[(name, column)]) if state != TRAPPED else "–"
            for column in ("msd_1_frames", "alpha_frames")
        ]
        cells += [format_estimate(share, format_percent) for share in shares]
        rows.append([name, *cells, f"{int((dwells['state'] == state).sum()):,}"])
    header = [
        "label",
        Markup("MSD at one frame ({})").format(format_unit(units["msd_1"])),
        "α",
        "share of labelled frames",
        "share, each track counts alike",
        "stays",
    ]
    caption = Markup(
        "Labels of the networks, counted. The share of labelled frames is not a bound fraction, because short stays "
        "are missed. MSD at one frame: geometric mean over the frames of the label of 4 K Δt<sup>α</sup>, with Δt the "
        "time of one frame. α: mean over the frames of the label. Below each value: 90 % intervals from resampling {}."
    ).format(estimate.resampled_unit)
    return make_table(header, rows, caption)


def name_rate_unit(estimate: Estimate | KineticsFit) -> str:
    """Name the unit of rates: "1/s" where the frame interval is known, else "1/frame"."""
    return "1/s" if estimate.frame_interval_s else "1/frame"


def format_estimate(row: pd.Series, form=format_number) -> Markup:
    """Write a value with its interval below it."""
    if not np.isfinite(row["value"]):
        return Markup("–")
    if np.isnan(row["low"]):
        return Markup("{} <small>n = {:,}: no interval</small>").format(form(row["value"]), int(row["n"]))
    return Markup("{} <small>{}</small>").format(form(row["value"]), format_interval(row, form=form))


def format_rate(row: pd.Series) -> Markup:
    """Write a rate with its interval and the number of changes below it; "–" if none was seen."""
    if not np.isfinite(row["value"]) or row["n"] == 0:
        return Markup("–")
    if np.isnan(row["low"]):
        return format_estimate(row)
    value, ends = format_number(row["value"]), format_interval(row)
    return Markup("{} <small>{}, n = {:,}</small>").format(value, ends, int(row["n"]))


def format_interval(row: pd.Series, name: str = "", form=format_number) -> str:
    """Write the ends of an interval: "a to b", or "a or more" where there is no upper end."""
    low, high = (row[f"{name}_{end}" if name else end] for end in ("low", "high"))
    return f"{form(low)} to {form(high)}" if np.isfinite(high) else f"{form(low)} or more"


def list_dwell_limits(fit: KineticsFit | None, estimate: Estimate, record: dict) -> Markup:
    """List what the data do not determine, and what dwell times and rates assume."""
    found = [f"Fewer than {MIN_STEPS} steps: no dwell times and rates."] if fit is None else fit.warnings
    lines = [*found, *warn_of_alpha(estimate.segments), *DWELL_LIMITS]
    if not estimate.frame_interval_s and any(given["frame_interval_s"] for given in record["inputs"]):
        lines.insert(0, "Files of different frame intervals are pooled here. Therefore times are in frames.")
    return make_list(lines)


def make_comparison(differences: pd.DataFrame, record: dict, time_unit: str) -> Markup:
    """Make the table of differences and ratios between each condition and the first.

    Rows are greyed out, with the reason, where the analysed tracks of one of the two conditions do not stand for those
    that were left out.

    Parameters
    ----------
    differences : pandas.DataFrame
        As returned by `main.tracks.kinetics.rates.compare_conditions`.
    record : dict
        Contents of run.json.
    time_unit : str
        Of mean dwell times.
    """
    names = {
        "msd_1_frames": Markup("MSD at one frame ({})").format(format_unit(record["units"]["msd_1"])),
        "alpha_frames": "α",
        "occupancy": "occupancy (0 to 1)",
        "mean_dwell": f"mean dwell time ({time_unit})",
        "d": Markup("D ({})").format(format_unit(record["units"]["d_cve"])),
        "labelled_share_frames": "share of labelled frames (0 to 1)",
    }
    first, rows = differences["reference"].iloc[0], []
    doubtful = [name for name in describe_left_out(record) if name == first or name in set(differences["condition"])]
    shown = differences[differences["quantity"].isin(names)]
    shown = shown.sort_values("quantity", key=lambda column: column.map(list(names).index), kind="stable")
    for _, row in shown.iterrows():
        ends = [
            "–" if np.isnan(row[f"{name}_low"]) else f"{format_number(row[name])} ({format_interval(row, name)})"
            for name in ("difference", "ratio")
        ]
        numbers = [format_number(row[name]) for name in ("value_reference", "value")]
        rows.append([row["condition"], row["state"], names[row["quantity"]], *numbers, *ends])
    resampled = " and ".join(differences["resampled"].unique())
    header = ["condition", "state", "quantity", f"value of {first}", "value of the condition"]
    header += ["difference (90 % interval)", "ratio (90 % interval)"]
    caption = (
        f"Each condition compared with {first}, every frame counting alike. Difference: condition − {first}. Ratio: "
        f"condition ÷ {first}, without unit. 90 % intervals from resampling {resampled}; – if one of the two has fewer "
        f"than {MIN_EVENTS} events."
    )
    note = (
        f"Tracks of one recording are alike. If a condition has fewer than {MIN_FILES} files, tracks are resampled, "
        "and the intervals do not include the differences between recordings."
    )
    grey = [i for i, name in enumerate(shown["condition"]) if first in doubtful or name in doubtful]
    parts = [element("h3", "Conditions compared"), *warn_of_remainders(doubtful)]
    parts.append(make_table(header, rows, caption, grey))
    return Markup("").join([*parts, element("p", note, class_="note")] if "tracks" in resampled else parts)


def warn_of_remainders(doubtful: list[str]) -> list[Markup]:
    """Say why comparisons with these conditions are greyed out; nothing if there are none."""
    if not doubtful:
        return []
    text = (
        f"Greyed out: comparisons with {', '.join(doubtful)}. Less than half of its points were analysed, or the "
        "tracks left out move differently (the numbers stand in the first lines of this page): a difference can come "
        "from what was left out."
    )
    return [element("p", text, class_="warning")]
