"""Sample adaptation on small simulated samples: helps where tracks share components, stays away where they do not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from main.tracks.benchmark.scores import fast_scores
from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment
from main.tracks.results.tables import SEGMENT_COLUMNS, Results
from main.tracks.samples import decode, fit
from main.tracks.samples.decode import decode_sample
from main.tracks.samples.describe import describe_components
from main.tracks.samples.mixture import Mixture
from main.tracks.samples.particles import decode_particles
from main.tracks.samples.read import analyse_sample
from main.tracks.table import Units
from simulations.batched import simulate_batched
from simulations.experiments import EXPERIMENTS
from simulations.parameters import FREE

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


def two_kinds(n, rng):
    """Brownian tracks of 60 frames that alternate between K = .05 and .5, K .1 decades apart between particles."""
    tracks, labels = [], []
    for _ in range(n):
        edges = np.cumsum(rng.geometric(1 / 15, 60))
        label = (np.searchsorted(edges, np.arange(60), side="right") + rng.integers(2)) % 2
        k = (np.array([0.05, 0.5]) * 10 ** rng.normal(0, 0.1, 2))[label]
        steps = rng.normal(size=(60, 2)) * np.sqrt(2 * k)[:, None]
        tracks.append(np.cumsum(steps, axis=0) + rng.normal(0, 0.1, (60, 2)))
        labels.append(label[1:])
    return tracks, np.array(labels)


def test_components_are_described_within_their_intervals():
    """The fitted mixture is off on purpose: one Newton step must find the way, intervals must say how sure it is."""
    rng, n = np.random.default_rng(0), 120
    tracks, labels = two_kinds(n, rng)
    mixture = Mixture(
        mean=np.array([[-1.22, 0.95], [-0.33, 1.04]]),
        sd=np.full((2, 2), 0.1),
        state=np.full(2, FREE),
        start=np.full(2, 0.5),
        transition=np.array([[0.95, 0.05], [0.08, 0.92]]),
    )
    particles = decode_particles(tracks, np.full(n, 0.1), mixture, None, 2, 20)
    slow, fast = describe_components(mixture, mixture.state, particles)
    for component, k, share in ((slow, 0.05, (labels == 0).mean()), (fast, 0.5, (labels == 1).mean())):
        for name, true in (("k", k), ("alpha", 1.0), ("dwell", 15.0), ("share", share)):
            low, high = component[name + "_lo"], component[name + "_hi"]
            margin = 0.3 * (high - low)  # eight intervals of 90 % at once
            assert low - margin < true < high + margin, (name, component)
            assert low < component[name] < high
        assert component["k_hi"] / component["k_lo"] < 1.5 and component["dwell_hi"] / component["dwell_lo"] < 2


def test_components_in_physical_units():
    component = {"k": 0.5, "k_lo": 0.4, "k_hi": 0.6, "alpha": 0.9, "alpha_lo": 0.8, "alpha_hi": 1.0, "correlation": 0.5}
    none = pd.DataFrame(columns=[*SEGMENT_COLUMNS, "correlation"], dtype=float)
    results = Results(none, none, none, {"components": [component | {"dwell": 30.0, "dwell_lo": None}]})
    (found,) = results.in_units(Units("px", 0.1, 0.02)).sample["components"]
    assert found["k"] == pytest.approx(0.5 * 0.01 / 0.02**0.9)
    assert (found["msd_1_lo"], found["msd_1_hi"]) == (pytest.approx(4 * 0.004), pytest.approx(4 * 0.006))
    wider = np.log(found["k_hi"] / found["k_lo"]) / np.log(0.6 / 0.4)
    assert 2 < wider < 3  # alpha's error counts log10(50) times
    assert (found["dwell"], found["dwell_lo"]) == (30.0, None)
