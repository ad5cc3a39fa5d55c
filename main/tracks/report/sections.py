"""The text and tables of a report: summary, dwell times and rates, limits of validity, how it was made."""

import json
from collections import Counter

import numpy as np
import pandas as pd

from main.tracks.inference.segments import TRAPPED
from main.tracks.kinetics.dwells import SHORTEST, dwells
from main.tracks.report.html import Html, bullets, element, number, percent, quantity, raised, table, unit_html
from main.tracks.results.tables import MANY_GAPS, NOISE_ALPHA
from simulations.parameters import LONGEST_GAP, STATES

FLAGS = {
    "too_short": "Fewer points than --min-length: no segments, only a classical diffusion coefficient (d_cve).",
    "outside_training_range": "Length, or localisation error against the steps, beyond what the networks saw.",
    "many_gaps": f"More than {100 * MANY_GAPS:g} % of the frames are missing: less certain.",
    "partly_analysed": f"Cut at gaps of more than {LONGEST_GAP} frames; some of the pieces were too short.",
    "noise_dominated": f"alpha below {NOISE_ALPHA} with the localisation error unknown: may be nothing but noise.",
}
CAVEATS = (
    "Where the localisation error is larger than the steps, and not given, do not read K or alpha: noise and strong "
    "subdiffusion look alike. Tracks are flagged noise_dominated only where alpha also comes out near 0.",
    "Localisation error is taken as white noise of one size per track; motion blur is not modelled.",
    "The networks learned from five simulated models of motion; a motion that none of them makes is still given one of "
    "the four states.",
    "Intervals are 90 % intervals on tracks like those of the training; outside they promise less than they say.",
    "Do not trust K or alpha where a single step is comparable to the size of the compartment or cell.",
)
LENGTH_EDGES = (40, 80, 140, 201)  # frames; these bins are those of misc/limits.py
NOISE_EDGES = (0.1, 0.3, 1, 3)
ALPHA_EDGES = (0.3, 0.7, 1.3, 1.7)


def summary(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict) -> Html:
    """One sentence, key numbers, warnings and flags."""
    notes = [*record["warnings"], *(sample["reason"] + "." for sample in record.get("samples", []))]
    told = element("h3", "Warnings and notes") + bullets(notes) if notes else Html()
    counts = Counter(flag for flags in tracks["flags"] for flag in flags.split(";") if flag)
    rows = [[flag, f"{n:,}", FLAGS.get(flag, "")] for flag, n in counts.most_common()]
    flagged = table(["flag", "tracks", "means"], rows) if rows else element("p", "No track is flagged.")
    beside = element("div", told, element("h3", "Quality flags"), flagged)
    columns = element("div", element("div", key_numbers(tracks, segments, record)), beside, class_="pair")
    return element("p", sentence(tracks, segments, record), class_="lead") + columns


def sentence(tracks, segments, record) -> str:
    """What was read and what came out, in plain words."""
    analysed = int((tracks["n_segments"] > 0).sum())
    files = len(record["inputs"])
    start = (
        f"{len(tracks):,} tracks with {record['counts']['points']:,} points were read from "
        f"{'one file' if files == 1 else f'{files} files'}; "
    )
    if not analysed:
        return start + "none of them was long enough to analyse."
    frames = segments.groupby("state")["n_frames"].sum().reindex(range(len(STATES)), fill_value=0)
    shares = [f"{percent(n / frames.sum())} {name}" for name, n in zip(STATES, frames, strict=True)]
    shares[0] = shares[0].replace("% ", "% are ")
    return (
        start + f"{analysed:,} were long enough to analyse and fall into {len(segments):,} segments. Of their "
        f"frames {', '.join(shares[:-1])} and {shares[-1]}."
    )


def key_numbers(tracks, segments, record) -> Html:
    """The table of key numbers with units."""
    counts, units, frames = record["counts"], record["units"], tracks["n_frames"]
    intervals = {given["frame_interval_s"] for given in record["inputs"]}
    interval = intervals.pop() if len(intervals) == 1 else None
    moving = segments[segments["state"] != TRAPPED]
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in counts["dropped"].items()) or "none"
    typical = [weighted_median(moving[name], moving["n_frames"]) for name in ("msd_1", "alpha")]
    rows = [
        ["Tracks read, analysed", f"{len(tracks):,}, {counts['analysed']:,}"],
        ["Points read", f"{counts['points']:,}"],
        ["Points left out", dropped],
        ["Missing frames inside tracks", f"{counts['gaps']:,}"],
        ["Segments", f"{counts['segments']:,}"],
        ["Track length, median (range)", with_time(frames, interval)],
        ["Segment length, median (range)", with_time(segments["n_frames"], interval)],
        ["MSD at one frame, median over moving frames", quantity(typical[0], units["msd_1"])],
        ["alpha, median over moving frames", number(typical[1])],
        ["Classical D of whole tracks, median", quantity(float(tracks["d_cve"].median()), units["d_cve"])],
        ["Localisation error", localization(tracks, units)],
        ["Length per unit of x and y", scale_text(record["inputs"])],
        ["Frame interval", interval_text(record["inputs"])],
    ]
    return table([], rows, "Key numbers")


def with_time(frames: pd.Series, interval) -> str:
    """Median and range of a number of frames, the median in seconds too where that is known."""
    if frames.empty:
        return "–"
    seconds = f" ({number(float(frames.median()) * interval)} s)" if interval else ""
    return f"{frames.median():g} frames{seconds}, {frames.min():,} to {frames.max():,}"


def localization(tracks, units) -> Html:
    """The localisation error that the networks were told."""
    known = tracks["localization_error"].dropna()
    if known.empty:
        return Html("not given")
    span = "" if known.min() == known.max() else f" (median; {number(known.min())} to {number(known.max())})"
    missing = int(tracks["localization_error"].isna().sum())
    rest = f"; not known for {missing:,} tracks" if missing else ""
    return quantity(float(known.median()), units["x"]) + span + rest


def scale_text(inputs) -> str:
    """Pixel size or the file's own unit, of all files."""
    found = {(i["position"], i["um_per_unit"]) for i in inputs}
    texts = [f"1 {unit} = {um:g} µm" if um else f"{unit}, size not given" for unit, um in sorted(found, key=str)]
    return "; ".join(texts)


def interval_text(inputs) -> str:
    """Seconds per frame, of all files."""
    found = sorted({i["frame_interval_s"] for i in inputs}, key=str)
    return "; ".join(f"{s:g} s" if s else "not given: times are in frames" for s in found)


def weighted_median(values, weights) -> float:
    """Median of values (N,) that count as often as their weights say; nan of none."""
    values, weights = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    known = np.isfinite(values)
    if not known.any():
        return np.nan
    order = np.argsort(values[known])
    total = np.cumsum(weights[known][order])
    return float(values[known][order][np.searchsorted(total, total[-1] / 2)])


def rates_table(rates: pd.DataFrame, segments: pd.DataFrame, time: str, units: dict) -> Html:
    """Occupancy, level, mean dwell and rates of each state, a row a state, with their intervals."""
    values = rates.set_index(["state", "quantity"])
    dwell = dwells(segments)
    per = f"1/{time.removesuffix('s') if time == 'frames' else time}"
    level = Html(f"MSD at one frame ({unit_html(units['msd_1'])})")
    header = [
        "state",
        "share of frames",
        "share, each track alike",
        level,
        "alpha",
        "dwells (start not seen)",
        f"mean dwell ({time})",
    ]
    header += [f"rate to {name} ({per})" for name in STATES]
    rows = []
    for state, name in enumerate(STATES):
        own = dwell[dwell["state"] == state]
        cells = [interval(values.loc[(name, f"occupancy_{by}")], percent) for by in ("frames", "tracks")]
        cells += [
            interval(values.loc[(name, column)]) if state != TRAPPED else Html("–")
            for column in ("msd_1_frames", "alpha_frames")
        ]
        cells += [f"{len(own):,} ({int((~own['start_seen']).sum()):,})", interval(values.loc[(name, "mean_dwell")])]
        for other in STATES:
            row = None if other == name else values.loc[(name, f"rate_to_{other}")]
            cells.append("" if row is None else interval(row, seen=row["n"]))
        rows.append([name, *cells])
    by = rates["resampled"].iloc[0]
    return table(
        header,
        rows,
        "Occupancy, levels (geometric mean of the MSD, mean of alpha, over the state's frames), "
        f"mean dwell times and rates, with 90 % intervals from resampling {by}",
    )


def interval(row, form=number, seen=None) -> Html:
    """A value with its interval, and the number of changes behind a rate."""
    if not np.isfinite(row["value"]) or seen == 0:
        return Html("–")
    if np.isnan(row["low"]):
        return Html(f"{raised(form(row['value']))} <small>n = {int(row['n']):,}: no interval</small>")
    ends = raised(span(row, form=form))
    count = "" if seen is None else f", n = {int(seen):,}"
    return Html(f"{raised(form(row['value']))} <small>{ends}{count}</small>")


def comparison(differences: pd.DataFrame, units: dict) -> Html:
    """How conditions differ from the first: a table of differences and ratios.

    Parameters
    ----------
    differences : pandas.DataFrame
        As of `main.tracks.kinetics.rates.compare_conditions`.
    units : dict
        As under "units" in run.json.
    """
    time = "s" if units["k"].endswith("/s^alpha") else "frames"
    names = {
        "occupancy_frames": "share of frames",
        "alpha_frames": "alpha",
        "mean_dwell": f"mean dwell ({time})",
        "msd_1_frames": Html(f"MSD at one frame ({unit_html(units['msd_1'])})"),
    }
    rows, first = [], differences["reference"].iloc[0]
    for _, row in differences[differences["quantity"].isin(names)].iterrows():
        ends = [
            Html("–") if np.isnan(row[f"{what}_low"]) else f"{number(row[what])} ({span(row, what)})"
            for what in ("difference", "ratio")
        ]
        rows.append(
            [
                row["condition"],
                row["state"],
                names[row["quantity"]],
                number(row["value_reference"]),
                number(row["value"]),
                *map(raised, ends),
            ]
        )
    by = " and ".join(differences["resampled"].unique())
    note = (
        (
            "Tracks of one recording are alike. With fewer than 5 files in a condition tracks are resampled, and the "
            "intervals say nothing about how recordings differ."
        )
        if "tracks" in by
        else ""
    )
    header = ["condition", "state", "quantity", first, "condition's value", "difference (90 %)", "ratio (90 %)"]
    shown = table(header, rows, f"Against {first}, with 90 % intervals from resampling {by}; every frame counts alike")
    return element("h3", "Conditions compared") + shown + (element("p", note, class_="note") if note else Html())


def span(row, what: str = "", form=number) -> str:
    """The interval of a value in words; without an upper end "a or more"."""
    low, high = (row[f"{what}_{end}" if what else end] for end in ("low", "high"))
    return f"{form(low)} to {form(high)}" if np.isfinite(high) else f"{form(low)} or more"


def dwell_notes(segments: pd.DataFrame) -> Html:
    """What to know before reading dwell times."""
    table_of_dwells = dwells(segments)
    left_out = int((~table_of_dwells["start_seen"]).sum())
    cut = int((table_of_dwells["start_seen"] & ~table_of_dwells["end_seen"]).sum())
    return bullets(
        (
            f"{left_out:,} of {len(table_of_dwells):,} dwells begin with their track: how long they had lasted is not "
            f"known, and they are left out. {cut:,} others end with their track and count as longer than what was seen "
            "(censored).",
            "Where tracks end because of what a particle does (bleaching while it is still, leaving the field while it "
            "moves), dwell times and rates come out wrong, and no estimator repairs that.",
            f"Stays of under {SHORTEST} frames are not seen: two dwells with such a stay between them are one.",
            "Mean dwells and rates take the chance to leave a state as independent of the time spent in it.",
        )
    )


def limits(tracks, segments, record, training_range: dict) -> Html:
    """The training range, where the data of this run lie, and the general caveats."""
    parts, shown = [], ""
    if "n_frames" in training_range:
        low, high = training_range["n_frames"]
        own = tracks.loc[tracks["n_segments"] > 0, "n_frames"]
        parts.append(
            element(
                "p",
                f"These weights were trained on tracks of {low} to {high} frames. Of the analysed "
                f"tracks {(own > high).sum():,} are longer and were read in overlapping windows, "
                f"{(own < low).sum():,} are shorter.",
            )
        )
    if len(segments):
        parts.append(
            element(
                "p",
                "Errors grow where tracks are short, where the localisation error nears the size of "
                "a step, and towards the ends of alpha's range. The table says how much of this run lies "
                "where, and how wide the intervals are there; the errors measured in the same bins on "
                "simulated tracks are in the project's README under Limits.",
            )
        )
        shown = validity_table(tracks, segments, record)
    return element("div", element("div", *parts, bullets(CAVEATS)), element("div", shown), class_="pair")


def validity_table(tracks, segments, record) -> Html:
    """Share of the moving frames and width of their segments' intervals, by length, noise over step and alpha."""
    moving = segments[segments["state"] != TRAPPED]
    own = tracks.set_index("track_id").loc[moving["track_id"]]
    lengths = {f"length {name}": value for name, value in bins(own["n_frames"].to_numpy(), LENGTH_EDGES, "frames")}
    noise = {f"noise / step {name}": value for name, value in bins(noise_over_step(own, moving, record), NOISE_EDGES)}
    alphas = {f"alpha {name}": value for name, value in bins(moving["alpha"].to_numpy(), ALPHA_EDGES)}
    weight, rows = moving["n_frames"].to_numpy(dtype=float), []
    factor = (moving["k_hi"] / moving["k_lo"].where(moving["k_lo"] > 0)).to_numpy()
    width = (moving["alpha_hi"] - moving["alpha_lo"]).to_numpy()
    for name, chosen in ({"all moving frames": np.ones(len(moving), bool)} | lengths | noise | alphas).items():
        if chosen.any():
            medians = [number(weighted_median(v[chosen], weight[chosen]), 2) for v in (factor, width)]
            rows.append([name, percent(weight[chosen].sum() / weight.sum()), *medians])
    return table(
        ["", "share of moving frames", "K: upper over lower end", "alpha: width"],
        rows,
        "Where this run lies: medians of the segments' 90 % intervals, each frame counting alike. noise / "
        "step: localisation error over the standard deviation of a step per coordinate",
    )


def noise_over_step(own, moving, record) -> np.ndarray:
    """Localisation error over the standard deviation of a step, sqrt(msd_1 / 2), of each segment; nan if unknown."""
    scales = {i["path"]: i["um_per_unit"] or 1.0 for i in record["inputs"]}
    scale = own["file"].map(scales).to_numpy() if "file" in own else record["inputs"][0]["um_per_unit"] or 1.0
    return own["localization_error"].to_numpy() * scale / np.sqrt(moving["msd_1"].to_numpy() / 2)


def bins(values, edges, unit: str = ""):
    """Names and members of the bins below, between and above some edges, and of what is not known."""
    place, unit = np.digitize(values, edges), f" {unit}" if unit else ""
    known = np.isfinite(values)
    for i in range(len(edges) + 1):
        low, high = (edges[i - 1] if i else None), (edges[i] if i < len(edges) else None)
        name = f"below {high:g}" if low is None else f"{low:g} and more" if high is None else f"{low:g} to {high:g}"
        yield name + unit, known & (place == i)
    yield "not known", ~known


def provenance(record: dict) -> Html:
    """The command, inputs, weights, options and versions."""
    command = record.get("command")
    parts = [
        element("h3", "Command"),
        element("pre", element("code", command))
        if command
        else element("p", "Called from Python, not from the command line; the options are below."),
    ]
    inputs = [[i["path"], i["format"], i["position"], element("code", i["sha256"])] for i in record["inputs"]]
    parts.append(table(["file", "format", "x and y in", "sha256"], inputs, "Inputs"))
    weights = [[name, element("code", digest)] for name, digest in record["weights"].items()]
    parts.append(table(["network", "sha256"], weights, f"Weights: {record['options'].get('weights', '')}"))
    options = [[name, json.dumps(value, ensure_ascii=False)] for name, value in record["options"].items()]
    versions = {"tracewise": record["code_version"]} | record["packages"]
    chosen = element("div", table(["option", "value"], options, "Options"))
    beside = element("div", table(["package", "version"], list(map(list, versions.items())), "Versions"))
    return Html("".join(parts)) + element("div", chosen, beside, class_="pair")


def units_text(record: dict) -> dict[str, str]:
    """Units of the figures' axes, as HTML."""
    return {name: str(unit_html(unit)) for name, unit in record["units"].items()}
