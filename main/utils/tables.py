"""From tracks and predictions to the result tables: points, segments and tracks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from main.utils.calibration import INTERVALS, intervals_of_tracks
from main.utils.changepoints import segment_many
from main.utils.estimators import cve_by_track, steps_by_track
from main.utils.gaps import every_frame
from main.utils.segments import TRAPPED
from main.utils.tracks import Tracks

MAX_BRIDGED = 3  # missing frames in a row filled by a straight line; a longer gap cuts the track
MANY_GAPS = 0.1  # share of bridged frames above which a track is flagged
NOISE_ALPHA = 0.2  # below it, noise and subdiffusion cannot be told apart while sigma is unknown
PROBABILITIES = ("p_trapped", "p_confined", "p_free", "p_directed")
FRAME_VALUES = ("log10_k", "log10_k_lo", "log10_k_hi", "alpha", "alpha_lo", "alpha_hi", "state_probs", "p_change")
SEGMENT_COLUMNS = [
    "track_id",
    "segment_id",
    "frame_start",
    "frame_end",
    "n_frames",
    "k",
    "alpha",
    "msd_1",
    "state",
    "left_censored",
    "right_censored",
    *INTERVALS,
    "p_change_start",
    "change_width",
]


@dataclass
class Results:
    """Result tables of one file, in the units of `units`.

    Parameters
    ----------
    points, segments, tracks : pandas.DataFrame
        Columns as the README lists them.
    sample : dict, optional
        What read the tracks together, and why, see `main.utils.adapt.read_sample`.
    """

    points: pd.DataFrame
    segments: pd.DataFrame
    tracks: pd.DataFrame
    sample: dict | None = None


def cut_pieces(table: pd.DataFrame, min_length: int, max_bridged: int = MAX_BRIDGED) -> pd.DataFrame:
    """Pieces of tracks between gaps too long to bridge.

    Parameters
    ----------
    table : pandas.DataFrame
        Track table, sorted by (track_id, frame).
    min_length : int
        Points that a piece needs to be analysed.
    max_bridged : int
        Frames missing in a row that do not cut a track.

    Returns
    -------
    pandas.DataFrame
        One row a piece: track_id, first and last (row of the table, last exclusive), n_points, n_span
        (frames it covers), analysed.
    """
    track, frame = table["track_id"].to_numpy(), table["frame"].to_numpy()
    cut = (np.diff(track) != 0) | (np.diff(frame) > max_bridged + 1)
    first = np.concatenate([[0], np.flatnonzero(cut) + 1])[: len(table)]
    last = np.append(first, len(table))[1:]
    pieces = pd.DataFrame(
        {
            "track_id": track[first],
            "first": first,
            "last": last,
            "n_points": last - first,
            "n_span": frame[last - 1] - frame[first] + 1,
        }
    )
    pieces["analysed"] = pieces["n_points"] >= max(min_length, 2)
    return pieces


def track_sigma(tracks: Tracks, sigma: float | None) -> pd.Series:
    """Localisation error of each track: the given one, else the median of its points' own, else NaN."""
    ids = tracks.table["track_id"]
    if sigma is not None:
        return pd.Series(float(sigma), index=pd.Index(ids.unique(), name="track_id"))
    points = tracks.table["sigma"] if "sigma" in tracks.table else pd.Series(np.nan, tracks.table.index)
    return points.groupby(ids).median()


def tabulate(tracks: Tracks, predictor, config, min_length=20, sigma=None, progress=False, adapt=False) -> Results:
    """Predict, segment and tabulate every track of one file.

    Parameters
    ----------
    tracks : Tracks
    predictor : main.utils.inference.Predictor
    config : dict
        The weights' configuration (segmentation options, training range).
    min_length : int
        Tracks with fewer points, and pieces between long gaps, get no segments.
    sigma : float, optional
        Localisation error, unit of x; by default the file's own, where it has one.
    progress : bool
        Show a progress bar.
    adapt : bool
        Read all tracks together, as one sample.

    Returns
    -------
    Results
        K, D and MSD in the units of `tracks.units`, the ends of K's interval converted with the row's alpha, as K is;
        x and y as in the file.
    """
    from main.utils.adapt import read_sample  # here: it brings torch, for which a refused file need not wait

    table, pieces = tracks.table, cut_pieces(tracks.table, min_length)
    frame, xy = table["frame"].to_numpy(), table[["x", "y"]].to_numpy()
    sigmas = track_sigma(tracks, sigma)
    analysed = pieces[pieces["analysed"]]
    rows = [slice(*ends) for ends in analysed[["first", "last"]].to_numpy()]
    paths = [every_frame(xy[row], frame[row]) for row in rows]
    errors = sigmas[analysed["track_id"]].to_numpy()
    if adapt:
        predictions, segmented, sample = read_sample(predictor, config, paths, errors, progress)
    else:
        predictions, sample = predictor.predict(paths, errors, progress), None
        segmented = segment_many(predictions, config)
    segmented = intervals_of_tracks(predictions, segmented, config.get("calibration", {}))
    points, segments = _points_and_segments(table, analysed, predictions, segmented)
    track_rows = _track_rows(tracks, pieces, points, segments, sigmas, config)
    segments["msd_1"] = tracks.units.msd_1(segments["k"])
    for rows in (points, segments):
        for name in ("k", "k_lo", "k_hi"):
            rows[name] = tracks.units.convert_k(rows[name], rows["alpha"])
    for component in (sample or {}).get("components", []):
        component["k"] = float(tracks.units.convert_k(component["k"], component["alpha"]))
    return Results(points, segments[SEGMENT_COLUMNS], track_rows, sample)


def _points_and_segments(table, analysed, predictions, segmented) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Points of the analysed pieces and their segments, K in the file's units; bridged frames get no row."""
    n_points, n_span = analysed["n_points"].to_numpy(), analysed["n_span"].to_numpy()
    rows = np.repeat(analysed["first"].to_numpy() - np.cumsum(n_points) + n_points, n_points)
    points = table[["track_id", "frame", "x", "y"]].iloc[rows + np.arange(n_points.sum())]
    points = points.reset_index(drop=True)
    start = np.repeat(np.cumsum(n_span) - n_span, n_points)  # of each point's piece among all frames
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
    for name, end in zip(INTERVALS, ends, strict=True):  # of what is trapped they start at 0; NaN stays
        points[name] = np.where(moving, end, 0.0 * end) if name.endswith("lo") else end
    return points, segments


def _stack(predictions, observed) -> dict[str, np.ndarray]:
    """Frame-wise predictions of all pieces end to end, at the observed frames: (N,), state_probs (N, 4)."""
    empty = {"state_probs": np.zeros((0, len(PROBABILITIES)))}
    return {
        name: np.concatenate([empty.get(name, np.zeros(0)), *(getattr(p, name) for p in predictions)])[observed]
        for name in FRAME_VALUES
    }


def _segments(points, observed, segmented) -> pd.DataFrame:
    """Segment table in the file's units; adds segment_id to `points`. Segments of bridged frames alone go."""
    floats = ("k", "alpha", *INTERVALS, "p_change_start", "change_width")
    rows = [
        (piece, s["end"] - s["start"], s["state"], *(s.get(name, np.nan) for name in floats))
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


def _track_rows(tracks, pieces, points, segments, sigmas, config) -> pd.DataFrame:
    """One row for every input track, flags joined by semicolons.

    d_cve is the classical D: <dx^2>/2 - sigma^2 where the localisation error is known, else the CVE of Vestergaard
    et al. 2014. Both are unbiased, so D can come out negative on short noisy tracks.
    """
    by_track = pieces.groupby("track_id")
    n_analysed, n_pieces = by_track["analysed"].sum(), by_track.size()
    n_points, n_span = by_track["n_points"].sum(), by_track["n_span"].sum()
    shortest = pieces[pieces["analysed"]].groupby("track_id")["n_span"].min()
    fewest = config.get("training_range", {}).get("n_frames", [2])[0]
    impossible = sigmas**2 > steps_by_track(tracks.table)["square"]  # noise alone would make larger steps
    slow = (points["alpha"] < NOISE_ALPHA) & (points["state"] != TRAPPED)
    noisy = slow.groupby(points["track_id"]).mean()
    index = n_points.index
    flags = {
        "too_short": n_analysed == 0,
        "partly_analysed": (n_analysed > 0) & (n_analysed < n_pieces),
        "outside_training_range": (shortest.reindex(index) < fewest) | (impossible & (n_analysed > 0)),
        "many_gaps": (n_span - n_points) > MANY_GAPS * n_span,
        "noise_dominated": (noisy.reindex(index) > 0.5) & sigmas.isna(),
    }
    named = [np.where(flagged.reindex(index).fillna(False), name, "") for name, flagged in flags.items()]
    rows = pd.DataFrame(
        {
            "n_frames": n_points.astype(np.int32),
            "n_gaps": tracks.gaps().astype(np.int32),
            "n_segments": segments.groupby("track_id").size().reindex(index, fill_value=0).astype(np.int32),
            "flags": [";".join(filter(None, names)) for names in zip(*named, strict=True)],
            "d_cve": tracks.units.convert_d(cve_by_track(tracks.table, sigmas)),
            "localization_error": sigmas,
        },
        index=index,
    )
    return rows.reset_index()
