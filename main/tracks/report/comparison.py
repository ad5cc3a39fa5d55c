"""Comparison of conditions in a report."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from main.tracks.kinetics.likelihood import KineticsFit
from main.tracks.kinetics.rates import MIN_EVENTS, MIN_FILES, Estimate, compare_conditions
from main.tracks.report.html import element, format_interval, format_number, format_unit, make_table
from main.tracks.results.left_out import describe_left_out


def compare_groups(estimates: dict[str, Estimate], fits: dict[str, KineticsFit], record: dict) -> Markup:
    """Make the comparison of every condition with the first one; empty where there is nothing to compare.

    Parameters
    ----------
    estimates : dict of str -> Estimate
        Labels of the networks, by condition.
    fits : dict of str -> KineticsFit
        States of the hidden Markov model, by condition.
    record : dict
        Contents of run.json.
    """
    compared = [compare_conditions(found, record) for found in (estimates, fits)]
    compared = [table for table in compared if len(table)]
    if not compared:
        return Markup()
    differences = pd.concat(compared, ignore_index=True)
    return make_comparison(differences, record, estimates[differences["reference"].iloc[0]].time_unit)


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
        "msd_1_frames": Markup("label: MSD at one frame ({})").format(format_unit(record["units"]["msd_1"])),
        "alpha_frames": "label: α",
        "labelled_share_frames": "label: share of labelled frames",
        "d": Markup("model: D ({})").format(format_unit(record["units"]["d_cve"])),
        "occupancy": "model: occupancy (0 to 1)",
        "mean_dwell": f"model: mean dwell time ({time_unit})",
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
        f"Each condition compared with {first}. Label: frames with a label of the networks, every frame counting "
        f"alike. Model: states of the hidden Markov model. Difference: condition − {first}. Ratio: condition ÷ "
        f"{first}, without unit. 90 % intervals from resampling {resampled}; – if one of the two has fewer "
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
        f"Greyed out: comparisons with {', '.join(doubtful)}. Less than half of their points were analysed, or the "
        "tracks left out move differently (the numbers stand in the first lines of this page): a difference can come "
        "from what was left out."
    )
    return [element("p", text, class_="warning")]
