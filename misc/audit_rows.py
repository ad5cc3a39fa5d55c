"""What the rows of the audit are made of: estimates with intervals, verdicts, and the tool's doors."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from known_tracks import FRAME_INTERVAL, make_table
from scipy.stats import binom, norm

from main.tracks.analysis import analyse
from main.tracks.pipeline import infer_files

LEVEL = 0.90  # of every interval, of the tool and of the audit
COVERAGE = (0.85, 0.95)  # share of 90 % intervals that should hold the truth
COVERAGE_OR_MORE = (0.85, None)
FEWEST = 8  # tracks or repetitions of a cell, however small the scale
MIN_WARNED = 0.9  # share of tracks with a warning from which a missed target counts as flagged
FREE, TRAPPED = 2, 0  # values of the column `state`
OWN_CODE = ("known_tracks", "audit_rows", "audit_motion", "audit_kinetics", "audit_microscope", "audit_samples")
ALL_CODE = ("main", "simulations", *(f"misc/{name}.py" for name in OWN_CODE))


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 90 % interval and the number of independent tracks or repetitions behind it."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    question : str
        What is measured.
    tracks : str
        Generator and parameters, and what the tool is told.
    measured : Estimate
    target : (float or None, float or None) or None
        Smallest and largest value that hold; None: no target is set.
    warned : float
        Share of the tracks, or of the runs, that the tool warns of.
    note : str
        Further figures.
    of_intervals : bool
        Whether this is the share of intervals that hold the truth.
    """

    question: str
    tracks: str
    measured: Estimate
    target: tuple | None = None
    warned: float = 0.0
    note: str = ""
    of_intervals: bool = False

    @property
    def verdict(self) -> str:
        """holds, missed, too wide (intervals), flagged (missed, but the tool warns), no target or not measured."""
        if not np.isfinite(self.measured.value):
            return "not measured"
        if self.target is None:
            return "no target"
        low, high = self.target
        value = self.measured.value
        if (low is None or value >= low) and (high is None or value <= high):
            return "holds"
        if self.of_intervals and high is not None and value > high:
            return "too wide"
        return "flagged" if self.warned >= MIN_WARNED else "missed"


@dataclass(frozen=True)
class Cell:
    """A few rows that are measured together, so that an interrupted audit goes on with the next cell.

    Parameters
    ----------
    name : str
        "section: cell".
    measure : callable
        (rng, scale) -> list of Row. `scale` multiplies numbers of tracks and of repetitions.
    code : tuple of str
        Files and folders that the rows depend on; where they change, the cell is measured again.
    """

    name: str
    measure: Callable
    code: tuple[str, ...] = ALL_CODE


def make_cell(name: str, measure: Callable, *values, code: tuple[str, ...] = ALL_CODE) -> Cell:
    """Make a cell of a function of (*values, rng, scale)."""
    return Cell(name, lambda rng, scale: measure(*values, rng, scale), code)


def count(n: int, scale: float) -> int:
    """Number of tracks or repetitions at this scale, at least `FEWEST` (or n)."""
    return max(int(round(n * scale)), min(n, FEWEST))


def share(hits) -> Estimate:
    """Share of true values, with the 90 % interval of Wilson (1927)."""
    hits = np.asarray(hits, bool)
    n, z = len(hits), norm.ppf(0.5 + LEVEL / 2)
    if not n:
        return Estimate(np.nan, np.nan, np.nan, 0)
    p = float(hits.mean())
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return Estimate(p, float((centre - half) / (1 + z**2 / n)), float((centre + half) / (1 + z**2 / n)), n)


def yes(holds: bool) -> Estimate:
    """1 if something that is asked once holds, else 0; no interval."""
    return Estimate(float(holds), float(holds), float(holds), 1)


def mean(values) -> Estimate:
    """Mean of independent values, with the 90 % interval of its standard error."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0)
    half = norm.ppf(0.5 + LEVEL / 2) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values))


def median(values) -> Estimate:
    """Median of independent values, with the 90 % interval of their ranks."""
    values = np.sort(np.asarray(values, float)[np.isfinite(values)])
    n = len(values)
    if not n:
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = binom.ppf([0.5 - LEVEL / 2, 0.5 + LEVEL / 2], n, 0.5).astype(int)
    return Estimate(float(np.median(values)), float(values[low]), float(values[min(high, n - 1)]), n)


def ratio(numerators, denominators) -> Estimate:
    """Ratio of two sums over tracks, with its 90 % interval to first order (Cochran 1977, section 2.11)."""
    a, b = np.asarray(numerators, float), np.asarray(denominators, float)
    n, value = len(a), a.sum() / b.sum()
    half = norm.ppf(0.5 + LEVEL / 2) * np.sqrt(n / max(n - 1, 1) * ((a - value * b) ** 2).sum()) / b.sum()
    return Estimate(float(value), float(value - half), float(value + half), n)


def read(tracks, sigma=None, missing=0.0, rng=None, **options):
    """Analyse tracks in um with `main.tracks.analysis.analyse`; returns its tables."""
    table = make_table(tracks, missing, rng)
    return analyse(table, frame_interval_s=FRAME_INTERVAL, localization_error=sigma, **options)


def read_files(tracks, sigma=None, use=lambda run: (run.results, run.record), pixels=False, **options):
    """Analyse tracks with `main.tracks.pipeline.infer_files`, from a CSV file in a temporary folder.

    `use` is called with the run while the folder exists; by default it returns the tables and run.json. The columns of
    the file say um, or with `pixels` nothing, which means px.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tracks.csv"
        table = make_table(tracks)
        table = table.rename(columns={"x_um": "x", "y_um": "y"}) if pixels else table
        table.to_csv(path, index=False)
        options = {"frame_interval": FRAME_INTERVAL, "localization_error": sigma} | options
        return use(infer_files(path, Path(folder) / "results", **options))


def longest_segments(results):
    """The longest segment of each track, and the tracks that have none with NaN; sorted by track_id."""
    order = results.segments.sort_values("n_frames", ascending=False, kind="stable")
    by_track = order.drop_duplicates("track_id").set_index("track_id")
    return by_track.reindex(results.tracks["track_id"].sort_values()).reset_index()


def inside(rows, name: str, truth: float) -> np.ndarray:
    """Whether the interval of a quantity holds the truth, for each row; an empty interval does not."""
    return ((rows[f"{name}_lo"] <= truth) & (truth <= rows[f"{name}_hi"])).to_numpy()


def has_warning(results, *names: str) -> np.ndarray:
    """Whether each track has one of these warnings, or any if no names are given; sorted by track_id."""
    warnings = results.tracks.sort_values("track_id")["warnings"].str.split(";")
    return np.array([any((w in names) if names else w for w in listed) for listed in warnings])


def run_warns(record: dict, *words: str) -> bool:
    """Whether a sentence of run.json contains all of these words."""
    return any(all(word in sentence for word in words) for sentence in record["warnings"])


def state_share_of_frames(results, state: int) -> np.ndarray:
    """Share of the frames of each track that its segments call `state`, sorted by track_id; NaN without segments."""
    segments = results.segments
    frames = segments.groupby("track_id")["n_frames"].sum()
    of_state = segments[segments["state"] == state].groupby("track_id")["n_frames"].sum()
    return (of_state.reindex(frames.index, fill_value=0) / frames).reindex(results.tracks["track_id"]).to_numpy()


def frame_states(results) -> list[np.ndarray]:
    """State of each point by its segment, an array for each track, sorted by track_id."""
    points = results.points.merge(
        results.segments[["track_id", "segment_id", "state"]], on=["track_id", "segment_id"], suffixes=("_frame", "")
    ).sort_values(["track_id", "frame"])
    return [rows.to_numpy() for _, rows in points.groupby("track_id")["state"]]


def describe_factor(low, high) -> str:
    """Median ratio of the upper to the lower end of intervals, as text."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(high, float) / np.asarray(low, float)
    ratio = ratio[np.isfinite(ratio)]
    return f"median upper / lower end {np.median(ratio):.2f}" if len(ratio) else "no finite interval"
