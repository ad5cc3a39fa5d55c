"""Text and tables of a report on dwell times: states, rates, their limits, and the comparison of conditions."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from main.tracks.kinetics.dwells import MIN_DWELL_FRAMES
from main.tracks.kinetics.rates import MIN_EVENTS, MIN_FILES, Estimate
from main.tracks.report.html import element, format_number, format_percent, format_unit, make_list, make_table
from main.tracks.results.left_out import describe_left_out
from simulations.parameters import STATES, TRAPPED

DWELL_LIMITS = (
    "Dwell times and rates are biased if tracks end because of what the particle does, for example if it bleaches "
    "while it is trapped, or leaves the field of view while it moves. No estimator can correct this.",
    f"Stays shorter than {MIN_DWELL_FRAMES} frames are not seen. Two dwells with such a stay between them are counted "
    "as one dwell.",
    "Rates and mean dwell times assume that the chance to leave a state does not depend on the time already spent in "
    "it.",
)


def make_state_tables(rates: pd.DataFrame, estimate: Estimate, units: dict[str, str]) -> Markup:
    """Make two tables with 90 % intervals: the states, and the rates between them.

    Parameters
    ----------
    rates : pandas.DataFrame
        As returned by `main.tracks.kinetics.rates.tabulate_kinetics`.
    estimate : Estimate
        The estimate that they are made of.
    units : dict
        As under "units" in run.json.
    """
    values = rates.set_index(["state", "quantity"])
    dwells, time_unit = estimate.dwells, estimate.time_unit
    rows, rate_rows = [], []
    for state, name in enumerate(STATES):
        dwells_in_state = dwells[dwells["state"] == state]
        cells = [format_estimate(values.loc[(name, f"occupancy_{by}")], format_percent) for by in ("frames", "tracks")]
        cells += [
            format_estimate(values.loc[(name, column)]) if state != TRAPPED else "–"
            for column in ("msd_1_frames", "alpha_frames")
        ]
        cells += [f"{len(dwells_in_state):,}", f"{int((~dwells_in_state['start_seen']).sum()):,}"]
        rows.append([name, *cells, format_estimate(values.loc[(name, "mean_dwell")])])
        rate_rows.append(
            [
                f"from {name}",
                *("" if end == name else format_rate(values.loc[(name, f"rate_to_{end}")]) for end in STATES),
            ]
        )
    header = [
        "state",
        "share of frames",
        "share, each track counts alike",
        Markup("MSD at one frame ({})").format(format_unit(units["msd_1"])),
        "α",
        "dwells",
        "dwells without a seen start",
        f"mean dwell time ({time_unit})",
    ]
    resampled = f"90 % intervals from resampling {estimate.resampled_unit}"
    few = f"No interval is given for fewer than {MIN_EVENTS} events (n)."
    states = make_table(
        header,
        rows,
        Markup(
            "States. MSD at one frame: geometric mean over the frames of the state of 4 K Δt<sup>α</sup>, with Δt the "
            "time of one frame. α: mean over the frames of the state. Below each value: {}. {}"
        ).format(resampled, few),
    )
    rate_unit = name_rate_unit(estimate)
    return states + make_table(
        ["", *(f"to {name} ({rate_unit})" for name in STATES)],
        rate_rows,
        f"Rates of changes between states, per {rate_unit.removeprefix('1/')}. Below each rate: {resampled}, and the "
        "number n of changes that were seen.",
    )


def name_rate_unit(estimate: Estimate) -> str:
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


def list_dwell_limits(estimate: Estimate, record: dict) -> Markup:
    """List what dwell times and rates leave out, with the numbers of this run."""
    start_seen, end_seen = estimate.dwells["start_seen"], estimate.dwells["end_seen"]
    lines = [
        f"{int((~start_seen).sum()):,} of {len(start_seen):,} dwells start with their track. Their full length is not "
        "known, and they are left out of mean dwell times and rates. "
        f"{int((start_seen & ~end_seen).sum()):,} other dwells end with their track. They count as longer than what "
        "was seen (censored).",
        *DWELL_LIMITS,
    ]
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
        "occupancy_frames": "share of labelled frames (0 to 1)",
        "mean_dwell": f"mean dwell time ({time_unit})",
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
