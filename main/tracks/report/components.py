"""Components in a report: the kinds of motion that the tracks of a sample share, found with `--adapt sample`."""

import pandas as pd
from markupsafe import Markup

from main.tracks.report.html import element, format_number, format_percent, format_unit, make_table
from main.tracks.results.components import tabulate_components
from simulations.parameters import STATES, TRAPPED

INSTEAD = (
    "Read these components before the means further below: where a sample has several components, a mean over all of "
    "them is a motion that no particle has."
)
CAPTION = (
    "Share: of all frames of the file. Mean stay: mean time in the component before a change to another one. Spread: "
    "standard deviation between the particles of one component. Below each value: its 90 % interval, where it is known."
)
MAX_ENDS_RATIO = 30.0  # of a mean stay; where its ends are further apart, the tracks do not say how long it lasts


def make_components(record: dict) -> Markup:
    """Make what `--adapt sample` found: a sentence on every file, and a table where components were used.

    Parameters
    ----------
    record : dict
        Contents of run.json.

    Returns
    -------
    markupsafe.Markup
        Empty without `--adapt sample`.
    """
    samples = record.get("samples", [])
    if not samples:
        return Markup()
    table, parts = tabulate_components(record), [element("h3", "Components that the tracks share")]
    if len(table):
        parts += [element("p", INSTEAD), element("p", CAPTION, class_="caption")]
    for sample, given in zip(samples, record["inputs"], strict=False):
        reason = f"{given['path']}: {sample['reason']}."
        if sample["mixture"]:
            parts.append(make_component_table(table[table["file"] == given["path"]], record, given, reason))
        else:
            parts.append(element("p", reason, class_="note"))
    return Markup("").join(parts)


def make_component_table(components: pd.DataFrame, record: dict, given: dict, caption: str) -> Markup:
    """Make the table of the components of one file; `given` is its entry under "inputs" in run.json."""
    units = record["units"]
    header = [
        "component",
        "share",
        Markup("MSD at one frame ({})").format(format_unit(units["msd_1"])),
        Markup("K ({})").format(format_unit(units["k"])),
        "α",
        f"mean stay ({'s' if given['frame_interval_s'] else 'frames'})",
        "spread of log₁₀ K",
        "spread of α",
    ]
    rows = []
    for number, component in enumerate(components.to_dict("records"), 1):
        moves = component["state"] != STATES[TRAPPED]
        motion = [format_ends(component, name) if moves else "–" for name in ("msd_1", "k", "alpha")]
        spread = [format_number(component[name], 2) if moves else "–" for name in ("log10_k_sd", "alpha_sd")]
        share = format_ends(component, "share", format_percent)
        rows.append([f"{number} {component['state']}", share, *motion, format_ends(component, "dwell"), *spread])
    return make_table(header, rows, caption)


def format_ends(component: dict, name: str, form=format_number) -> Markup:
    """Write a value of a component with its interval below it, where there is one."""
    value, low, high = (component[f"{name}{end}"] for end in ("", "_lo", "_hi"))
    if pd.isna(low) or pd.isna(high):
        return Markup("{}").format(form(value))
    if name == "dwell" and high > MAX_ENDS_RATIO * low:
        return Markup("{} or more").format(form(low))
    return Markup("{} <small>{} to {}</small>").format(form(value), form(low), form(high))
