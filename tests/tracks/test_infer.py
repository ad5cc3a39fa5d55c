"""infer.py from files to tables: contract, units, gaps, warnings, real files; tiny random networks."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from helpers import REAL, ROOT, random_options, run, walk

from main import infer
from main.models import build
from main.tracks.analysis import analyse_tracks
from main.tracks.inference.predictor import Predictor
from main.tracks.pieces import bridge, cut_pieces, every_frame
from main.tracks.pipeline import infer_files
from main.tracks.reading.formats import read_tracks
from main.tracks.results.record import Tally
from main.tracks.results.tables import NET_SPEED, RADIUS
from main.utils.weights import WEIGHTS_DIR, save_weights

POINTS = [
    "track_id",
    "frame",
    "x",
    "y",
    "k",
    "alpha",
    "state",
    "p_trapped",
    "p_confined",
    "p_free",
    "p_directed",
    "p_change",
    "segment_id",
    "k_lo",
    "k_hi",
    "alpha_lo",
    "alpha_hi",
    "msd_1",
    "msd_1_lo",
    "msd_1_hi",
]
SEGMENTS = [
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
    "k_lo",
    "k_hi",
    "alpha_lo",
    "alpha_hi",
    "p_change_start",
    "change_width",
    "net_speed",
    "net_speed_lo",
    "net_speed_hi",
    "confinement_radius",
    "confinement_radius_lo",
    "confinement_radius_hi",
]
TRACKS = ["track_id", "n_frames", "n_gaps", "n_segments", "warnings"]
OPTIONS = {
    "format": "auto",
    "pixel_size": None,
    "frame_interval": None,
    "localization_error": None,
    "exposure": 0.0,
    "correct_drift": False,
    "columns": None,
    "decimal": None,
    "weights": "default",
    "adapt": "none",
    "min_length": 20,
    "device": "cuda" if torch.cuda.is_available() else "cpu",
    "scheduler": None,
    "andi": False,
    "csv": False,
}
needs_real = pytest.mark.skipif(not REAL.exists(), reason="no real files in ../shared/data")
needs_weights = pytest.mark.skipif(not (WEIGHTS_DIR / "default" / "config.json").exists(), reason="no shipped weights")


def list_warnings(tracks):
    """Warnings of each track but the one that the random segments of untrained networks bring."""
    return tracks["warnings"].str.replace(";?immobile_or_moving_unclear", "", regex=True).tolist()


def read(out, name):
    return pd.read_parquet(out / f"{name}.parquet")


def test_contract(walks, weights, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(walks, out, weights, "--csv") == 0
    points, segments, tracks = (read(out, name) for name in ("points", "segments", "tracks"))
    assert list(points) == POINTS and list(segments) == SEGMENTS and list(tracks)[:5] == TRACKS
    assert len(tracks) == 7 and len(points) == 20 + 57 + 450
    assert list_warnings(tracks) == ["too_short"] * 4 + [""] * 2 + ["outside_training_range"]
    assert tracks["d_cve"].notna().tolist() == [False, False] + [True] * 5
    n_segments = segments.groupby("track_id").size().reindex(tracks["track_id"], fill_value=0)
    assert tracks["n_segments"].tolist() == n_segments.tolist()
    assert segments["n_frames"].sum() == len(points)
    assert (segments["frame_end"] - segments["frame_start"] + 1 == segments["n_frames"]).all()
    assert points.groupby(["track_id", "segment_id"]).size().tolist() == segments["n_frames"].tolist()
    assert np.allclose(points[["p_trapped", "p_confined", "p_free", "p_directed"]].sum(axis=1), 1, atol=1e-5)
    assert segments.groupby("track_id")["left_censored"].sum().eq(1).all()
    assert segments.groupby("track_id")["right_censored"].sum().eq(1).all()
    assert np.allclose(segments["msd_1"], 4 * segments["k"])
    units = json.loads(pq.read_schema(out / "segments.parquet").metadata[b"units"])
    assert units["k"] == units["k_lo"] == units["k_hi"] == "px^2/frame^alpha"
    assert len(pd.read_csv(out / "segments.csv")) == len(segments)
    record = json.loads((out / "run.json").read_text())
    assert record["options"] == OPTIONS | {"weights": str(weights), "csv": True}
    assert len(record["inputs"][0]["sha256"]) == 64 and set(record["weights"]) == {"k", "alpha", "state"}
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 1 and "Read 7 tracks" in lines[0] and "4 tracks below 20" in lines[0]
    assert not list(out.glob("*.part"))


def test_units_scale_k_and_nothing_else(walks, weights, tmp_path):
    infer_files(walks, tmp_path / "px", weights=weights)
    infer_files(walks, tmp_path / "um", weights=weights, pixel_size=0.16, frame_interval=0.00748)
    px, um = read(tmp_path / "px", "segments"), read(tmp_path / "um", "segments")
    assert np.allclose(um["k"], px["k"] * 0.16**2 / 0.00748 ** px["alpha"], rtol=1e-9)
    assert np.allclose(um["msd_1"], 4 * um["k"] * 0.00748 ** um["alpha"])
    physical = ["k", "k_lo", "k_hi", "msd_1", "msd_1_lo", "msd_1_hi", *NET_SPEED, *RADIUS]
    pd.testing.assert_frame_equal(um.drop(columns=physical), px.drop(columns=physical))
    assert np.allclose(um[list(NET_SPEED)], px[list(NET_SPEED)] * 0.16 / 0.00748, equal_nan=True)
    assert np.allclose(um[list(RADIUS)], px[list(RADIUS)] * 0.16, equal_nan=True)
    d_px, d_um = read(tmp_path / "px", "tracks")["d_cve"], read(tmp_path / "um", "tracks")["d_cve"]
    assert np.allclose(d_um, d_px * 0.16**2 / 0.00748, equal_nan=True)


@pytest.fixture(scope="module")
def intervals(tmp_path_factory):
    """Weights with interval heads, calibrated to twice their widths of K in segments, and without calibration."""
    folder = tmp_path_factory.mktemp("intervals")
    options = {name: o | {"intervals": True} for name, o in random_options().items()}
    nets = {name: build(o) for name, o in options.items()}
    sides = {
        f"{name}_{end}": {"alpha": [factor], "width": [1.0]}
        for name, factor in (("k", 2.0), ("alpha", 0.2))
        for end in ("lo", "hi")
    }
    factors = {"at": {"alpha": [1.0], "width": [0.0]}, "correlation": [0.5]} | sides
    config = {"features": "default", "nets": options, "segmentation": {"penalty": 0.05}}
    save_weights(folder / "plain", nets, config)
    calibration = {"segments": {"known": factors, "unknown": factors}, "frames": {}, "temperature": 1.0}
    save_weights(folder / "calibrated", nets, config | {"calibration": calibration})
    return folder


def test_intervals_hold_the_values_and_start_at_0_where_trapped(walks, intervals, tmp_path):
    infer_files(walks, tmp_path / "out", weights=intervals / "plain", pixel_size=0.16, frame_interval=0.5)
    for name in ("points", "segments"):
        table = read(tmp_path / "out", name)
        trapped = table["state"] == 0
        assert 0 < trapped.sum() < len(table)
        for value in ("k", "alpha"):
            low, high = table[f"{value}_lo"], table[f"{value}_hi"]
            assert (low <= table[value]).all() and (table[value] < high).all()
            assert (low[trapped] == 0).all() and (low[~trapped] > 0).all()
        assert (table["alpha_hi"] <= 2).all()


def test_intervals_are_calibrated_and_carry_alpha_into_other_units(walks, intervals, tmp_path):
    infer_files(walks, tmp_path / "plain", weights=intervals / "plain")
    infer_files(walks, tmp_path / "twice", weights=intervals / "calibrated")
    infer_files(walks, tmp_path / "um", weights=intervals / "calibrated", pixel_size=0.16, frame_interval=0.5)
    plain, twice, um = (read(tmp_path / name, "segments") for name in ("plain", "twice", "um"))
    moving = plain["state"] > 0
    ratio = np.log(twice["k"] / twice["k_lo"]) / np.log(plain["k"] / plain["k_lo"])
    assert moving.any() and np.allclose(ratio[moving], 2)
    for end in ("", "_lo", "_hi"):
        assert np.allclose(um[f"msd_1{end}"], 4 * twice[f"k{end}"] * 0.16**2)
    within = moving & (twice["alpha_hi"] < 2)
    width, of_alpha = np.log10(twice["k_hi"] / twice["k"]), np.log10(2) * (twice["alpha_hi"] - twice["alpha"])
    expected = np.sqrt(width**2 + of_alpha**2 + width * of_alpha)
    assert within.any() and np.allclose(np.log10(um["k_hi"] / um["k"])[within], expected[within])
    assert (um["k_lo"] < um["k"])[moving].all() and (um["k_lo"] == 0)[~moving].all()


def test_networks_without_interval_heads_give_nan(walks, weights, tmp_path):
    infer_files(walks, tmp_path / "out", weights=weights)
    for name in ("points", "segments"):
        assert read(tmp_path / "out", name)[["k_lo", "k_hi", "alpha_lo", "alpha_hi"]].isna().all(axis=None)


def test_scale_equivariant_with_known_noise(tmp_path, weights):
    table = walk(np.random.default_rng(1), 80)
    table.to_csv(tmp_path / "a.csv", index=False)
    table.assign(x=table["x"] * 1e-3, y=table["y"] * 1e-3).to_csv(tmp_path / "b.csv", index=False)
    infer_files(tmp_path / "a.csv", tmp_path / "a", weights=weights, localization_error=0.3)
    infer_files(tmp_path / "b.csv", tmp_path / "b", weights=weights, localization_error=0.3e-3)
    a, b = read(tmp_path / "a", "points"), read(tmp_path / "b", "points")
    assert np.allclose(b["k"], a["k"] * 1e-6, rtol=1e-3)
    assert np.allclose(b["alpha"], a["alpha"], atol=1e-4)


def test_a_known_localization_error_is_taken_off_d(walks, weights, tmp_path):
    run(walks, tmp_path / "unknown", weights)
    run(walks, tmp_path / "known", weights, "--localization-error", "0.5", "--pixel-size", "0.16")
    table = pd.read_csv(walks)
    square = np.array(
        [(rows[["x", "y"]].diff() ** 2).to_numpy()[1:].mean() for _, rows in table.groupby("track_id") if len(rows) > 1]
    )
    known, unknown = (read(tmp_path / name, "tracks")["d_cve"].to_numpy() for name in ("known", "unknown"))
    assert np.allclose(known[1:], (square / 2 - 0.25) * 0.16**2) and np.isnan(known[0])
    assert not np.allclose(known[2:], unknown[2:] * 0.16**2)


def test_a_column_sigma_is_named_on_stderr(tmp_path, weights, capsys):
    path = tmp_path / "psf.csv"
    walk(np.random.default_rng(8), 30).assign(sigma=1.3).to_csv(path, index=False)
    assert run(path, tmp_path / "a", weights) == 0
    assert capsys.readouterr().err.count("column 'sigma' is not used") == 1
    assert any("'sigma'" in text for text in json.loads((tmp_path / "a" / "run.json").read_text())["warnings"])
    assert run(path, tmp_path / "b", weights, "--localization-error", "0.1") == 0
    assert "'sigma'" not in capsys.readouterr().err


def test_several_files(walks, weights, tmp_path):
    other = tmp_path / "other.csv"
    walk(np.random.default_rng(2), 30, track=9).to_csv(other, index=False)
    assert run([walks, other], tmp_path / "out", weights) == 0
    for name in ("points", "segments", "tracks"):
        table = read(tmp_path / "out", name)
        assert set(table["file"]) == {str(walks), str(other)}
        assert (table.loc[table["file"] == str(other), "source_track"] == 9).all()
        assert (table.loc[table["file"] == str(other), "track_id"] == 7).all()
    tracks = read(tmp_path / "out", "tracks")
    assert tracks["track_id"].is_unique


def test_gaps(tmp_path, weights):
    table = walk(np.random.default_rng(3), 100)
    kept = ~table["frame"].isin([3, 4, 5, *range(40, 44), 70])  # bridged, cut, bridged
    path = tmp_path / "gaps.csv"
    table[kept].to_csv(path, index=False)
    assert run(path, tmp_path / "out", weights) == 0
    points, segments, tracks = (read(tmp_path / "out", name) for name in ("points", "segments", "tracks"))
    assert points["frame"].tolist() == table.loc[kept, "frame"].tolist()
    assert tracks["n_gaps"].tolist() == [3] and list_warnings(tracks) == [""]
    assert segments["left_censored"].sum() == segments["right_censored"].sum() == 2
    assert segments.loc[segments["left_censored"], "frame_start"].tolist() == [0, 44]
    assert segments["segment_id"].tolist() == list(range(len(segments)))


def test_many_gaps_and_partly_analysed(tmp_path, weights):
    table = walk(np.random.default_rng(4), 100)
    holes = table[(table["frame"] % 5 != 2) & ~table["frame"].between(60, 80) & (table["frame"] < 90)]
    path = tmp_path / "gaps.csv"
    holes.to_csv(path, index=False)
    assert run(path, tmp_path / "out", weights) == 0
    assert list_warnings(read(tmp_path / "out", "tracks")) == ["partly_analysed;many_gaps"]
    assert read(tmp_path / "out", "points")["frame"].max() < 60


def test_bridge_and_pieces():
    xy = np.array([[0.0, 0.0], [4.0, 8.0]])
    spread = every_frame(xy, np.array([10, 14]))
    assert np.isnan(spread).sum(axis=1).tolist() == [0, 2, 2, 2, 0]
    bridged, seen = bridge(spread)
    assert bridged.tolist() == [[0, 0], [1, 2], [2, 4], [3, 6], [4, 8]]
    assert seen.tolist() == [True, False, False, False, True]
    table = pd.DataFrame({"track_id": [1, 1, 1, 2], "frame": [0, 4, 9, 10], "x": 0.0, "y": 0.0})
    pieces = cut_pieces(table, 2)
    assert pieces["n_points"].tolist() == [2, 1, 1] and pieces["n_span"].tolist() == [5, 1, 1]
    assert pieces["analysed"].tolist() == [True, False, False]


class Constant(torch.nn.Module):
    """A network that gives every frame the same alpha and state."""

    def __init__(self, alpha=0.05, state=2):
        super().__init__()
        self.alpha, self.state = alpha, state

    def forward(self, feats, length, *sample):
        shape = feats.shape[:2]
        logits = torch.nn.functional.one_hot(torch.full(shape, self.state), 4) * 20.0
        return {"k": torch.zeros(shape), "alpha": torch.full(shape, self.alpha), "state": logits}


def analyse_with(network, path, sigma=None):
    """Results of a file by one network for K, alpha and state."""
    return analyse_tracks(read_tracks(path), Predictor({"all": network}, {}), {}, sigma=sigma)


def test_trapped_is_zero(walks):
    results = analyse_with(Constant(state=0), walks)
    for table in (results.points, results.segments):
        assert (table[["k", "alpha", "state"]] == 0).all(axis=None) and len(table)


def test_noise_dominated_only_while_noise_is_unknown(walks):
    unknown = analyse_with(Constant(alpha=0.05), walks).tracks["warnings"]
    known = analyse_with(Constant(alpha=0.05), walks, sigma=0.1).tracks["warnings"]
    assert (unknown == "noise_dominated").sum() == 3
    assert not known.str.contains("noise_dominated").any()


def test_noise_dominated_tracks_give_a_warning():
    assert Tally().list_warnings([], None) == []
    (warning,) = Tally(warnings=Counter(noise_dominated=3)).list_warnings([], None)
    assert warning.startswith("3 tracks are noise_dominated") and "--localization-error" in warning


def test_outside_training_range(walks, weights, tmp_path):
    assert run(walks, tmp_path / "out", weights, "--min-length", "5") == 0
    warnings = read(tmp_path / "out", "tracks")["warnings"].tolist()
    assert warnings[:3] == ["too_short"] * 3
    assert ["outside_training_range" in names for names in warnings[3:]] == [True, False, False, True]


def test_an_error_above_the_steps_has_a_warning_of_its_own(walks, weights, tmp_path):
    done = infer_files(walks, tmp_path / "out", weights=weights, localization_error=160.0)
    counts = {"too_short": 4, "error_above_steps": 3, "outside_training_range": 1, "immobile_or_moving_unclear": 3}
    assert done.record["counts"]["warnings"] == counts


def test_all_tracks_too_short(tmp_path, weights):
    path = tmp_path / "short.csv"
    walk(np.random.default_rng(5), 4).to_csv(path, index=False)
    assert run(path, tmp_path / "out", weights, "--andi") == 0
    assert list(read(tmp_path / "out", "points")) == POINTS and len(read(tmp_path / "out", "segments")) == 0
    line = (tmp_path / "out/track_2/exp_0/fov_0.txt").read_text().strip().split(",")
    assert line[0] == "0" and line[2:] == ["1", "2", "4"] and float(line[1]) > 0


def test_immobile_and_long_tracks(tmp_path, intervals):
    path = tmp_path / "edge.csv"
    still = walk(np.random.default_rng(6), 50).assign(x=1.0, y=2.0)
    pd.concat([still, walk(np.random.default_rng(7), 10_000, track=1)]).to_csv(path, index=False)
    assert run(path, tmp_path / "out", intervals / "calibrated") == 0
    points = read(tmp_path / "out", "points")
    assert len(points) == 10_050 and np.isfinite(points.to_numpy(dtype=float)).all()


def test_command_line(tmp_path, walks, weights):
    command = [sys.executable, infer.__file__, walks, "--out", tmp_path / "out", "--weights", weights]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Read 7 tracks") and len(done.stdout.strip().splitlines()) == 1


@needs_real
def test_real_files(tmp_path, weights):
    saspt = [REAL / f"saspt_u2os_ht_nls_region_{i}.csv" for i in (0, 1)]
    done = infer_files(saspt, tmp_path / "saspt", weights=weights, pixel_size=0.16, frame_interval=0.00748)
    assert len(done.results.tracks) == 2387 + 3294
    assert (done.results.tracks["n_segments"] > 0).sum() == 16
    assert done.results.tracks["localization_error"].between(0.05, 1).mean() > 0.95
    challenge = sorted(REAL.glob("andi2_challenge/exp_*/trajs_fov_0.csv"))
    done = infer_files(challenge, tmp_path / "andi", weights=weights, andi=True)
    assert done.record["units"]["k"] == "px^2/frame^alpha"
    for file in done.files:
        text = tmp_path / "andi" / "track_2" / file.path.parent.name / "fov_0.txt"
        ids = [float(line.split(",")[0]) for line in text.read_text().splitlines()]
        assert ids == sorted(file.track_ids)


def same_tracks(xml, spots):
    """Pairs of track ids that hold the same detections, the CSV being rounded to 3 decimals."""

    def keys(table):
        rounded = table.assign(x=table["x"].round(3), y=table["y"].round(3))
        return {
            tuple(map(tuple, rows[["frame", "x", "y"]].to_numpy())): track
            for track, rows in rounded.groupby("track_id")
        }

    a, b = keys(xml), keys(spots)
    return [(a[key], b[key]) for key in a.keys() & b.keys()]


@needs_real
@needs_weights
def test_trackmate_xml_and_csv_agree(tmp_path):
    xml = infer_files(REAL / "trackmate_example.xml", tmp_path / "xml", min_length=5)
    spots = infer_files(REAL / "trackmate_example.csv", tmp_path / "csv", min_length=5, frame_interval=0.06)
    assert "declares 521 tracks" in xml.record["warnings"][0]
    assert xml.record["units"] == spots.record["units"]
    pairs = same_tracks(xml.files[0].tracks().table, spots.files[0].tracks().table)
    first = [done.results.segments.drop_duplicates("track_id").set_index("track_id")["k"] for done in (xml, spots)]
    k = np.array([(first[0][a], first[1][b]) for a, b in pairs if a in first[0] and b in first[1]])
    assert len(k) > 20
    difference = np.abs(k[:, 0] - k[:, 1]) / np.maximum(k.max(axis=1), 1e-12)  # both trapped: 0
    assert np.median(difference) < 0.02
    assert (difference < 0.05).mean() >= 0.9


@needs_weights
def test_adapt_reads_a_file_as_one_sample_and_says_so(tmp_path):
    tracks = ROOT / "samples" / "tracks.csv"
    together = infer_files(tracks, tmp_path / "together", adapt="sample", localization_error=0.12)
    sample = together.record["samples"][0]
    assert sample["networks"] and together.record["options"]["weights"] == "sample"
    assert "samples" not in infer_files(tracks, tmp_path / "alone").record
    few = pd.read_csv(tracks)
    few[few["track_id"] < few["track_id"].unique()[5]].to_csv(tmp_path / "few.csv", index=False)
    run = infer_files(tmp_path / "few.csv", tmp_path / "few", adapt="sample")
    assert not run.record["samples"][0]["networks"] and not run.record["samples"][0]["mixture"]
    assert any("5 tracks are fewer than" in warning for warning in run.record["warnings"])
