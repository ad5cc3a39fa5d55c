"""Wrong points are found, and real motion is left alone."""

import numpy as np
import pytest
import torch
from known_tracks import STEP, fractional, levels, localise, make_table, spike, switching

from main.tracks.quality.outliers import find_wrong_points
from simulations.batched import simulate_batched
from simulations.experiments import EXPERIMENTS


def make(tracks):
    return make_table(tracks).rename(columns={"x_um": "x", "y_um": "y"})


@pytest.mark.parametrize("alpha", [0.4, 1.0, 1.9])
@pytest.mark.parametrize("size", [50, 300])
def test_spikes_are_found(alpha, size):
    rng = np.random.default_rng(31)
    tracks = localise(fractional(50, 100, alpha, rng), 0.2 * STEP, rng)
    spiked = spike(tracks, size * STEP, rng)
    wrong, jump = find_wrong_points(make(spiked))
    truth = np.concatenate([(a != b).any(axis=1) for a, b in zip(tracks, spiked, strict=True)])
    assert (wrong == truth).all() and not jump.any()


def test_several_wrong_points_and_a_jump():
    rng = np.random.default_rng(32)
    track = 50 + localise(fractional(1, 100, 1.0, rng), 0.2 * STEP, rng)[0]
    track[[10, 40, 41, 80]] = 0.0
    track[90:] += 1000.0
    wrong, jump = find_wrong_points(make([track]))
    assert np.flatnonzero(wrong).tolist() == [10, 40, 41, 80]
    assert np.flatnonzero(jump).tolist() == [90]


def test_motion_that_changes_by_a_factor_of_1000_is_left_alone():
    rng = np.random.default_rng(33)
    tracks = levels(100, 100, (1e-3, 1.0), 25, rng)[0] + switching(200, 100, (0.6, 0.6), rng)[0]
    tracks = localise(tracks + fractional(50, 200, 1.9, rng), 0.085 * STEP, rng)
    assert not np.any(find_wrong_points(make(tracks)))


def test_tracks_of_the_challenge_are_left_alone():
    generator, tracks = torch.Generator().manual_seed(34), []
    for world in (EXPERIMENTS[i] for i in (2, 7, 8)):  # traps, single particles of any K, directed
        made = simulate_batched(world, generator)
        tracks += [xy[:n].numpy().astype(float) for xy, n in zip(made["xy"], made["length"].tolist(), strict=True)]
    assert len(tracks) > 100 and not np.any(find_wrong_points(make(tracks)))


def test_particles_that_never_move_and_short_tracks_have_no_wrong_point():
    still, short = np.zeros((30, 2)), np.zeros((5, 2))
    still[12], short[2] = 99.0, 99.0
    assert not np.any(find_wrong_points(make([still, short])))
