"""Net speed and radius of confinement of segments, on tracks with known answers."""

import numpy as np
import pytest

from main.tracks.results.motion import confinement_radii, net_speeds
from misc.known_tracks import STEP, beads, disc, flow, fractional, localise

NOISE = 0.2 * STEP  # um
N_TRACKS = 300


def join(tracks):
    """frame, xy, first row and number of points of each track."""
    n = np.array([len(track) for track in tracks])
    return np.concatenate([np.arange(k) for k in n]), np.concatenate(tracks), np.cumsum(n) - n, n


def measure_radii(tracks, sigma=NOISE):
    return confinement_radii(*join(tracks), np.full(len(tracks), sigma))


@pytest.mark.parametrize("steps_per_frame", [0.5, 1, 2])
def test_flow_is_measured_within_its_interval(steps_per_frame):
    rng = np.random.default_rng(int(10 * steps_per_frame))
    true = steps_per_frame * STEP
    tracks = localise(flow(fractional(N_TRACKS, 100, 1.0, rng), true, rng), NOISE, rng)
    speed, low, high = net_speeds(*join(tracks))
    assert abs(speed.mean() / true - 1) < 0.06  # measured .044, .012, .007
    assert ((low <= true) & (true <= high)).mean() > 0.85
    assert (low > 0).mean() > 0.9


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_motion_without_flow_has_no_significant_speed(alpha):
    rng = np.random.default_rng(int(10 * alpha))
    speed, low, high = net_speeds(*join(localise(fractional(N_TRACKS, 100, alpha, rng), NOISE, rng)))
    assert (low > 0).mean() < 0.1 and np.median(speed) < 0.02 * STEP
    assert (high > 0.05 * STEP).all()


def test_speeds_of_exact_lines_and_of_short_segments():
    line, still = np.outer(np.arange(30), [3.0, 4.0]), np.zeros((30, 2))
    result = net_speeds(*join([line, still, line[:3], line[:2]]))
    assert result[:, 0] == pytest.approx(5.0) and result[:, 2] == pytest.approx(5.0)
    assert (result[:, 1] == 0).all() and np.isnan(result[:, 3]).all()


def test_missing_frames_do_not_change_a_speed():
    frame, xy, _, _ = join([np.outer(np.arange(60), [3.0, 4.0])])
    kept = np.delete(np.arange(60), [7, 8, 20, 41])
    n = np.array([len(kept)])
    assert net_speeds(frame[kept], xy[kept], np.zeros(1, int), n)[0] == pytest.approx(5.0)


@pytest.mark.parametrize(("steps", "least"), [(1, 0.5), (2, 0.5)])
def test_radius_of_a_disc_is_measured_within_its_interval(steps, least):
    rng = np.random.default_rng(steps)
    radius, low, high = measure_radii(localise(disc(N_TRACKS, 100, steps * STEP, rng), NOISE, rng))
    given = np.isfinite(radius)
    assert given.mean() > least
    assert abs(radius[given].mean() / (steps * STEP) - 1) < 0.03
    assert ((low <= steps * STEP) & (steps * STEP <= high))[given].mean() > 0.88


@pytest.mark.parametrize("alpha", [0.4, 0.7, 1.0])
def test_motion_without_walls_has_no_radius(alpha):
    rng = np.random.default_rng(int(10 * alpha))
    radius = measure_radii(localise(fractional(N_TRACKS, 100, alpha, rng), NOISE, rng))[0]
    assert np.isfinite(radius).mean() < 0.08


def test_immobile_particles_and_unknown_errors_have_no_radius():
    rng = np.random.default_rng(3)
    assert np.isfinite(measure_radii(localise(beads(N_TRACKS, 100), NOISE, rng))[0]).mean() < 0.04
    assert np.isnan(measure_radii(localise(disc(20, 100, STEP, rng), NOISE, rng), np.nan)).all()


def test_speed_and_radius_scale_with_the_unit_of_length():
    rng = np.random.default_rng(4)
    frame, xy, first, n = join(localise(disc(40, 60, STEP, rng), NOISE, rng))
    for scale in (1e-3, 1e3):
        assert np.allclose(net_speeds(frame, scale * xy, first, n), scale * net_speeds(frame, xy, first, n))
        a, b = (confinement_radii(frame, c * xy, first, n, np.full(len(n), c * NOISE)) for c in (1.0, scale))
        assert np.isfinite(a).any() and np.allclose(b, scale * a, equal_nan=True)
