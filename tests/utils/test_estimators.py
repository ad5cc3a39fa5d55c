"""Classical estimators against simulated Brownian tracks with a known answer."""

import numpy as np
import pandas as pd
import pytest
from scipy.fft import dst

from main.utils.estimators import (
    cramer_rao_bound,
    cve,
    cve_by_track,
    ensemble_msd,
    fit_ensemble_msd,
    fit_msd,
    mle,
    msd,
    sliding_d,
    step_spectrum,
)


def brownian(rng, n_tracks, n_frames, d, sigma):
    """(n, T, 2) positions with localisation noise."""
    path = np.cumsum(rng.normal(0, np.sqrt(2 * d), (n_tracks, n_frames, 2)), axis=1)
    return path + rng.normal(0, sigma, path.shape)


def table_of(tracks):
    """Track table of (T, 2) arrays; rows of NaN are missing frames."""
    rows = [(i, t, *xy) for i, track in enumerate(tracks) for t, xy in enumerate(track) if np.isfinite(xy).all()]
    return pd.DataFrame(rows, columns=["track_id", "frame", "x", "y"])


def test_cve_is_unbiased_and_scatters_as_published():
    d, sigma, n_steps = 1.0, 0.3, 50
    values = cve_by_track(table_of(brownian(np.random.default_rng(3), 2000, n_steps + 1, d, sigma)))
    e = sigma**2 / d
    variance = d**2 * ((6 + 4 * e + 2 * e**2) / n_steps + 4 * (1 + e) ** 2 / n_steps**2) / 2  # Vestergaard 2014
    assert values.mean() == pytest.approx(d, rel=0.02)
    assert values.std() == pytest.approx(np.sqrt(variance), rel=0.1)


def test_known_noise_is_taken_off_track_by_track():
    table = table_of(brownian(np.random.default_rng(2), 2000, 20, d=0.2, sigma=0.4))
    sigma = pd.Series(0.4, index=range(2000))
    sigma[:100] = np.nan
    known, unknown = cve_by_track(table, sigma), cve_by_track(table)
    assert (known[:100] == unknown[:100]).all() and (known[100:] != unknown[100:]).all()
    assert known[100:].mean() == pytest.approx(0.2, abs=3 * known[100:].std() / np.sqrt(1900))
    assert known[100:].std() < 0.9 * unknown[100:].std()
    assert (unknown < 0).any()  # the price of no bias


def test_cve_skips_gaps_and_needs_three_frames_or_two_with_known_noise():
    full, gapped, short = brownian(np.random.default_rng(4), 3, 30, 1.0, 0.1)
    gapped[[5, 6, 20]] = np.nan
    table = table_of((full, gapped, short[:2]))
    steps = [np.diff(track, axis=0) for track in (full, gapped)]
    expected = [np.nanmean(s**2) / 2 + np.nanmean(s[:-1] * s[1:]) for s in steps]
    result = cve_by_track(table)
    assert result[:2].tolist() == pytest.approx(expected) and np.isnan(result[2])
    known = cve_by_track(table, pd.Series([0.1, np.nan, 0.1]))
    assert known[[0, 2]].tolist() == pytest.approx(
        [np.mean(np.diff(t, axis=0) ** 2) / 2 - 0.01 for t in (full, short[:2])]
    )


def test_msd_of_a_straight_line():
    line = np.outer(np.arange(10.0), [3.0, 4.0])
    assert msd(line, 3) == pytest.approx([25, 100, 225])
    assert fit_msd(line, 4, sigma=0.0, floor=1e-3) == pytest.approx((25 / 4, 2.0))


def test_fit_msd_recovers_brownian_motion():
    tracks = brownian(np.random.default_rng(5), 200, 200, d=0.3, sigma=0.2)
    k, alpha = np.median([fit_msd(track, 10, sigma=0.2, floor=1e-3) for track in tracks], axis=0)
    assert k == pytest.approx(0.3, rel=0.05)
    assert alpha == pytest.approx(1.0, abs=0.05)


def test_immobile_and_short_tracks():
    still = np.ones((5, 2))
    assert cve_by_track(table_of([still])).tolist() == [0.0]
    assert fit_msd(still, 4, sigma=0.1, floor=1e-3) == pytest.approx((1e-3 / 4, 0.0))
    with pytest.raises(ValueError, match="3 frames, expected 4"):
        fit_msd(still[:3], 4, sigma=0.1, floor=1e-3)


def blurred(rng, n_tracks, n_frames, d, sigma, exposures=20):
    """Brownian tracks whose every position is the mean over a shutter that is open all the time (blur 1/6)."""
    steps = rng.normal(0, np.sqrt(2 * d / exposures), (n_tracks, n_frames * exposures, 2))
    path = np.cumsum(steps, axis=1).reshape(n_tracks, n_frames, exposures, 2).mean(axis=2)
    return path + rng.normal(0, sigma, path.shape)


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_cve_is_unbiased_with_and_without_blur(sigma):
    d, rng = 0.7, np.random.default_rng(6)
    sharp, smeared = brownian(rng, 40_000, 41, d, sigma), blurred(rng, 20_000, 41, d, sigma)
    for tracks, blur in ((sharp, 0.0), (smeared, (1 - 1 / 20**2) / 6)):  # of 20 exposures, not of endless ones
        assert cve(tracks).mean() == pytest.approx(d, rel=0.01)
        assert cve(tracks, sigma, blur).mean() == pytest.approx(d, rel=0.01)
    assert abs(cve(smeared, sigma).mean() / d - 1) > 0.2  # a known noise, but blur forgotten
    assert cve(sharp[0]).shape == () and cve(sharp[:6].reshape(2, 3, 41, 2)).shape == (2, 3)


@pytest.mark.parametrize(("blur", "make"), [(0.0, brownian), ((1 - 1 / 20**2) / 6, blurred)])
def test_maximum_likelihood_is_within_a_tenth_of_the_bound(blur, make):
    d, sigma = 0.7, 0.3
    found = mle(make(np.random.default_rng(7), 6000, 40, d, sigma), sigma, blur)
    assert found.mean() == pytest.approx(d, rel=0.01)
    assert found.std() / d == pytest.approx(cramer_rao_bound(40, d, sigma, blur), rel=0.1)
    assert cramer_rao_bound(41, 1.0, 0.0) == pytest.approx(1 / np.sqrt(40))


def test_maximum_likelihood_comes_to_rest_under_noise_and_without_motion():
    rng = np.random.default_rng(13)
    tracks = brownian(rng, 20, 30, 0.1, 1.0)
    grid = np.geomspace(1e-4, 10, 3000)[:, None]
    power = (dst(np.diff(tracks, axis=1), type=1, axis=1, norm="ortho") ** 2).mean(axis=-1)  # (20, 29)
    variance = step_spectrum(29, grid, 1.0)  # (3000, 29)
    likelihood = -(np.log(variance)[None] + power[:, None] / variance[None]).sum(axis=-1)
    best = grid[likelihood.argmax(axis=1), 0]
    inside = best > 2e-4
    assert inside.sum() > 5 and mle(tracks, 1.0)[inside] == pytest.approx(best[inside], rel=0.01)
    assert mle(np.ones((12, 2)), 0.0) == pytest.approx(0, abs=1e-12)


def test_many_tracks_at_once_are_as_one_by_one():
    tracks = brownian(np.random.default_rng(8), 5, 60, 0.5, 0.1)
    assert mle(tracks, 0.1) == pytest.approx([mle(track, 0.1) for track in tracks])
    assert msd(tracks, 4) == pytest.approx(np.array([msd(track, 4) for track in tracks]))
    assert cve(tracks) == pytest.approx(cve_by_track(table_of(tracks)).to_numpy())


@pytest.mark.parametrize("max_lag", [2, 4])
def test_a_line_through_the_msd_is_unbiased_and_scatters_as_a_quadratic_form_does(max_lag):
    """D is a quadratic form q of the steps, which are normal with covariance S: its variance is twice 2 tr(q S q S)."""
    n, d, sigma = 25, 0.7, 0.4
    lags = np.arange(1, max_lag + 1)
    weight = (lags - lags.mean()) / ((lags - lags.mean()) ** 2).sum() / 4
    q = np.zeros((n - 1, n - 1))
    for lag, w in zip(lags, weight, strict=True):
        for i in range(n - lag):
            q[i : i + lag, i : i + lag] += w / (n - lag)
    covariance = (2 * d + 2 * sigma**2) * np.eye(n - 1) - sigma**2 * (np.eye(n - 1, k=1) + np.eye(n - 1, k=-1))
    found = sliding_d(brownian(np.random.default_rng(10), 40_000, n, d, sigma), n, max_lag)[:, 0]
    assert 2 * np.trace(q @ covariance) == pytest.approx(d)  # unbiased, localisation error in the offset
    assert found.mean() == pytest.approx(d, rel=0.015)
    assert found.var() == pytest.approx(2 * 2 * np.trace(q @ covariance @ q @ covariance), rel=0.03)


def test_the_ensemble_msd_gives_k_and_alpha_with_the_noise_taken_off():
    rng = np.random.default_rng(11)
    tracks = brownian(rng, 10_000, 150, 0.3, 0.0)
    tracks = tracks - tracks[:, :1]
    assert fit_ensemble_msd(tracks, 2, 140) == pytest.approx((0.3, 1.0), rel=0.04)  # a square scatters by 1 %
    noisy = tracks + rng.normal(0, 2.0, tracks.shape)
    assert fit_ensemble_msd(noisy, 2, 140, sigma=2.0) == pytest.approx((0.3, 1.0), rel=0.15)
    assert fit_ensemble_msd(noisy, 2, 140)[1] < 0.75  # forgotten noise looks like subdiffusion


def test_each_track_has_its_own_localisation_error():
    rng, sigma = np.random.default_rng(12), np.array([0.1, 1.0, 0.5])
    tracks = brownian(rng, 3, 40, 0.5, 0.2)
    assert mle(tracks, sigma) == pytest.approx([mle(track, s) for track, s in zip(tracks, sigma, strict=True)])
    assert cve(tracks, sigma) == pytest.approx([cve(track, s) for track, s in zip(tracks, sigma, strict=True)])


def test_sliding_window_follows_d_and_leaves_noise_out():
    rng = np.random.default_rng(9)
    steps = rng.normal(size=(4000, 199, 2)) * np.sqrt(2 * np.where(np.arange(199) < 100, 1.0, 0.1))[:, None]
    tracks = np.cumsum(np.insert(steps, 0, 0.0, axis=1), axis=1)
    noisy = tracks + rng.normal(0, 0.5, tracks.shape)
    for found in (sliding_d(tracks).mean(axis=0), sliding_d(noisy).mean(axis=0)):
        assert found.shape == (181,)
        assert found[:80] == pytest.approx(1.0, rel=0.1) and found[102:] == pytest.approx(0.1, abs=0.04)
    window = tracks[0, 30:50]
    lags = np.arange(1, 5)
    assert sliding_d(tracks[0], 20, 4)[30] == pytest.approx(np.polyfit(lags, msd(window, 4), 1)[0] / 4)
    assert ensemble_msd(tracks)[100] == pytest.approx(400, rel=0.05)
