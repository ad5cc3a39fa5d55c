"""Classical methods of the benchmark on tracks with a known answer."""

import numpy as np
import pytest

from main.tracks.benchmark.classical import msd_segments, true_segments, window_msd, window_segments
from main.tracks.inference.segments import Segment
from main.utils.estimators import cramer_rao_bound, mle

SIGMA = 0.12


def brownian(rng, n_frames, k):
    """(T, 2) positions with localisation noise; k a number or (T,), of the step to each frame."""
    steps = rng.normal(size=(n_frames, 2)) * np.sqrt(2 * np.broadcast_to(k, n_frames))[:, None]
    return np.cumsum(steps, axis=0) + rng.normal(0, SIGMA, (n_frames, 2))


@pytest.mark.parametrize(("n_frames", "k"), [(10, 1.0), (40, 0.05), (100, 0.01)])
def test_maximum_likelihood_reaches_the_cramer_rao_bound(n_frames, k):
    rng = np.random.default_rng(0)
    values = np.array([mle(brownian(rng, n_frames, k), SIGMA) for _ in range(800)])
    assert values.mean() == pytest.approx(k, rel=0.05)
    assert values.std() / k == pytest.approx(cramer_rao_bound(n_frames, k, SIGMA), rel=0.1)


def test_cramer_rao_bound_as_tabulated():
    for n_frames, published in ((10, 0.33), (20, 0.23), (40, 0.16), (100, 0.10), (200, 0.07)):
        assert cramer_rao_bound(n_frames, 1.0, 0.0) == pytest.approx(1 / np.sqrt(n_frames - 1))
        assert cramer_rao_bound(n_frames, 1.0, 0.0) == pytest.approx(published, abs=0.006)
    assert cramer_rao_bound(50, 0.01, SIGMA) > 1.5 * cramer_rao_bound(50, 1.0, SIGMA)


def test_maximum_likelihood_of_pure_noise_and_of_a_still_track():
    rng = np.random.default_rng(1)
    assert np.median([mle(rng.normal(0, SIGMA, (100, 2)), SIGMA) for _ in range(50)]) < 0.002
    assert mle(np.ones((10, 2)), SIGMA) == pytest.approx(0, abs=1e-12)


def test_window_msd_follows_a_change_of_k():
    rng = np.random.default_rng(2)
    k = np.repeat([0.05, 2.0], 100)
    values = np.mean([window_msd(brownian(rng, 200, k), SIGMA) for _ in range(100)], axis=0)
    assert values.shape == (200, 2)
    assert values[20:80, 0].mean() == pytest.approx(np.log10(0.05), abs=0.15)
    assert values[120:180, 0].mean() == pytest.approx(np.log10(2.0), abs=0.15)


def test_windows_at_the_ends_are_whole():
    line = np.outer(np.arange(30.0), [1.0, 0.0])
    values = window_msd(line, 0.0)
    assert values[:, 1] == pytest.approx(2.0) and 4 * 10 ** values[:, 0] == pytest.approx(1.0)


def test_window_segments_find_a_large_change():
    rng = np.random.default_rng(3)
    k = np.repeat([0.02, 2.0], 60)
    ends = [[s.end for s in window_segments(brownian(rng, 120, k), SIGMA)] for _ in range(40)]
    assert all(e[-1] == 120 for e in ends)
    assert np.mean([any(abs(c - 60) < 10 for c in e[:-1]) for e in ends]) > 0.9
    assert np.mean([len(e) for e in ends]) < 4
    assert all(s.k > 0 and 0 <= s.alpha <= 2 for s in window_segments(brownian(rng, 6, 1.0), SIGMA))


def test_true_segments_keep_everything_but_k_and_alpha():
    rng = np.random.default_rng(4)
    truth = [
        Segment(start=0, end=50, k=1.0, alpha=1.0, state=2),
        Segment(start=50, end=53, k=0.0, alpha=0.0, state=0),
        Segment(start=53, end=100, k=0.1, alpha=0.4, state=1),
    ]
    xy = brownian(rng, 100, 1.0)
    for estimate in ("cve", "mle"):
        found = true_segments(xy, truth, SIGMA, estimate)
        assert [(s.start, s.end, s.state) for s in found] == [(0, 50, 2), (50, 53, 0), (53, 100, 1)]
        assert found[0].k == pytest.approx(1.0, rel=0.5) and found[2].alpha == 1.0
        assert found[1].k == found[1].alpha == 0.0
    assert truth[2].alpha == 0.4


def test_whole_track_msd_calls_ballistic_motion_directed():
    line = np.outer(np.arange(50.0), [3.0, 0.0])
    assert msd_segments(line, 0.0) == [Segment(start=0, end=50, k=pytest.approx(9 / 4), alpha=1.99, state=3)]
