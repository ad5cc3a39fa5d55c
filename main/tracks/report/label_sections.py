"""Text and tables of a report on the four labels of the networks, and what they leave out."""

from markupsafe import Markup

from main.tracks.kinetics.dwells import MIN_DWELL_FRAMES
from main.tracks.kinetics.rates import MIN_EVENTS, Estimate, tabulate_kinetics
from main.tracks.report.html import element, format_estimate, format_percent, format_unit, make_list, make_table
from simulations.parameters import STATES, TRAPPED

COMPONENTS_NOTE = (
    "Read the components in the summary instead of these means: a mean over several components is a motion that no "
    "particle has."
)


def make_label_tables(estimates: dict[str, Estimate], record: dict) -> Markup:
    """Make the tables of the labels of every group; the browser shows one of them."""
    with_components = any(sample["mixture"] for sample in record.get("samples", []))
    tables = (make_label_table(estimate, record["units"], with_components) for estimate in estimates.values())
    return Markup("").join(element("div", table, class_="group", data_group=i) for i, table in enumerate(tables))


def make_label_limits(estimates: dict[str, Estimate]) -> Markup:
    """Make the lists of what labelled stays leave out, of every group; the browser shows one of them."""
    lists = map(list_label_limits, estimates.values())
    return Markup("").join(element("div", limits, class_="group", data_group=i) for i, limits in enumerate(lists))


def make_label_table(estimate: Estimate, units: dict[str, str], with_components: bool) -> Markup:
    """Make the table of the four labels of the networks with 90 % intervals.

    Parameters
    ----------
    estimate : Estimate
    units : dict
        As under "units" in run.json.
    with_components : bool
        Whether some tracks were decoded with components, which are better than the means of this table.
    """
    values, rows = tabulate_kinetics(estimate).set_index(["state", "quantity"]), []
    for state, name in enumerate(STATES):
        cells = [
            format_estimate(values.loc[(name, column)]) if state != TRAPPED else "–"
            for column in ("msd_1_frames", "alpha_frames")
        ]
        cells += [
            format_estimate(values.loc[(name, f"labelled_share_{by}")], format_percent) for by in ("frames", "tracks")
        ]
        rows.append([name, *cells, f"{int((estimate.dwells['state'] == state).sum()):,}"])
    header = [
        "label",
        Markup("MSD at one frame ({})").format(format_unit(units["msd_1"])),
        "α",
        "share of labelled frames (not a bound fraction)",
        "the same, each track counts alike",
        "stays",
    ]
    caption = Markup(
        "MSD at one frame: geometric mean over the frames of the label of 4 K Δt<sup>α</sup>, with Δt the time of one "
        "frame. α: mean over these frames. Below each value: 90 % intervals from resampling {}; none for fewer than {} "
        "stays or segments (n). {}"
    ).format(estimate.resampled_unit, MIN_EVENTS, COMPONENTS_NOTE if with_components else "")
    return make_table(header, rows, caption)


def list_label_limits(estimate: Estimate) -> Markup:
    """List what labelled stays leave out, with the numbers of this run."""
    start_seen, end_seen = estimate.dwells["start_seen"], estimate.dwells["end_seen"]
    return make_list(
        [
            f"Labels are wrong at times, stays shorter than {MIN_DWELL_FRAMES} frames are not seen, and two stays with "
            "such a one between them count as one. Therefore shares of labels are not occupancies, and lengths of "
            "labelled stays are not dwell times.",
            f"{int((~start_seen).sum()):,} of {len(start_seen):,} labelled stays start with their track and are not in "
            f"the curves. {int((start_seen & ~end_seen).sum()):,} others end with their track and count as longer than "
            "what was seen (censored).",
        ]
    )
