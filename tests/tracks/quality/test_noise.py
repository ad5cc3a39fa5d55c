"""Localisation error from the tracks: tracks of known noise, and what cannot be known."""

import numpy as np
import pytest
from known_tracks import STEP, beads, blurred, disc, fractional, localise, make_table, switching

from main.tracks.quality.noise import ALPHAS, NoiseEstimate, cut_runs, estimate_noise, motion_covariances


def estimate(tracks, noise, rng, exposure=0.0) -> NoiseEstimate:
    """Estimate for tracks with a localisation error of `noise` steps, over the true one."""
    table = make_table(localise(tracks, noise * STEP, rng)).rename(columns={"x_um": "x", "y_um": "y"})
    found = estimate_noise(table, exposure)
    scale = noise * STEP
    return NoiseEstimate(found.sigma / scale, found.low / scale, found.high / scale, found.n_tracks)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 1.6])
def test_a_wrong_localisation_error_is_contradicted_and_the_right_one_is_not(alpha):
    rng = np.random.default_rng(11)
    found = estimate(fractional(60, 100, alpha, rng), 0.7, rng)
    assert not found.contradicts(1.0)
    assert found.contradicts(2.0)
    if alpha >= 1:  # half of it would be alpha near .9 and as much noise: more tracks are needed at .4
        assert found.contradicts(0.5)
        assert found.determined and found.sigma == pytest.approx(1.0, abs=0.1)


def test_subdiffusion_without_noise_is_not_taken_for_noise():
    rng = np.random.default_rng(12)
    found = estimate(fractional(60, 100, 0.4, rng), 0.2, rng)
    assert found.low < 1 < found.high * 1.2  # the covariance of steps alone would say 3


@pytest.mark.parametrize("kind", ["beads", "switching", "disc"])
def test_motion_of_other_kinds(kind):
    rng = np.random.default_rng(13)
    makers = {
        "beads": lambda: beads(40, 60),
        "switching": lambda: switching(60, 100, (0.6, 0.6), rng)[0],
        "disc": lambda: disc(40, 60, 2 * STEP, rng),
    }
    found = estimate(makers[kind](), 0.7, rng)
    assert found.sigma == pytest.approx(1.0, abs=0.08) and found.determined and not found.contradicts(1.0)


def test_exposure_is_told_apart_from_a_smaller_error():
    rng = np.random.default_rng(14)
    tracks = blurred(90, 33, 1.0, 1.0, rng)
    assert estimate(tracks, 0.3, rng, exposure=1.0).sigma == pytest.approx(1.0, abs=0.2)
    assert estimate(tracks, 0.3, rng, exposure=0.0).sigma < 0.6  # blur makes steps alike, as no noise does


def test_covariance_of_steps_with_exposure():
    brownian = int(np.argmin(np.abs(ALPHAS - 1.0)))
    assert ALPHAS[brownian] == pytest.approx(1.0)
    assert motion_covariances(4)[brownian] == pytest.approx([1, 0, 0, 0])
    assert motion_covariances(4, 1.0)[brownian] == pytest.approx([2 / 3, 1 / 6, 0, 0], abs=1e-3)


def test_too_few_steps_give_no_estimate():
    rng = np.random.default_rng(15)
    found = estimate(fractional(4, 100, 1.0, rng), 0.5, rng)
    assert np.isnan(found.sigma) and not found.determined and not found.contradicts(9.0)


def test_runs_hold_successive_frames_of_one_track_and_no_jump():
    rng = np.random.default_rng(16)
    table = make_table(fractional(10, 100, 1.0, rng)).rename(columns={"x_um": "x", "y_um": "y"})
    table = table[~((table["track_id"] == 3) & table["frame"].isin([20, 70]))].reset_index(drop=True)
    table["x"] += 1000.0 * table["track_id"] + 500.0 * (table["frame"] > 40)
    table["jump"] = table["frame"] == 41
    runs = cut_runs(table)
    assert set(runs) <= {64, 32, 16, 8}
    assert max(np.abs(steps).max() for steps, _ in runs.values()) < 10 * STEP
    assert all(steps.shape == (len(track), length, 2) for length, (steps, track) in runs.items())
