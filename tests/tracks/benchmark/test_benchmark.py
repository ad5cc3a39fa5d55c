"""The format of submissions and the fast scorer, against the scorer of andi_datasets; the command."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from random_segments import jittered, random_segments

from main import benchmark
from main.tracks.benchmark import compute
from main.tracks.benchmark.data import generate, read_benchmark
from main.tracks.benchmark.scores import SCORES, fast_scores, official_scores, pair_segments, score_table
from main.tracks.evaluation.errors import frame_scores
from main.tracks.inference.segments import Segment
from main.tracks.results.andi_files import read_labels, write_submission
from simulations.parameters import FREE, SIGMA_PX


@pytest.fixture
def tracks():
    rng = np.random.default_rng(5)
    truths = [random_segments(rng, int(rng.integers(20, 200)), 6) for _ in range(120)]
    return truths, [jittered(rng, t) for t in truths]


def test_fast_scores_equal_official_scores(tracks):
    truths, preds = tracks
    official, fast = official_scores(truths, preds), fast_scores(truths, preds)
    assert 0.1 < official["jsc"] < 0.9 and official["mae_alpha"] > 0.05
    for name in SCORES:
        assert fast[name] == pytest.approx(official[name], abs=1e-12), name


def test_no_changepoints_at_all_scores_one():
    truth = [[Segment(start=0, end=30, k=1.0, alpha=1.0, state=2)]] * 3
    for scorer in (official_scores, fast_scores):
        assert scorer(truth, truth) == dict(jsc=1.0, rmse=0.0, mae_alpha=0.0, msle_k=0.0, f1=1.0)


def test_pairing_follows_overlap():
    truth = [Segment(0, e, 1.0, 1.0, FREE) for e in (10, 50, 100)]
    pred = [Segment(0, e, 1.0, 1.0, FREE) for e in (48, 100)]
    assert pair_segments(truth, pred) == [(1, 0), (2, 1)]


def test_submission_is_scored_by_andi_datasets(tmp_path, tracks):
    from andi_datasets.utils_challenge import run_single_task

    truths, preds = tracks
    truths, preds = truths[:24], preds[:24]
    index = pd.DataFrame(dict(exp=np.repeat([1, 2], 12), fov=np.tile([0, 1], 12)))
    index["traj_idx"] = index.groupby(["exp", "fov"]).cumcount()
    for name, segments in (("truth", truths), ("perfect", truths), ("noisy", preds)):
        write_submission(tmp_path / name, index, segments)
    for path in sorted((tmp_path / "truth").glob("track_2/*/fov_*.txt")):
        path.rename(path.with_name("traj_labs_" + path.name))
    average, _ = run_single_task([1, 2], 2, str(tmp_path / "perfect"), str(tmp_path / "truth"))
    assert np.allclose(average, [0, 1, 0, 0, 1], atol=1e-9)  # rmse, jsc, mae alpha, msle k, f1
    average, _ = run_single_task([1, 2], 2, str(tmp_path / "noisy"), str(tmp_path / "truth"))
    ours = score_table(index.assign(segments=truths), preds).loc["weighted"]
    assert np.allclose(average, ours[["rmse", "jsc", "mae_alpha", "msle_k", "f1"]].astype(float), atol=1e-4)


def write_truth(folder, segments, points):
    """One track, index 7, of experiment 3 in the challenge layout."""
    write_submission(folder, pd.DataFrame(dict(exp=[3], fov=[0], traj_idx=[7])), [segments])
    folder = folder / "track_2" / "exp_3"
    (folder / "fov_0.txt").rename(folder / "traj_labs_fov_0.txt")
    pd.DataFrame(points).to_csv(folder / "trajs_fov_0.csv", index=False)
    return folder


def test_labels_and_tracks_are_read_back(tmp_path, tracks):
    segments = tracks[0][0]
    n_frames = segments[-1].end
    points = dict(traj_idx=7.0, frame=np.arange(n_frames), x=0.5, y=1.5, alpha=1.0, D=2.0, state=2.0)
    folder = write_truth(tmp_path, segments, points)
    read = read_labels(folder / "traj_labs_fov_0.txt")[7]
    assert [s.end for s in read] == [s.end for s in segments]
    assert np.allclose([s.k for s in read], [s.k for s in segments], rtol=1e-6)
    table = read_benchmark(tmp_path)
    assert table.loc[0, ["exp", "fov", "traj_idx"]].tolist() == [3, 0, 7]
    assert table["xy"][0].shape == (n_frames, 2) and (table["k"][0] == 2.0).all()


def test_missing_benchmark_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="trajs_fov"):
        read_benchmark(tmp_path)


def write_brownian_truth(folder):
    """One Brownian track, K = 1 px^2/frame, alpha = 1, in the challenge layout."""
    rng = np.random.default_rng(3)
    x, y = np.cumsum(rng.normal(0, np.sqrt(2), (2, 200)), axis=1) + rng.normal(0, 0.12, (2, 200))  # K = 1, alpha = 1
    points = dict(traj_idx=7.0, frame=np.arange(200), x=x, y=y, alpha=1.0, D=1.0, state=2.0)
    exp = write_truth(folder, [Segment(start=0, end=200, k=1.0, alpha=1.0, state=2)], points)
    (exp / "ensemble_labels.txt").write_text("model: single_state; num_state: 1\n1.0\n0.01\n1.0\n0.01\n1.0\n")


def test_command_scores_the_baselines(tmp_path, capsys):
    write_brownian_truth(tmp_path)
    assert benchmark.main(["--out", str(tmp_path), "--tasks", "single"]) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    scores = report["segments"]
    assert scores["constant"]["weighted"]["mae_alpha"] == 0 and scores["constant"]["3"]["jsc"] == 1
    assert scores["msd"]["mean"]["mae_alpha"] < 0.3 and scores["msd"]["mean"]["msle_k"] < 0.05
    assert set(scores) == {"constant", "msd", "windows", "cve", "mle", "hmm", "hmm-filtered"}
    assert scores["hmm"] == scores["msd"]  # one state: nothing to decode
    for name, score in (("msd", "msle_k"), ("mle", "f1")):  # one track: every resample is the same
        value = scores[name]["weighted"][score]
        assert report["low"][name]["weighted"][score] == report["high"][name]["weighted"][score]
        assert report["low"][name]["weighted"][score] == pytest.approx(value, abs=1e-12)
    assert report["k_errors"]["80 to 200"]["MLE"] < 0.3 and report["k_errors"]["80 to 200"]["n"] == 1
    text = (tmp_path / "benchmark.md").read_text()
    assert text in capsys.readouterr().out
    assert "| whole-track MSD fit | 1.000 (1.000-1.000) |" in text
    assert (tmp_path / "figures" / "scores.svg").is_file() and (tmp_path / "figures" / "jaccard.svg").is_file()


def test_command_scores_weights_and_stores_the_fit(tmp_path, monkeypatch):
    from main.models import build
    from main.tracks.features import N_FEATURES
    from main.utils.weights import load_weights, save_weights

    write_brownian_truth(tmp_path)
    net = {"body": "lstm", "target": "combined", "in_features": N_FEATURES["default"], "hidden": 8}
    save_weights(tmp_path / "net", {"combined": build(net)}, {"features": "default", "nets": {"combined": net}})
    common = ["--out", str(tmp_path), "--weights", str(tmp_path / "net")]
    distance = {"w1_alpha": 0.25, "w1_k": 0.5}  # the official one takes seconds; see test_ensembles.py
    monkeypatch.setattr(compute.ensembles, "ensemble_distance", lambda truth, estimate: distance)
    assert benchmark.main([*common, "--fit-penalty", "--tasks", "single"]) == 0
    _, config = load_weights(str(tmp_path / "net"))  # the sha256 still holds
    assert config["segmentation"]["penalty"] > 0
    assert benchmark.main([*common, "--methods", "hmm", "network", "m3"]) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    assert set(report["segments"]) == {"hmm", "hmm-filtered", "net", "net-m3"}
    assert report["frames"]["net"]["3"]["l1_alpha"] > 0
    rows = report["against"]["net against hmm"]
    jsc = next(row for row in rows if row["exp"] == "weighted" and row["score"] == "jsc")
    assert jsc["verdict"] == "within" if jsc["difference"] == 0 else jsc["verdict"] == "worse"
    for name in ("net", "net-m3"):
        submission = tmp_path / "submissions" / name / "track_2" / "exp_3" / "fov_0.txt"
        assert submission.read_text().startswith("7,")
    assert set(report["ensemble"]) == {"constant", "true segments", "net"}
    assert report["ensemble"]["net"]["3"] == distance
    assert "| plain mean over experiments | .250 / .5000 |" in (tmp_path / "benchmark.md").read_text()
    assert (tmp_path / "submissions" / "net" / "track_2" / "exp_3" / "ensemble_labels.txt").is_file()


def test_sample_adaptation_reads_each_experiment_as_one_sample(tmp_path, monkeypatch, capsys):
    from main.tracks.inference.predictor import Prediction

    class Stub:
        reads_samples = True

        def predict(self, tracks, sigma, progress=False):
            n = len(tracks[0])
            return [Prediction(np.zeros(n), np.full(n, 0.5), np.tile([0.0, 0, 1, 0], (n, 1)), np.zeros(n))]

    def analyse_sample(predictor, config, tracks, sigma, progress):
        assert sigma == SIGMA_PX and len(tracks) == 1
        segments = [[Segment(start=0, end=len(xy), k=1.0, alpha=0.75, state=2)] for xy in tracks]
        return predictor.predict(tracks, sigma), segments, {"reason": "1 track was read in some way"}

    write_brownian_truth(tmp_path)
    monkeypatch.setattr(compute, "load_predictor", lambda weights, device: (Stub(), {}))
    monkeypatch.setattr(compute, "analyse_sample", analyse_sample)
    monkeypatch.setattr(
        compute.ensembles, "ensemble_distance", lambda truth, found: {"w1_alpha": found[0, 0], "w1_k": 0}
    )
    options = ["--out", str(tmp_path), "--weights", "fast", "--methods", "hmm", "network"]
    assert benchmark.main([*options, "--adapt", "sample"]) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    alpha = {"fast": 0.5, "fast+sample": 0.75}
    assert set(report["segments"]) == {"hmm", "hmm-filtered", *alpha}
    for name, value in alpha.items():
        assert report["segments"][name]["3"]["mae_alpha"] == 1 - value
        assert report["ensemble"][name]["3"]["w1_alpha"] == value
        assert f"{name} against hmm" in report["against"]
    assert "experiment 3: 1 track was read in some way" in capsys.readouterr().out


def test_command_without_anything_to_score(tmp_path, capsys):
    write_brownian_truth(tmp_path)
    assert benchmark.main(["--out", str(tmp_path), "--methods", "network"]) == 2
    assert "give --weights" in capsys.readouterr().err


def test_command_explains_what_is_wrong(tmp_path, capsys):
    (tmp_path / "track_2").mkdir()
    (tmp_path / "data.json").write_text(json.dumps({"seed": 4, "fovs": 5}))
    assert benchmark.main(["--out", str(tmp_path), "--seed", "5"]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert benchmark.main(["--out", str(tmp_path), "--seed", "4"]) == 2
    assert "no track_2/exp_E" in capsys.readouterr().err


def test_experiments_are_the_published_ones():
    from simulations.andi import library_arguments
    from simulations.experiments import EXPERIMENTS

    worlds = [library_arguments(world) for world in EXPERIMENTS]
    assert [w["N"] for w in worlds] == [100, 750, 100, 100, 500, 100, 100, 100, 100]
    assert {w["T"] for w in worlds} == {200} and {w["L"] for w in worlds} == {230.4}
    assert worlds[0]["Ds"].tolist() == [[0.15, 0.01], [0.33, 0.001], [0.95, 0.01]]
    assert worlds[6]["M"][0][1] == pytest.approx(1 / 60) and worlds[8]["Nt"] == 1000
    assert (worlds[3]["r"], worlds[3]["trans"], worlds[4]["Pu"]) == (2.0, 0.1, pytest.approx(1 / 60))


def test_published_seeds_reach_the_published_random_state():
    import stochastic.random
    from andi_datasets.models_phenom import models_phenom

    from main.tracks.benchmark.data import PUBLISHED_SEEDS, challenge_dictionaries
    from simulations.experiments import EXPERIMENTS

    np.random.seed(PUBLISHED_SEEDS[0])
    stochastic.random.seed(PUBLISHED_SEEDS[1])
    assert len(challenge_dictionaries(EXPERIMENTS, 30)) == 270
    assert np.random.rand() == 0.13983116679650354  # both from the check in the tutorial
    assert models_phenom().disp_fbm(1, 1, 1)[0] == pytest.approx(-1.5603561985561718)


def test_generated_benchmark_is_reproducible_and_labelled(tmp_path):
    from simulations.experiments import EXPERIMENTS

    tables = [read_benchmark(generate(tmp_path / n, 1, 3, experiments=EXPERIMENTS[6:8])) for n in "ab"]
    first, second = tables
    assert set(first["exp"]) == {1, 2} and len(first) > 20
    assert all(np.array_equal(a, b) for a, b in zip(first["xy"], second["xy"], strict=True))
    for row in first.itertuples():
        ends = [s.end for s in row.segments]
        changes = (np.diff(row.k) != 0) | (np.diff(row.alpha) != 0) | (np.diff(row.state) != 0)
        assert ends == [*(np.flatnonzero(changes) + 1), len(row.xy)] and len(row.xy) >= 20


def test_frame_scores_ignore_trapped_frames():
    truth = dict(k=np.array([1.0, 1.0, 0.0]), alpha=np.array([1.0, 1.0, 0.0]), state=np.array([2, 2, 0]))
    pred = SimpleNamespace(
        log10_k=np.array([0.0, 1.0, 9.0]), alpha=np.array([1.0, 1.5, 9.0]), state_probs=np.eye(4)[[2, 1, 0]]
    )
    scores = frame_scores([truth], [pred])
    assert scores["l1_log10_k"] == 0.5 and scores["l1_alpha"] == 0.25
    assert scores["accuracy"] == pytest.approx(2 / 3) and scores["confusion"][2].tolist() == [0, 1, 1, 0]
