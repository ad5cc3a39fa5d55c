"""Made-up results of infer.py for the tests of reports: smooth values, segments of about 50 frames."""

import json

import numpy as np
import pandas as pd

UNITS = {"frame": "frame", "x": "px", "y": "px", "localization_error": "px", "msd_1": "um^2", "d_cve": "um^2/s"}
UNITS |= dict.fromkeys(("k", "k_lo", "k_hi"), "um^2/s^alpha") | dict.fromkeys(("msd_1_lo", "msd_1_hi"), "um^2")
INTERVAL = 0.02


def smooth(rng, n, spread):
    """Noise that changes slowly from frame to frame, as the values of networks do."""
    knots = rng.normal(0, spread, n // 8 + 2)
    return np.interp(np.arange(n), 8 * np.arange(len(knots)), knots)


def make_tables(n_tracks=12, lengths=(20, 120), seed=0):
    """Points, segments and tracks as infer.py writes them, and the run's record."""
    rng = np.random.default_rng(seed)
    n = rng.integers(*lengths, n_tracks)
    total, track = n.sum(), np.repeat(np.arange(n_tracks), n)
    frame = np.arange(total) - np.repeat(np.cumsum(n) - n, n)
    segment = frame // 50
    piece = np.unique(track * 1000 + segment, return_inverse=True)[1]
    state = np.array([0, 1, 2, 2, 2, 3])[rng.integers(0, 6, piece.max() + 1)][piece]
    log_k = rng.normal(-1, 0.7, piece.max() + 1)[piece] + smooth(rng, total, 0.1)
    alpha = np.clip(rng.uniform(0.3, 1.7, piece.max() + 1)[piece] + smooth(rng, total, 0.05), 0.01, 1.99)
    half, moving = 0.15 + 0.1 * np.abs(smooth(rng, total, 1)), state > 0
    sure = np.clip(0.8 + smooth(rng, total, 0.1), 0.4, 1)
    points = pd.DataFrame({"track_id": track, "frame": 10 + frame})
    steps = rng.normal(0, 1, (total, 2)) * np.sqrt(10**log_k)[:, None]
    for i, name in enumerate("xy"):
        walk = np.cumsum(steps[:, i])
        points[name] = walk - np.repeat(walk[np.cumsum(n) - n], n) + np.repeat(rng.uniform(0, 200, n_tracks), n)
    for name, value in (("k", log_k), ("k_lo", log_k - half), ("k_hi", log_k + half)):
        points[name] = np.where(moving | (name == "k_hi"), 10**value, 0.0)
    for name, value in (("alpha", alpha), ("alpha_lo", alpha - half), ("alpha_hi", alpha + half)):
        points[name] = np.where(moving | (name == "alpha_hi"), np.clip(value, 0, 2), 0.0)
    points["state"] = state.astype(np.int8)
    for i, name in enumerate(("trapped", "confined", "free", "directed")):
        points[f"p_{name}"] = np.where(state == i, sure, (1 - sure) / 3).astype(np.float32)
    points["p_change"], points["segment_id"] = np.float32(0.01), segment.astype(np.int32)
    return points, *segments_and_tracks(points), make_record(points, n_tracks)


def segments_and_tracks(points):
    """Segments and tracks tables that belong to a points table."""
    segments = (
        points.groupby(["track_id", "segment_id"])
        .agg(
            frame_start=("frame", "first"),
            frame_end=("frame", "last"),
            n_frames=("frame", "size"),
            state=("state", "first"),
            **{name: (name, "median") for name in ("k", "alpha", "k_lo", "k_hi", "alpha_lo", "alpha_hi")},
        )
        .reset_index()
    )
    segments["msd_1"] = 4 * segments["k"] * INTERVAL ** segments["alpha"] * (segments["k"] > 0)
    for end, factor in (("lo", 1 / 1.2), ("hi", 1.2)):
        segments[f"msd_1_{end}"] = factor * segments["msd_1"]
    segments["left_censored"] = segments["track_id"] != segments["track_id"].shift(1)
    segments["right_censored"] = segments["track_id"] != segments["track_id"].shift(-1)
    tracks = (
        points.groupby("track_id").agg(n_frames=("frame", "size"), n_segments=("segment_id", "nunique")).reset_index()
    )
    return segments, tracks.assign(n_gaps=0, warnings="", d_cve=0.1, localization_error=0.12)


def make_record(points, n_tracks):
    """Contents of run.json."""
    given = {
        "path": "data/a.csv",
        "sha256": "0" * 64,
        "format": "plain",
        "dropped": {},
        "position": "px",
        "um_per_unit": 0.1,
        "frame_interval_s": INTERVAL,
    }
    counts = {
        "files": 1,
        "tracks": n_tracks,
        "points": len(points),
        "gaps": 0,
        "analysed": n_tracks,
        "segments": int(points.groupby("track_id")["segment_id"].nunique().sum()),
        "dropped": {},
        "warnings": {},
    }
    return {
        "inputs": [given],
        "code_version": "0",
        "weights": {"k": "1" * 64},
        "options": {"weights": "no such"},
        "units": UNITS,
        "counts": counts,
        "warnings": [],
        "packages": {"python": "3"},
    }


def split_into(names, column, tables, record):
    """Tables with a column of these names, one after the other over the tracks."""
    tables = [t.assign(**{column: np.asarray(names)[t["track_id"] % len(names)]}) for t in tables]
    if column == "file":
        tables = [t.assign(source_track=t["track_id"] // len(names)) for t in tables]
        record = record | {"inputs": [record["inputs"][0] | {"path": name} for name in names]}
    return *tables, record


def write_results(folder, points, segments, tracks, record):
    """A results folder."""
    folder.mkdir(parents=True)
    for name, table in (("points", points), ("segments", segments), ("tracks", tracks)):
        table.to_parquet(folder / f"{name}.parquet")
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder
