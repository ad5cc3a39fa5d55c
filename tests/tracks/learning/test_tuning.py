"""Held-out predictions of single networks, and hyper-parameter studies that resume."""

import numpy as np
import optuna
import pytest
import torch
from helpers import track_network

from main.tracks.evaluation import heldout
from main.tracks.evaluation.errors import evaluate_tracks
from main.tracks.forward import forward, frame_values, padded_batch
from main.tracks.inference.predictor import Predictor
from main.tracks.learning import tuning
from main.tracks.learning.data import make_batches
from main.tracks.learning.task import TrackOptions
from main.tracks.pieces import bridge
from main.utils.training import Options


@pytest.fixture(scope="module")
def val():
    return make_batches(None, ["broad"], 16, "cpu", 0, 2, chunk=64)[1]


def test_held_out_predictions_equal_those_of_inference(val):
    net = track_network(target="combined", body="conv_bilstm", hidden=8).eval()
    truths, predictions = heldout.predict_batches(net, val)
    sigma = torch.cat([batch["sigma"] for batch in val]).numpy()
    expected = Predictor({"combined": net}, {}).predict([t["xy"] for t in truths], sigma)
    for ours, theirs in zip(predictions, expected, strict=True):
        np.testing.assert_allclose(ours.log10_k, theirs.log10_k, atol=1e-3)
        np.testing.assert_allclose(ours.state_probs, theirs.state_probs, atol=1e-3)


def test_held_out_predictions_see_missing_frames_and_samples_as_inference_does():
    """Read without them, the gap filler and the sample's map would not be used, and predictions would differ."""
    _, val = make_batches(None, ["broad"], 64, "cpu", 0, 1, chunk=64, samples=True, gaps=1.0)
    torch.manual_seed(0)
    net = track_network(body="sample", hidden=8, gaps=1.0).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    group, seen = int(val[0]["group"]), val[0]["seen"]
    assert not seen.all()
    truths, predictions = heldout.predict_batches(net, val)
    gappy = [np.where(there[: len(t["xy"]), None], t["xy"], np.nan) for t, there in zip(truths, seen, strict=True)]
    blind = val[0] | {"seen": torch.ones_like(seen)}
    _, without = heldout.predict_batches(net, [blind])
    size = max(group, 1)
    batch = padded_batch([bridge(t)[0] for t in gappy], val[0]["sigma"], [bridge(t)[1] for t in gappy], size)
    heads, log10_scale = forward([net], batch)
    expected = frame_values(heads, log10_scale)["log10_k"].detach().numpy()
    for ours, theirs, other in zip(predictions, expected, without, strict=True):
        np.testing.assert_allclose(ours.log10_k, theirs[: len(ours.log10_k)], atol=1e-3)
        assert len(other.log10_k) == len(ours.log10_k)
    assert max(np.abs(a.log10_k - b.log10_k).max() for a, b in zip(predictions, without, strict=True)) > 0.01


@pytest.mark.parametrize("target", ["k", "alpha", "state"])
def test_single_networks_are_scored_on_what_they_predict(val, target):
    net = track_network(target=target, body="conv_bilstm", hidden=8)
    truths, predictions = heldout.predict_batches(net, val)
    tracks, _ = evaluate_tracks(truths, predictions, heldout.find_changepoints_of_target(predictions, target))
    scored = {name for name in ("mae_log10_k", "mae_alpha", "accuracy") if tracks[name].notna().any()}
    assert scored == {{"k": "mae_log10_k", "alpha": "mae_alpha", "state": "accuracy"}[target]}
    assert len(tracks) == sum(len(batch["length"]) for batch in val)


def test_changepoints_are_found_in_the_predicted_quantity_alone():
    n = 60
    step = np.where(np.arange(n) < 30, -1.0, 1.0)
    nothing = np.full(n, np.nan)
    prediction = heldout.Prediction(step, nothing, np.full((n, 4), np.nan), np.zeros(n))
    assert heldout.find_changepoints_of_target([prediction], "k") == [[30]]


def test_study_resumes_and_searches_what_is_switched_on(val, tmp_path):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    network, options = TrackOptions(target="alpha", hidden=4), Options(steps=1, val_every=1)
    what = {"searched": ("lr", "weight_decay", "layers"), "batch": 8, "prior": ["broad"], "chunk": 32}
    for n_trials in (1, 2, 2):  # the last call finds the study complete
        study = tuning.open_study(tmp_path / "journal.log", "alpha", seed=n_trials)
        tuning.search(study, n_trials, val[:1], network, options, tmp_path / "runs", **what)
        assert len(study.trials) == n_trials
    assert set(study.trials[1].params) == {"lr", "weight_decay", "layers"}
    assert (tmp_path / "runs" / "trial_0001" / "metrics.csv").exists()
    with pytest.raises(ValueError, match="cannot search speed"):
        tuning.search(study, 3, val, network, options, tmp_path, searched=("speed",))
