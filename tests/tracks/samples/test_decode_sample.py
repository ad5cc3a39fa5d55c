"""Sample adaptation on small simulated samples: helps where tracks share components, stays away where they do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from main.tracks.benchmark.scores import fast_scores
from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment
from main.tracks.samples import decode, fit
from main.tracks.samples.decode import decode_sample
from main.tracks.samples.read import analyse_sample
from simulations.batched import simulate_batched
from simulations.experiments import EXPERIMENTS

BLUR = 21  # frames over which the stand-in for a network averages the truth


def sample(exp, n_tracks, seed):
    """Tracks of one benchmark experiment, true segments, and blurred predictions instead of a network's."""
    world = replace(EXPERIMENTS[exp - 1], n_particles=10 * n_tracks, n_frames=100)
    data = simulate_batched(world, torch.Generator().manual_seed(seed), min_frames=60)
    rng = np.random.default_rng(seed)
    tracks, truths, preds = [], [], []
    for i in range(n_tracks):
        n = int(data["length"][i])
        k, alpha, state = (data[name][i, :n].double().numpy() for name in ("k", "alpha", "state"))
        tracks.append(data["xy"][i, :n].double().numpy())
        edges = [0, *(np.flatnonzero(np.diff(k) != 0) + 1), n]
        ends = zip(edges, edges[1:], strict=False)
        truths.append([Segment(start=a, end=b, k=k[a], alpha=alpha[a], state=int(state[a])) for a, b in ends])
        preds.append(blurred(k, alpha, state.astype(int), rng))
    return tracks, truths, preds


def blurred(k, alpha, state, rng):
    """A Prediction (T frames): running means of the true K, alpha and state, with an error."""
    kernel = np.ones(BLUR) / BLUR
    padded = (np.pad(v, BLUR // 2, mode="edge") for v in (np.log10(np.maximum(k, 1e-3)), alpha, *(np.eye(4)[state].T)))
    log10_k, alpha, *probs = (np.convolve(v, kernel, mode="valid") for v in padded)
    log10_k = log10_k + rng.normal(0, 0.1)
    alpha = np.clip(alpha + rng.normal(0, 0.1), 0.05, 1.95)
    return Prediction(log10_k, alpha, np.stack(probs, 1), np.zeros(len(k)))


@pytest.fixture
def quick(monkeypatch):
    """Fewer rounds and tracks for the fit."""
    for name, value in {
        "MAX_FIT_TRACKS": 20,
        "MAX_EM_REPEATS": 0,
        "N_EM_ROUNDS": 3,
        "MAX_MOVING_COMPONENTS": 2,
        "N_PATHS": 20,
    }.items():
        monkeypatch.setattr(fit if hasattr(fit, name) else decode, name, value)


def test_tracks_of_one_sample_help_each_other(quick):
    tracks, truths, preds = sample(7, 32, 0)
    segments, report = decode_sample(tracks, preds, 0.12, {})
    assert report["mixture"], report
    single, adapted = fast_scores(truths, decode.segment_many(preds, {})), fast_scores(truths, segments)
    assert adapted["jsc"] > single["jsc"] + 0.05
    assert adapted["msle_k"] < single["msle_k"]
    k = sorted(c["k"] for c in report["components"])
    assert 0.5 < k[-1] < 1.5  # truth: 1
    assert all(s[0].start == 0 and s[-1].end == len(t) for s, t in zip(segments, tracks, strict=True))
    assert all(a.end == b.start for s in segments for a, b in zip(s, s[1:], strict=False))


def test_a_change_of_unit_changes_nothing(quick):
    tracks, _, preds = sample(7, 24, 3)
    small = [replace(p, log10_k=p.log10_k - 2) for p in preds]
    segments, _ = decode_sample(tracks, preds, 0.12, {})
    others, _ = decode_sample([0.1 * t for t in tracks], small, 0.012, {})
    for one, other in zip(sum(segments, []), sum(others, []), strict=True):
        assert (one.start, one.end, one.state) == (other.start, other.end, other.state)
        assert one.k == pytest.approx(100 * other.k, rel=1e-3)
        assert one.alpha == pytest.approx(other.alpha, rel=1e-3)


class Stored:
    """A predictor that gives what it was given, and remembers whether tracks were read together."""

    reads_samples = True

    def __init__(self, preds):
        self.preds, self.together = preds, []

    def predict(self, tracks, sigma, progress=False, samples=None):
        self.together.append(samples is not None)
        return self.preds


def test_networks_and_mixture_read_a_sample_together(quick):
    tracks, _, preds = sample(7, 24, 4)
    predictor = Stored(preds)
    _, segments, report = analyse_sample(predictor, {}, tracks, 0.12)
    assert report["networks"] and report["mixture"] and "24 tracks were read together" in report["reason"]
    assert (segments, predictor.together) == (decode_sample(tracks, preds, 0.12, {})[0], [True])


def test_networks_read_unlike_tracks_one_by_one(quick, monkeypatch):
    monkeypatch.setattr(decode, "MAX_LOSS_TO_POOL_NATS", {0.1: -1000.0})
    monkeypatch.setattr(decode, "MIN_GAIN_NATS", {0.1: 1000.0})
    tracks, _, preds = sample(7, 24, 5)
    predictor = Stored(preds)
    _, segments, report = analyse_sample(predictor, {}, tracks, 0.12)
    assert not report["networks"] and not report["mixture"] and "read one by one" in report["reason"]
    assert (segments, predictor.together) == (decode.segment_many(preds, {}), [True, False])


def test_a_handful_of_tracks_is_read_one_by_one():
    tracks, _, preds = sample(7, 5, 6)
    predictor = Stored(preds)
    _, _, report = analyse_sample(predictor, {}, tracks, 0.12)
    assert not report["networks"] and predictor.together == [False]


def test_trapped_stretches_have_no_k(quick):
    tracks, truths, preds = sample(9, 20, 1)
    segments, report = decode_sample(tracks, preds, 0.12, {})
    assert report["mixture"], report
    assert "trapped" in [c["state"] for c in report["components"]]
    trapped = [s for track in segments for s in track if s.state == 0]
    assert trapped
    assert all(s.k == s.alpha == 0 for s in trapped)
    assert fast_scores(truths, segments)["jsc"] > 0.8
    assert decode_sample(tracks, preds, 0.12, {}) == (segments, report)  # seeded


def test_pooled_experiments_are_read_one_by_one(quick):
    parts = [sample(exp, 5, 10 + exp) for exp in (1, 2, 4, 5, 6, 8, 9)]
    tracks, _, preds = (sum(lists, []) for lists in zip(*parts, strict=True))
    segments, report = decode_sample(tracks, preds, 0.12, {})
    assert not report["mixture"], report
    assert segments == decode.segment_many(preds, {})


@pytest.mark.parametrize(
    "n, sigma, reason",
    [(5, 0.12, "fewer than"), (24, None, "not known"), (24, np.nan, "not known"), (24, 0.0, "not known")],
)
def test_samples_without_what_it_takes(n, sigma, reason):
    tracks, _, preds = sample(7, n, 2)
    segments, report = decode_sample(tracks, preds, sigma, {})
    assert not report["mixture"]
    assert reason in report["reason"]
    assert segments == decode.segment_many(preds, {})


def test_nothing_moves():
    walk = np.random.default_rng(0).normal(0, 0.12, (30, 2))
    trapped = Prediction(np.full(30, -3.0), np.ones(30), np.tile(np.eye(4)[0], (30, 1)), np.zeros(30))
    segments, report = decode_sample([walk] * 25, [trapped] * 25, 0.12, {})
    assert not report["mixture"]
    assert "no segment moves" in report["reason"]
    assert segments[0][0].state == 0
