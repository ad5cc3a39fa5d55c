"""Diffusion in time: estimators of D(t), the power law, and what the shipped network sees of aging."""

import numpy as np
import pytest
import torch

from main.utils.aging import power_law, step_times, window_times
from main.utils.diffusion import diffusion_in_time
from main.utils.estimators import cramer_rao_bound, ensemble_msd, sliding_d
from main.utils.inference import load_predictor
from main.utils.tracks import InputError
from simulations.brownian import brownian_tracks
from simulations.theory import theory_tracks


def test_steps_of_scaled_brownian_motion_have_the_stated_variance():
    tracks = theory_tracks("sbm", 0.3, 4000, 60, seed=1)
    t = np.arange(59)
    expected = (t + 2.0) ** 0.3 - (t + 1.0) ** 0.3
    assert np.diff(tracks, axis=1).var(axis=(0, 2)) == pytest.approx(expected, rel=0.06)
    assert np.array_equal(tracks[:5], theory_tracks("sbm", 0.3, 5, 60, seed=1)) and (tracks[:, 0] == 0).all()
    with pytest.raises(ValueError, match="unknown model 'levy'"):
        theory_tracks("levy", 0.3, 1)


@pytest.mark.parametrize(("model", "alpha"), [("attm", 0.5), ("ctrw", 0.5), ("fbm", 0.5), ("fbm", 1.5)])
def test_the_other_models_give_whole_tracks_that_spread_as_they_should(model, alpha):
    tracks = theory_tracks(model, alpha, 400, seed=1)
    assert tracks.shape == (400, 200, 2) and np.isfinite(tracks).all() and (tracks[:, 0] == 0).all()
    time = np.array([5, 20, 80])
    slope = np.polyfit(np.log(time), np.log(ensemble_msd(tracks)[time]), 1)[0]
    assert slope == pytest.approx(alpha, abs=0.1 if model == "fbm" else 0.3)


def test_a_power_law_is_found_with_an_interval_that_holds_it():
    time, rng = step_times(200), np.random.default_rng(0)
    exact = power_law(time, np.tile(time**-0.6, (50, 1)))
    assert exact.exponent == pytest.approx(-0.6) and exact.exponent_low == pytest.approx(exact.exponent_high)
    held = [power_law(time, time**-0.6 * rng.gamma(2, 0.5, (100, 199)), seed).exponent for seed in range(3)]
    assert held == pytest.approx([-0.6] * 3, abs=0.05)
    with pytest.raises(ValueError, match="times between 10 and 150"):
        power_law(np.arange(1, 9.0), np.ones((3, 8)))


def test_windows_see_aging_where_their_middle_is():
    tracks = theory_tracks("sbm", 0.5, 3000, seed=2)
    law = power_law(window_times(200, 20), sliding_d(tracks))
    assert law.exponent == pytest.approx(-0.5, abs=0.05)
    assert law.exponent_low < law.exponent < law.exponent_high


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5, 0.7])
def test_the_network_sees_scaled_brownian_motion_age(alpha):
    """Trained on nothing but segmented Brownian motion."""
    d = diffusion_in_time(theory_tracks("sbm", alpha, 3000, seed=3))[:, :-1]
    assert power_law(step_times(200), d).exponent == pytest.approx(alpha - 1, abs=0.05)


def test_stationary_tracks_are_read_as_well_as_can_be():
    """Relative RMS error of D within 15 % of the Cramer-Rao bound, sigma^2 / D = .0144 (Requena et al. 2023)."""
    rng = np.random.default_rng(4)
    for n in (20, 60, 200):
        xy = np.cumsum(rng.normal(0, np.sqrt(2), (2000, n, 2)), axis=1) + rng.normal(0, 0.12, (2000, n, 2))
        d = 10 ** np.log10(diffusion_in_time(xy, 0.12)).mean(axis=1)
        assert np.sqrt(((d - 1) ** 2).mean()) < 1.15 * cramer_rao_bound(n, 1.0, 0.12)


def test_segmented_tracks_are_read_as_well_as_published():
    """Mean relative error of D over six decades: .226 of frames, .189 of true segments (STEP's figures)."""
    tracks = brownian_tracks(8000, torch.Generator().manual_seed(6), frames=200, log10_noise=-np.inf, n_changes=(1, 4),
                             narrow=0.0)  # fmt: skip
    k = tracks["k"].double().numpy()
    found = diffusion_in_time(tracks["xy"].numpy())
    assert (np.abs(found - k) / k)[:, :-1].mean() < 0.226
    log_d = np.log10(found)
    errors = [abs(10 ** log_d[i, a:b].mean() / row[a] - 1) for i, row in enumerate(k) for a, b in pieces(row)]
    assert np.mean(errors) < 0.189


def pieces(row):
    """Start and end of each true segment."""
    edges = [0, *(np.flatnonzero(np.diff(row)) + 1), len(row)]
    return zip(edges, edges[1:], strict=False)


def test_weights_of_d_alone_are_not_for_infer():
    with pytest.raises(InputError, match="read D alone"):
        load_predictor("brownian", "cpu")
    with pytest.raises(ValueError, match="without a network of their own for K"):
        diffusion_in_time(np.zeros((1, 10, 2)), weights="fast")
    with pytest.raises(ValueError, match="201 frames"):
        diffusion_in_time(np.zeros((1, 201, 2)))
