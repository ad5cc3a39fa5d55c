"""Overview numbers of a report: motion first, then what was read."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from main.tracks.kinetics.rates import MIN_EVENTS, MIN_FILES, sum_motion
from main.tracks.report.components import make_components
from main.tracks.report.html import (
    element,
    format_number,
    format_percent,
    format_quantity,
    make_table,
)
from main.utils.bootstrap import bootstrap_interval, resample_totals, weighted_quantile
from simulations.parameters import STATES, TRAPPED

K_NOTE = (
    "The unit of K depends on α. K of segments with different α cannot be compared, and where α is uncertain, so is K: "
    "its 90 % interval includes the uncertainty of α and is wide. The MSD at one frame has neither problem."
)


def make_summary(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict) -> Markup:
    """Make the summary: what was found in words, components, the numbers of the motion and of what was read.

    Parameters
    ----------
    tracks, segments : pandas.DataFrame
        Tables of `infer.py`.
    record : dict
        Contents of run.json.
    """
    motion = make_motion_numbers(tracks, segments, record["units"])
    note = element("p", K_NOTE, class_="note") if len(segments) else Markup()
    columns = element("div", motion, note), element("div", make_count_numbers(tracks, segments, record))
    lead = element("p", describe_run(tracks, segments, record), class_="lead")
    return lead + make_components(record) + element("div", *columns, class_="pair")


def describe_run(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict) -> str:
    """Say in three sentences how much was read and analysed, and which labels the frames have."""
    analysed = int((tracks["n_segments"] > 0).sum())
    n_files = len(record["inputs"])
    read = (
        f"{len(tracks):,} tracks with {record['counts']['points']:,} points were read from "
        f"{'one file' if n_files == 1 else f'{n_files} files'}; "
    )
    if not analysed:
        return read + "none of them was long enough to analyse."
    frames = segments.groupby("state")["n_frames"].sum().reindex(range(len(STATES)), fill_value=0)
    shares = [f"{format_percent(n / frames.sum())} {name}" for name, n in zip(STATES, frames, strict=True)]
    return (
        f"{read}{analysed:,} were long enough to analyse. They were divided into {len(segments):,} segments of one "
        f"motion each. Share of their frames that the networks label with each state (not a bound fraction): "
        f"{', '.join(shares)}."
    )


def make_motion_numbers(tracks: pd.DataFrame, segments: pd.DataFrame, units: dict[str, str]) -> Markup:
    """Make the table of the motion: msd_1 and alpha of all moving frames, the width of the intervals, classical D.

    K is not averaged, because its unit depends on alpha.
    """
    moving = segments[segments["state"] != TRAPPED]
    rows = []
    if len(moving):
        means = estimate_moving_means(segments)
        rows += [
            [f"MSD at one frame: {text}", format_with_ends(*means[name], units["msd_1"])]
            for name, text in (
                ("msd_1_frames", "every frame counts alike"),
                ("msd_1_tracks", "every track counts alike"),
            )
        ]
        rows.append(["α: every frame counts alike", format_with_ends(*means["alpha_frames"])])
        rows += describe_widths(moving)
    low, middle, high = tracks["d_cve"].quantile([0.05, 0.5, 0.95])
    rows.append(
        [
            "Classical diffusion coefficient of single tracks, trapped ones included: median",
            Markup("{} <small>nine tracks of ten: {} to {}</small>").format(
                format_quantity(middle, units["d_cve"]), format_number(low), format_number(high)
            ),
        ]
    )
    caption = (
        "Motion of the frames that are not trapped. MSD at one frame: mean squared displacement from one frame to the "
        "next, without the localisation error; geometric mean. Below: 90 % intervals from resampling tracks (files, "
        f"where there are {MIN_FILES} or more)."
    )
    return make_table([], rows, caption)


def estimate_moving_means(segments: pd.DataFrame, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Estimate means of msd_1 (geometric) and alpha over all moving frames, with bootstrap intervals.

    Tracks of one recording are alike. Therefore files are resampled where there are `MIN_FILES` or more, else tracks.

    Returns
    -------
    dict of str -> (value, low, high)
        msd_1_frames, msd_1_tracks, alpha_frames; low and high are nan for fewer than `MIN_EVENTS` tracks.
    """
    sums = np.delete(sum_motion(segments), TRAPPED, axis=1).sum(axis=1)  # (tracks, 2 weightings, 4 sums)
    if "file" in segments and segments["file"].nunique() >= MIN_FILES:
        file = segments.groupby("track_id")["file"].first().astype("category").cat.codes.to_numpy()
        by_file = np.zeros((file.max() + 1, *sums.shape[1:]))
        np.add.at(by_file, file, sums)
        sums = by_file

    def compute_means(total):
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total[..., 1:] / total[..., :1]
        frames, tracks = mean[..., 0, :], mean[..., 1, :]
        return {
            "msd_1_frames": 10 ** frames[..., 0],
            "msd_1_tracks": 10 ** tracks[..., 0],
            "alpha_frames": frames[..., 2],
        }

    value, drawn, found = compute_means(sums.sum(0)), compute_means(resample_totals(sums, seed=seed)), {}
    for name in value:
        ends = bootstrap_interval(value[name], drawn[name], len(sums), "plain" if name == "alpha_frames" else "log")
        found[name] = (float(value[name]), *(ends if len(sums) >= MIN_EVENTS else (np.nan, np.nan)))
    return found


def describe_widths(moving: pd.DataFrame) -> list[list]:
    """Make rows that say how wide the intervals of single segments are: of msd_1 first, then of K."""
    rows = []
    for name, text in (("msd_1", "MSD at one frame"), ("k", "K")):
        if f"{name}_lo" in moving:
            low = moving[f"{name}_lo"].where(moving[f"{name}_lo"] > 0)
            factor = weighted_median(moving[f"{name}_hi"] / low, moving["n_frames"])
            rows.append(
                [
                    f"{text} of one segment: upper ÷ lower end of its 90 % interval, median over frames",
                    format_number(factor, 2),
                ]
            )
    return rows


def make_count_numbers(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict) -> Markup:
    """Make the table of what was read and analysed, with units."""
    counts, frames = record["counts"], tracks["n_frames"]
    intervals = {given["frame_interval_s"] for given in record["inputs"]}
    interval = intervals.pop() if len(intervals) == 1 else None
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in counts["dropped"].items()) or "none"
    rows = [
        ["Tracks read", f"{len(tracks):,}"],
        ["Tracks analysed", f"{counts['analysed']:,}"],
        ["Points read", f"{counts['points']:,}"],
        ["Points dropped on reading", dropped],
        ["Missing frames inside tracks", f"{counts['gaps']:,}"],
        ["Segments", f"{counts['segments']:,}"],
        ["Points per track", describe_lengths(frames, "points", interval)],
        ["Frames per segment", describe_lengths(segments["n_frames"], "frames", interval)],
        ["Unit of x and y", describe_scale(record["inputs"])],
        ["Frame interval", describe_interval(record["inputs"])],
    ]
    return make_table([], rows, "What was read and analysed")


def describe_lengths(lengths: pd.Series, unit: str, frame_interval_s: float | None) -> str:
    """Write the median and the range of a length, the median also in seconds where the frame interval is known."""
    if lengths.empty:
        return "–"
    seconds = f" ({format_number(float(lengths.median()) * frame_interval_s)} s)" if frame_interval_s else ""
    return f"median {lengths.median():g} {unit}{seconds}, range {lengths.min():,} to {lengths.max():,}"


def describe_scale(inputs: list[dict]) -> str:
    """Write the unit of x and y of all files, in micrometres where it is known."""
    found = {(given["position"], given["um_per_unit"]) for given in inputs}
    texts = [f"1 {unit} = {um:g} µm" if um else f"{unit}, size not given" for unit, um in sorted(found, key=str)]
    return "; ".join("µm" if text == "1 um = 1 µm" else text for text in texts)


def describe_interval(inputs: list[dict]) -> str:
    """Write the frame intervals of all files, in seconds where they are known."""
    found = sorted({given["frame_interval_s"] for given in inputs}, key=str)
    return "; ".join(f"{s:g} s" if s else "not given: times are in frames" for s in found)


def format_with_ends(value: float, low: float, high: float, unit: str = "") -> Markup:
    """Write a value with its unit, and its interval below it."""
    text = format_quantity(value, unit)
    if np.isnan(low):
        return text + Markup(" <small>fewer than {} tracks: no interval</small>").format(MIN_EVENTS)
    return text + Markup(" <small>{} to {}</small>").format(format_number(low), format_number(high))


def weighted_median(values, weights) -> float:
    """Compute the median of the finite values (N,) with weights (N,); nan if there are none."""
    values, weights = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    known = np.isfinite(values)
    return weighted_quantile(values[known], weights[known], 0.5) if known.any() else np.nan
