"""The shipped weights against known answers: fractional Brownian motion, changes, traps, units, and stored outputs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import Predictor
from main.utils.weights import WEIGHTS_DIR, load_weights, read_config
from simulations.fgn import fractional_noise

GOLDEN = Path(__file__).parent / "golden.json"
SETS = sorted(
    p.parent.name for p in WEIGHTS_DIR.glob("*/config.json") if set(read_config(p.parent)["nets"]) != {"k"}
)  # that reads D(t) alone: tests/test_aging.py


@pytest.fixture(scope="module", params=SETS)
def predictor(request):
    nets, config = load_weights(request.param)
    predictor = Predictor(nets, config)
    predictor.name, predictor.config = request.param, config
    return predictor


def walks(alpha, k, n, frames, sigma=0.0, seed=0):
    """Fractional Brownian tracks (n, frames, 2) with MSD = 4 k t^alpha, plus localisation noise."""
    generator = torch.Generator().manual_seed(seed)
    steps = fractional_noise(torch.full((n,), float(alpha)), frames, generator).double().numpy()
    noise = sigma * torch.randn(n, frames, 2, generator=generator).double().numpy()
    return np.cumsum(np.sqrt(2 * k) * steps, axis=1) + noise


def whole_track(predictor, tracks, sigma):
    predictions = predictor.predict(list(tracks), sigma)
    return (
        np.array([p.log10_k.mean() for p in predictions]),
        np.array([p.alpha.mean() for p in predictions]),
        np.array([p.state_probs.mean(0) for p in predictions]),
    )


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5])
def test_fractional_brownian_motion_recovers_k_and_alpha(predictor, alpha):
    log10_k, found, states = whole_track(predictor, walks(alpha, 0.3, 64, 200, sigma=0.1), 0.1)
    assert abs(np.median(log10_k) - np.log10(0.3)) < 0.08  # bias below 20 %
    assert abs(np.median(found) - alpha) < 0.1
    assert np.mean(states.argmax(1) == 2) > 0.9


def test_directed_motion_is_directed(predictor):
    _, alpha, states = whole_track(predictor, walks(1.97, 0.3, 32, 200, sigma=0.1), 0.1)
    assert np.median(alpha) > 1.85 and np.mean(states.argmax(1) == 3) > 0.7


def test_a_tenfold_change_of_k_is_found(predictor):
    slow, fast = walks(1, 0.05, 64, 60, seed=1), walks(1, 1.0, 64, 60, seed=2)
    tracks = np.concatenate([slow, slow[:, -1:] + fast - fast[:, :1]], axis=1) + walks(1, 0, 64, 120, sigma=0.05)
    segments = segment_many(predictor.predict(list(tracks), 0.05), predictor.config)
    near = [any(abs(s.start - 60) <= 5 for s in own[1:]) for own in segments]
    assert np.mean(near) > 0.9
    assert np.mean([len(own) for own in segments]) < 2.6  # and little else
    ratio = [np.log10(own[-1].k / own[0].k) for own in segments if len(own) > 1]
    assert abs(np.median(ratio) - np.log10(20)) < 0.15


def test_a_trap_is_a_trap(predictor):
    free = walks(1, 1.0, 64, 100, seed=3)
    tracks = np.concatenate([free, np.repeat(free[:, -1:], 60, axis=1)], axis=1) + walks(1, 0, 64, 160, sigma=0.12)
    probabilities = np.array([p.state_probs for p in predictor.predict(list(tracks), 0.12)])
    assert (probabilities[:, 110:150, 0] > 0.5).mean() > 0.8
    assert (probabilities[:, :90, 0] > 0.5).mean() < 0.05


def test_pixels_or_micrometres(predictor):
    tracks = walks(1, 0.3, 16, 80, sigma=0.1)
    pixels = predictor.predict(list(tracks), 0.1)
    micrometres = predictor.predict(list(0.16 * tracks), 0.016)
    for a, b in zip(pixels, micrometres, strict=True):
        assert np.allclose(a.log10_k + 2 * np.log10(0.16), b.log10_k, atol=2e-3)
        assert np.allclose(a.alpha, b.alpha, atol=5e-3) and np.allclose(a.state_probs, b.state_probs, atol=5e-3)


def test_directions_do_not_matter(predictor):
    tracks = walks(0.8, 0.3, 16, 80, sigma=0.1)
    turn = np.array([[np.cos(1.0), np.sin(1.0)], [-np.sin(1.0), np.cos(1.0)]])
    for moved in (tracks @ turn, tracks * [1, -1], tracks + [300.0, -40.0]):
        for a, b in zip(predictor.predict(list(tracks)), predictor.predict(list(moved)), strict=True):
            assert np.allclose(a.log10_k, b.log10_k, atol=2e-3) and np.allclose(a.alpha, b.alpha, atol=5e-3)


def test_outputs_are_the_stored_ones(predictor):
    """`python tests/test_science.py` stores them anew after new weights."""
    stored = json.loads(GOLDEN.read_text())[predictor.name]
    for name, values in golden(predictor).items():
        assert np.allclose(values, stored[name], atol=2e-3), name


def golden(predictor) -> dict:
    """Every tenth frame of one fixed track."""
    (prediction,) = predictor.predict(list(walks(0.7, 0.5, 1, 120, sigma=0.12, seed=9)), 0.12)
    return {name: getattr(prediction, name)[::10].round(5).tolist() for name in ("log10_k", "alpha", "p_change")}


if __name__ == "__main__":
    results = {}
    for name in SETS:
        results[name] = golden(Predictor(*load_weights(name)))
    GOLDEN.write_text(json.dumps(results, indent=1) + "\n")
