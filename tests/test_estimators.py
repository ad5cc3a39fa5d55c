"""Classical estimators against simulated Brownian tracks with a known answer."""

import numpy as np
import pandas as pd
import pytest

from main.utils.estimators import cve, cve_by_track, cve_standard_error, fit_msd, msd


def brownian(rng, n_tracks, n_frames, d, sigma, substeps=1):
    """(n, T, 2) positions, each the mean of `substeps` sub-positions (motion blur) plus noise."""
    steps = rng.normal(0, np.sqrt(2 * d / substeps), (n_tracks, n_frames * substeps, 2))
    path = np.cumsum(steps, axis=1).reshape(n_tracks, n_frames, substeps, 2).mean(axis=2)
    return path + rng.normal(0, sigma, path.shape)


@pytest.mark.parametrize(("substeps", "blur"), [(1, 0.0), (40, 1 / 6)])
def test_cve_recovers_d_and_noise(substeps, blur):
    tracks = brownian(np.random.default_rng(1), 1000, 100, d=0.5, sigma=0.4, substeps=substeps)
    d, sigma2 = np.mean([cve(track, blur=blur) for track in tracks], axis=0)
    assert d == pytest.approx(0.5, rel=0.02)
    assert sigma2 == pytest.approx(0.16, rel=0.05)


def test_cve_with_known_noise_is_unbiased_and_tighter():
    tracks = brownian(np.random.default_rng(2), 400, 40, d=0.5, sigma=0.4)
    known = np.array([cve(track, sigma=0.4)[0] for track in tracks])
    unknown = np.array([cve(track)[0] for track in tracks])
    assert known.mean() == pytest.approx(0.5, rel=0.03)
    assert known.std() < unknown.std()


def test_cve_standard_error_is_the_scatter():
    values = np.array([cve(track)[0] for track in brownian(np.random.default_rng(3), 2000, 51, 1.0, 0.3)])
    assert values.std() == pytest.approx(cve_standard_error(1.0, 0.09, 50), rel=0.1)


def test_cve_by_track_equals_cve_and_skips_gaps():
    rng = np.random.default_rng(4)
    full, gapped, short = brownian(rng, 3, 30, 1.0, 0.1)
    gapped[[5, 6, 20]] = np.nan
    rows = [(i, t, *xy) for i, track in enumerate((full, gapped, short[:2])) for t, xy in enumerate(track)
            if np.isfinite(xy).all()]
    result = cve_by_track(pd.DataFrame(rows, columns=["track_id", "frame", "x", "y"]))
    assert result[0] == pytest.approx(cve(full)[0])
    assert result[1] == pytest.approx(cve(gapped)[0])
    assert np.isnan(result[2])


def test_msd_of_a_straight_line():
    line = np.outer(np.arange(10.0), [3.0, 4.0])
    assert msd(line, 3) == pytest.approx([25, 100, 225])
    k, alpha = fit_msd(line)
    assert (k, alpha) == pytest.approx((25 / 4, 2.0))


def test_fit_msd_recovers_brownian_motion():
    tracks = brownian(np.random.default_rng(5), 200, 200, d=0.3, sigma=0.2)
    k, alpha = np.median([fit_msd(track, sigma=0.2, max_lag=10) for track in tracks], axis=0)
    assert k == pytest.approx(0.3, rel=0.05)
    assert alpha == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_immobile_tracks_are_zero(n):
    assert fit_msd(np.ones((n, 2))) == (0.0, 0.0)
    assert np.isnan(cve(np.ones((n, 2)))[0]) if n < 3 else cve(np.ones((n, 2)))[0] == 0.0
