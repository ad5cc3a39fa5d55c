"""Result tables from tracks and predictions: points, segments and tracks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from main.tracks.inference.calibration import INTERVALS, MAX_ALPHA
from main.tracks.inference.segments import TRAPPED
from main.tracks.results.motion import confinement_radii, net_speeds
from main.utils.errors import InputError
from main.utils.estimators import cve_by_track, steps_by_track

MANY_GAPS = 0.1  # share of missing frames above which a track gets the warning many_gaps
NOISE_ALPHA = 0.2  # below it, noise cannot be told from subdiffusion while the localisation error is unknown
NET_SPEED = ("net_speed", "net_speed_lo", "net_speed_hi")
RADIUS = ("confinement_radius", "confinement_radius_lo", "confinement_radius_hi")
PROBABILITIES = ("p_trapped", "p_confined", "p_free", "p_directed")
NEVER_EMPTY = ("x", "y", "k", "alpha", "msd_1")  # columns that have a value in every row; others may be NaN
FRAME_VALUES = (
    *("log10_k", "log10_k_lo", "log10_k_hi", "alpha", "alpha_lo", "alpha_hi"),
    *("correlation", "state_probs", "p_change"),
)
SEGMENT_COLUMNS = [
    "track_id",
    "segment_id",
    "frame_start",
    "frame_end",
    "n_frames",
    "msd_1",
    "msd_1_lo",
    "msd_1_hi",
    "k",
    "alpha",
    "state",
    "left_censored",
    "right_censored",
    *INTERVALS,
    "p_change_start",
    "change_width",
    *NET_SPEED,
    *RADIUS,
]


@dataclass
class Results:
    """Result tables of one file, in the units of `units`.

    Parameters
    ----------
    points, segments, tracks : pandas.DataFrame
        Columns as the README lists them.
    sample : dict, optional
        How the tracks were read together, and why; the report that `main.tracks.samples.read.analyse_sample` returns.
    quality : dict, optional
        What `main.tracks.quality.check.check_tracks` found; of `main.tracks.analysis.analyse` only.
    """

    points: pd.DataFrame
    segments: pd.DataFrame
    tracks: pd.DataFrame
    sample: dict | None = None
    quality: dict | None = None

    def check_finite(self, source) -> None:
        """Raise InputError, which names track and column, for a value that is infinite, or missing where none may be.

        Parameters
        ----------
        source : str or Path
            The file, for the error.
        """
        for rows in (self.points, self.segments, self.tracks):
            for name in rows.columns[rows.dtypes == np.float64]:
                values = rows[name].to_numpy()
                bad = ~np.isfinite(values) if name in NEVER_EMPTY else np.isinf(values)
                if bad.any():
                    track = rows["track_id"].iloc[np.argmax(bad)]
                    raise InputError(
                        f"{source}: {name} of track {track} is {values[np.argmax(bad)]}, expected a finite number; "
                        "check the positions of this track and the units."
                    )

    def in_units(self, units):
        """These tables in `units` instead of the unit of x and frames, with the columns of msd_1 added.

        The interval of K carries the error of alpha along (`Units.convert_k_ends`). That of msd_1 does not need it,
        because msd_1 is K at one frame. The column correlation is used up. K of the components of a sample is
        converted too.
        """
        points, segments = self.points.copy(), self.segments.copy()
        for rows in (points, segments):
            for end in ("", "_lo", "_hi"):
                rows[f"msd_1{end}"] = units.msd_1(rows[f"k{end}"])
            rows["k_lo"], rows["k_hi"] = units.convert_k_ends(rows)
            rows["k"] = units.convert_k(rows["k"], rows["alpha"])
            rows[["alpha_lo", "alpha_hi"]] = rows[["alpha_lo", "alpha_hi"]].clip(0.0, MAX_ALPHA)
        del points["correlation"]
        segments[list(NET_SPEED)] *= units.scale / units.dt
        segments[list(RADIUS)] *= units.scale
        sample = self.sample
        if sample and "components" in sample:
            sample = sample | {"components": _convert_components(sample["components"], units)}
        return Results(points, segments[SEGMENT_COLUMNS], self.tracks, sample)


def _convert_components(components: list[dict], units) -> list[dict]:
    """Components of a sample, as `describe_components` gives them, in `units`, with msd_1; dwells are in frames."""
    rows = pd.DataFrame(components)
    converted = {f"msd_1{end}": units.msd_1(rows[f"k{end}"]) for end in ("", "_lo", "_hi")}
    converted |= dict(zip(("k_lo", "k_hi"), units.convert_k_ends(rows), strict=True))
    converted["k"] = units.convert_k(rows["k"], rows["alpha"])
    converted |= {name: rows[name].clip(0.0, MAX_ALPHA) for name in ("alpha_lo", "alpha_hi")}
    return [c | new for c, new in zip(components, pd.DataFrame(converted).to_dict("records"), strict=True)]


def points_and_segments(table, analysed, predictions, segmented) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of points and of segments of the analysed pieces, K in position unit^2/frame^alpha.

    Parameters
    ----------
    table : pandas.DataFrame
        Track table.
    analysed : pandas.DataFrame
        The analysed pieces, as returned by `main.tracks.pieces.cut_pieces`.
    predictions : list of Prediction
        One for each piece, for every frame that it covers.
    segmented : list of list of Segment
        Segments of each piece, with intervals.

    Returns
    -------
    points, segments : pandas.DataFrame
        One row for each point, and for each segment with at least one point. Missing frames get no row. Ends of alpha
        are not cut at 0 and 2; correlation is that of the errors of log10 K and alpha. `Results.in_units` needs both.
    """
    n_points, n_span = analysed["n_points"].to_numpy(), analysed["n_span"].to_numpy()
    rows = np.repeat(analysed["first"].to_numpy() - np.cumsum(n_points) + n_points, n_points)
    points = table[["track_id", "frame", "x", "y"]].iloc[rows + np.arange(n_points.sum())]
    points = points.reset_index(drop=True)
    start = np.repeat(np.cumsum(n_span) - n_span, n_points)  # first frame of the point's piece among all frames
    first_frame = np.repeat(table["frame"].to_numpy()[analysed["first"]], n_points)
    observed = start + points["frame"].to_numpy() - first_frame
    frames = _stack(predictions, observed)
    state = frames["state_probs"].argmax(axis=1)
    moving = state != TRAPPED
    points["k"] = np.where(moving, 10.0 ** frames["log10_k"], 0.0)
    points["alpha"] = np.where(moving, frames["alpha"], 0.0)
    points["state"] = state.astype(np.int8)
    points[list(PROBABILITIES)] = frames["state_probs"].astype(np.float32)
    points["p_change"] = frames["p_change"].astype(np.float32)
    segments = _segments(points, observed, segmented)
    ends = (10.0 ** frames["log10_k_lo"], 10.0 ** frames["log10_k_hi"], frames["alpha_lo"], frames["alpha_hi"])
    for name, end in zip(INTERVALS, ends, strict=True):  # lower ends of trapped frames are 0; NaN stays NaN
        points[name] = np.where(moving, end, 0.0 * end) if name.endswith("lo") else end
    points["correlation"] = frames["correlation"]
    return points, segments


def _stack(predictions, observed) -> dict[str, np.ndarray]:
    """Predictions at the N observed frames of all pieces, one after the other: (N,), state_probs (N, 4)."""
    empty = {"state_probs": np.zeros((0, len(PROBABILITIES)))}
    return {
        name: np.concatenate([empty.get(name, np.zeros(0)), *(getattr(p, name) for p in predictions)])[observed]
        for name in FRAME_VALUES
    }


def _segments(points, observed, segmented) -> pd.DataFrame:
    """Table of segments; adds segment_id to `points`. A segment of missing frames only is left out."""
    floats = ("k", "alpha", *INTERVALS, "correlation", "p_change_start", "change_width")
    rows = [
        (piece, s.n_frames, s.state, *(getattr(s, name) for name in floats))
        for piece, segments in enumerate(segmented)
        for s in segments
    ]
    segments = pd.DataFrame(rows, columns=["piece", "length", "state", *floats])
    of_frame = np.repeat(np.arange(len(segments)), segments["length"].to_numpy(dtype=np.int64))
    present, first, of_point, n_frames = np.unique(
        of_frame[observed], return_index=True, return_inverse=True, return_counts=True
    )
    segments = segments.iloc[present].reset_index(drop=True)
    segments["track_id"] = points["track_id"].to_numpy()[first]
    segments["segment_id"] = segments.groupby("track_id").cumcount().astype(np.int32)
    segments["frame_start"] = points["frame"].to_numpy()[first]
    segments["frame_end"] = points["frame"].to_numpy()[first + n_frames - 1]
    segments["n_frames"] = n_frames.astype(np.int32)
    segments["state"] = segments["state"].astype(np.int8)
    segments[list(floats)] = segments[list(floats)].astype(np.float64)
    segments["left_censored"] = segments["piece"] != segments["piece"].shift(1)
    segments["right_censored"] = segments["piece"] != segments["piece"].shift(-1)
    points["segment_id"] = segments["segment_id"].to_numpy()[of_point]
    return segments


def add_motion(points: pd.DataFrame, segments: pd.DataFrame, sigmas: pd.Series) -> pd.DataFrame:
    """Add the net speed and the radius of confinement, measured from the points of each segment.

    Parameters
    ----------
    points, segments : pandas.DataFrame
        As returned by `points_and_segments`.
    sigmas : pandas.Series
        Localisation error of each track, unit of x; NaN where it is unknown.

    Returns
    -------
    pandas.DataFrame
        `segments` with the columns of `NET_SPEED` (unit of x per frame) and `RADIUS` (unit of x), of which the ends of
        90 % intervals are `_lo` and `_hi`. Trapped segments have no radius.
    """
    n_points = segments["n_frames"].to_numpy(dtype=np.int64)
    rows = points["frame"].to_numpy(), points[["x", "y"]].to_numpy(), np.cumsum(n_points) - n_points, n_points
    columns = np.zeros((len(NET_SPEED) + len(RADIUS), 0))
    if len(segments):
        radii = confinement_radii(*rows, sigmas[segments["track_id"]].to_numpy(dtype=float))
        columns = np.concatenate([net_speeds(*rows), np.where(segments["state"] == TRAPPED, np.nan, radii)])
    return segments.assign(**dict(zip((*NET_SPEED, *RADIUS), columns, strict=True)))


def track_rows(tracks, pieces, points, segments, sigmas, config, exposure=0.0, unclear=()) -> pd.DataFrame:
    """Table of tracks: one row for every track of the file, with the names of its warnings joined by semicolons.

    Parameters
    ----------
    tracks : Tracks
    pieces : pandas.DataFrame
        As returned by `main.tracks.pieces.cut_pieces`.
    points, segments : pandas.DataFrame
        As returned by `points_and_segments`.
    sigmas : pandas.Series
        Localisation error of each track, unit of x; NaN where it is unknown.
    config : dict
        Configuration of the weights; "training_range" holds the fewest and the most frames of a track.
    exposure : float
        Share of the frame interval during which the shutter is open.
    unclear : sequence
        Identifiers of tracks that `main.tracks.inference.immobile.decide_immobile` found unclear.

    Returns
    -------
    pandas.DataFrame
        track_id, n_frames, n_gaps, n_segments, warnings, d_cve (result units), localization_error (unit of x). d_cve is
        the classical D: (<dx^2>/2 - sigma^2) / (1 - exposure / 3) where the localisation error is known, else the
        covariance-based estimator of Vestergaard et al. (2014). Both are unbiased, so D can be negative on short noisy
        tracks.
    """
    by_track = pieces.groupby("track_id")
    n_analysed, n_pieces = by_track["analysed"].sum(), by_track.size()
    n_points, n_span = by_track["n_points"].sum(), by_track["n_span"].sum()
    lengths = pieces[pieces["analysed"]].groupby("track_id")["n_span"].agg(["min", "max"]).reindex(n_points.index)
    fewest, most = config.get("training_range", {}).get("n_frames", [2, np.inf])
    # Localisation error alone makes <dx^2> = 2 sigma^2; tracks of 20 points fall below half of it once in 1,000.
    small_steps = sigmas**2 > steps_by_track(tracks.table)["square"]
    slow = (points["alpha"] < NOISE_ALPHA) & (points["state"] != TRAPPED)
    noisy = slow.groupby(points["track_id"]).mean()
    index = n_points.index
    warnings = {
        "too_short": n_analysed == 0,
        "partly_analysed": (n_analysed > 0) & (n_analysed < n_pieces),
        "outside_training_range": (lengths["min"] < fewest) | (lengths["max"] > most),
        "error_above_steps": small_steps & (n_analysed > 0),
        "outlier_point": _any_of_track(tracks.table, "skipped"),
        "jump": _any_of_track(tracks.table, "jump"),
        "many_gaps": (n_span - n_points) > MANY_GAPS * n_span,
        "noise_dominated": (noisy.reindex(index) > 0.5) & sigmas.isna(),
        "immobile_or_moving_unclear": pd.Series(index.isin(unclear), index),
    }
    named = [np.where(holds.reindex(index).fillna(False), name, "") for name, holds in warnings.items()]
    rows = pd.DataFrame(
        {
            "n_frames": n_points.astype(np.int32),
            "n_gaps": tracks.gaps().astype(np.int32),
            "n_segments": segments.groupby("track_id").size().reindex(index, fill_value=0).astype(np.int32),
            "warnings": [";".join(filter(None, names)) for names in zip(*named, strict=True)],
            "d_cve": tracks.units.convert_d(cve_by_track(tracks.table, sigmas, exposure / 6)),
            "localization_error": sigmas,
        },
        index=index,
    )
    return rows.reset_index()


def _any_of_track(table, column) -> pd.Series:
    """Whether an optional column of bool is true for any point of each track, index track_id."""
    values = table[column] if column in table else pd.Series(False, table.index)
    return values.groupby(table["track_id"]).any()
