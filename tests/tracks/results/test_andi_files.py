"""The challenge's text format, scored by the challenge's own scorer."""

import numpy as np
import pandas as pd
import pytest
from helpers import run, walk

from main.tracks.results.andi_files import estimate_short_track_ks
from main.tracks.table import Tracks, Units
from main.utils.estimators import cve_by_track


def test_andi_lines_are_read_by_the_official_scorer(tmp_path, weights):
    from andi_datasets.utils_challenge import load_file_to_df, run_single_task

    path = tmp_path / "exp_4" / "trajs_fov_2.csv"
    path.parent.mkdir()
    rng = np.random.default_rng(10)
    table = pd.concat([walk(rng, n, track=i) for i, n in enumerate((1, 2, 10, 60, 200))])
    table.rename(columns={"track_id": "traj_idx"}).astype(float).to_csv(path, index=False)
    assert run(path, tmp_path / "out", weights, "--andi") == 0
    lines = load_file_to_df(tmp_path / "out/track_2/exp_4/fov_2.txt")
    assert lines["traj_idx"].tolist() == [0, 1, 2, 3, 4]
    assert [cp[-1] for cp in lines["changepoints"]] == [1, 2, 10, 60, 200]
    segments = pd.read_parquet(tmp_path / "out" / "segments.parquet")
    for track in (3, 4):
        rows = segments[segments["track_id"] == track]
        row = lines[lines["traj_idx"] == track].iloc[0]
        assert list(row["changepoints"]) == [*rows["frame_start"].iloc[1:], rows["frame_end"].iloc[-1] + 1]
        assert np.allclose(row["Ds"], rows["k"], rtol=1e-6) and list(row["states"]) == rows["state"].tolist()
    truth = tmp_path / "ref" / "track_2" / "exp_4" / "traj_labs_fov_0.txt"
    truth.parent.mkdir(parents=True)
    written = tmp_path / "out/track_2/exp_4/fov_2.txt"
    truth.write_text(written.read_text())
    written.rename(written.with_name("fov_0.txt"))
    scores, _ = run_single_task([4], 2, str(tmp_path / "out"), str(tmp_path / "ref"))
    _, jaccard, mae_alpha, msle_k, f1 = scores
    assert (jaccard, f1) == (1, 1) and mae_alpha == pytest.approx(0) and msle_k == pytest.approx(0)


def test_andi_files_are_in_pixels_and_frames_whatever_the_units(tmp_path, weights):
    path = tmp_path / "walks.csv"
    rng = np.random.default_rng(11)
    pd.concat([walk(rng, n, track=i) for i, n in enumerate((2, 10, 60, 200))]).to_csv(path, index=False)
    assert run(path, tmp_path / "px", weights, "--andi") == 0
    assert run(path, tmp_path / "um", weights, "--andi", "--pixel-size", "0.1", "--frame-interval", "0.02") == 0
    px, um = ((tmp_path / out / "track_2/exp_0/fov_0.txt").read_text().splitlines() for out in ("px", "um"))
    for a, b in zip(px, um, strict=True):
        assert np.allclose([float(v) for v in a.split(",")], [float(v) for v in b.split(",")], rtol=1e-6)


def test_k_of_short_tracks_is_the_classical_d_or_a_quarter_of_the_mean_squared_step():
    """300 tracks of 1 to 5 points with gaps, each computed alone."""
    rng = np.random.default_rng(12)
    table = pd.concat([walk(rng, n, track=3 * i) for i, n in enumerate(rng.integers(1, 6, 300))], ignore_index=True)
    table["frame"] += np.cumsum(rng.integers(0, 2, len(table)))
    d_cve = cve_by_track(table)
    tracks = Tracks(table, Units("px", 0.1, 0.5), "", "")
    rows = pd.DataFrame({"track_id": d_cve.index, "d_cve": tracks.units.convert_d(d_cve.to_numpy())})
    expected = []
    for d, (_, track) in zip(d_cve, table.groupby("track_id"), strict=True):
        steps = track[["x", "y"]].diff().to_numpy()[1:] / np.sqrt(track["frame"].diff().to_numpy()[1:, None])
        expected.append(d if d > 0 else (steps**2).sum(axis=1).mean() / 4 if len(steps) else 0)
    assert np.allclose(estimate_short_track_ks(tracks, rows), expected) and (d_cve <= 0).sum() > 10
