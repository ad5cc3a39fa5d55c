"""Diffusion in time: estimators of D(t), the power law, and what the shipped network sees of aging."""

import numpy as np
import pandas as pd
import pytest

from main.tracks.diffusion.aging import fit_power_law, fit_tail_exponent, step_kurtosis, step_times, window_times
from main.tracks.diffusion.brownian import score_stationary
from main.tracks.diffusion.network import (
    average_segments,
    diffusion_in_time,
    diffusion_of_tracks,
    find_d_changes,
    find_kernel_changepoints,
    tabulate_segments,
)
from main.tracks.inference.predictor import load_predictor
from main.utils.errors import InputError
from main.utils.estimators import ensemble_msd, msd, sliding_d
from simulations.theory import annealed_tracks, theory_tracks

NETWORKS = ["brownian", "brownian_attention"]


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
    tracks = theory_tracks(model, alpha, 1500, seed=1)
    assert tracks.shape == (1500, 200, 2) and np.isfinite(tracks).all() and (tracks[:, 0] == 0).all()
    time = np.array([5, 20, 80])
    slope = np.polyfit(np.log(time), np.log(ensemble_msd(tracks)[time]), 1)[0]
    assert slope == pytest.approx(alpha, abs=0.06 if model == "fbm" else 0.2)


def test_a_power_law_is_found_with_an_interval_that_holds_it():
    time, rng = step_times(200), np.random.default_rng(0)
    exact = fit_power_law(time, np.tile(time**-0.6, (50, 1)))
    assert exact.exponent == pytest.approx(-0.6) and exact.exponent_low == pytest.approx(exact.exponent_high)
    found = [fit_power_law(time, time**-0.6 * rng.gamma(2, 0.5, (100, 199)), seed) for seed in range(60)]
    assert [law.exponent for law in found] == pytest.approx([-0.6] * 60, abs=0.05)
    assert 45 < sum(law.exponent_low < -0.6 < law.exponent_high for law in found) < 60  # 54 are expected of 90 %
    with pytest.raises(ValueError, match="times between 10 and 150"):
        fit_power_law(np.arange(1, 9.0), np.ones((3, 8)))


def test_windows_see_aging_where_their_middle_is():
    tracks = theory_tracks("sbm", 0.5, 3000, seed=2)
    law = fit_power_law(window_times(200, 20), sliding_d(tracks))
    assert law.exponent == pytest.approx(-0.5, abs=0.05)
    assert law.exponent_low < law.exponent < law.exponent_high


@pytest.mark.parametrize("weights", NETWORKS)
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5, 0.7])
def test_the_network_sees_scaled_brownian_motion_age(alpha, weights):
    """Trained on nothing but segmented Brownian motion."""
    d = diffusion_in_time(theory_tracks("sbm", alpha, 3000, seed=3), weights=weights)[:, :-1]
    assert fit_power_law(step_times(200), d).exponent == pytest.approx(alpha - 1, abs=0.05)


@pytest.mark.parametrize("weights", NETWORKS)
def test_stationary_tracks_are_read_as_well_as_can_be(weights):
    """Relative RMS error of D within 15 % of the Cramer-Rao bound, sigma^2 / D = .0144 (Requena et al. 2023)."""
    for n in (20, 60, 200):
        assert score_stationary(n, 2000, weights, seed=4)["rms over bound"] < 1.15


def test_annealed_tracks_follow_the_laws_of_their_exponents():
    xy, d = annealed_tracks(4000, 0.3, 0.6, 5, seed=1)
    assert xy.shape == (4000, 200, 2) and (xy[:, 0] == 0).all() and (d > 0).all() and (d <= 1).all()
    assert (np.diff(xy, axis=1) ** 2 / d[:, :-1, None]).mean() == pytest.approx(2, rel=0.01)
    table = tabulate_segments(d, find_d_changes(d))
    ended = table[table["whole"]]
    assert (ended["frames"] - 5 * ended["d"] ** -0.6).abs().max() < 1  # as long as D says, rounded
    assert fit_tail_exponent(1 / table["d"], 1.0, table["d"] > 0, table["track"])[0] == pytest.approx(0.3, rel=0.03)
    assert fit_tail_exponent(table["frames"], 19.5, table["whole"], table["track"])[0] == pytest.approx(0.5, rel=0.06)
    time, lags = np.array([10, 40, 160]), np.array([1, 4, 16])
    assert np.polyfit(np.log(time), np.log(ensemble_msd(xy)[time]), 1)[0] == pytest.approx(0.5, abs=0.1)
    assert np.polyfit(np.log(lags), np.log(msd(xy, 16).mean(axis=0)[lags - 1]), 1)[0] == pytest.approx(1, abs=0.1)


def test_the_exponent_of_a_tail_allows_for_what_was_cut_off():
    rng, track = np.random.default_rng(2), np.repeat(np.arange(500), 20)
    values = 3 * rng.random(10_000) ** (-1 / 0.8)
    seen = np.minimum(values, 30.0)
    exponent, low, high = fit_tail_exponent(seen, 6.0, values < 30, track)
    assert exponent == pytest.approx(0.8, rel=0.05) and low < 0.8 < high
    as_if_ended = fit_tail_exponent(seen, 6.0, np.ones(10_000, bool), track)[0]
    assert as_if_ended == pytest.approx(0.8 / (1 - 5**-0.8), rel=0.05)  # too steep
    with pytest.raises(ValueError, match="no whole value of 1e\\+06 or more"):
        fit_tail_exponent(values, 1e6, values < 30, track)


def test_segments_have_their_mean_and_the_last_is_not_whole():
    table = tabulate_segments(np.array([[1.0, 1.0, 100.0, 1.0], [2.0, 2.0, 2.0, 2.0]]), [[2], []])
    assert table.to_dict("list") == {
        "track": [0, 0, 1],
        "start": [0, 2, 0],
        "frames": [2, 2, 4],
        "d": pytest.approx([1, 10, 2]),
        "whole": [True, False, False],
    }


def test_the_network_finds_the_exponents_of_annealed_transit_times_segment_by_segment():
    xy, _ = annealed_tracks(3000, 0.3, 0.6, 5, seed=4)
    d = diffusion_in_time(xy)[:, :-1]
    table = tabulate_segments(d, find_kernel_changepoints(np.log10(d)))
    assert fit_tail_exponent(1 / table["d"], 10, table["d"] > 0, table["track"])[0] == pytest.approx(0.3, abs=0.04)
    assert fit_tail_exponent(table["frames"], 19.5, table["whole"], table["track"])[0] == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_a_random_walk_ages_in_the_mean_but_its_steps_are_not_brownian(error):
    """The control: its D(t) has the same power law, and is the wrong picture; error in root mean square steps."""
    kurtosis = {}
    for model in ("ctrw", "sbm", "fbm"):
        xy = theory_tracks(model, 0.5, 1000, seed=5)
        sigma = error * np.diff(xy, axis=1).std()
        xy = xy + np.random.default_rng(5).normal(0, sigma, xy.shape)
        d = diffusion_in_time(xy, sigma)[:, :-1]
        if model == "ctrw" and not error:
            assert fit_power_law(step_times(200), d).exponent == pytest.approx(-0.5, abs=0.15)
        kurtosis[model] = step_kurtosis(
            np.diff(xy, axis=1), average_segments(d, find_kernel_changepoints(np.log10(d))), sigma
        )
    assert kurtosis.pop("ctrw") > 50
    assert kurtosis == pytest.approx({"sbm": 3, "fbm": 3}, abs=0.25)


def test_localisation_error_belongs_to_the_size_of_a_step():
    rng = np.random.default_rng(6)
    xy = rng.normal(0, np.sqrt(2), (500, 100, 2)).cumsum(axis=1) + rng.normal(0, 1, (500, 100, 2))
    d = np.where(rng.random((500, 99)) < 0.5, 1e-6, 1.0)  # wrong for every other step
    steps = np.diff(xy, axis=1)
    assert step_kurtosis(steps, d, 100.0) == pytest.approx(3, abs=0.05) and step_kurtosis(steps, d) > 5
    d[:, ::2] = np.nan
    assert step_kurtosis(steps, d, 100.0) == pytest.approx(3, abs=0.05)
    assert np.isnan(step_kurtosis(steps, np.full_like(d, np.nan)))


def test_tracks_of_different_lengths_are_read_together():
    rng, sigmas = np.random.default_rng(7), (0.1, np.nan, 0.0)
    tracks = [rng.normal(size=(n, 2)).cumsum(axis=0) for n in (60, 25, 40)]
    together = diffusion_in_time(tracks, sigmas)
    assert together.shape == (3, 60)
    for own, sigma, d in zip(tracks, sigmas, together, strict=True):
        alone = diffusion_in_time([own], sigma)
        assert d[: len(own) - 1] == pytest.approx(alone[0, :-1], rel=1e-4) and np.isnan(d[len(own) - 1 :]).all()


def test_time_reversed_tracks_are_read_the_same():
    whole = theory_tracks("sbm", 0.3, 40, seed=11)
    tracks = [own[:n] for own, n in zip(whole, np.r_[np.full(20, 200), np.arange(30, 50)], strict=True)]
    forth, back = diffusion_in_time(tracks), diffusion_in_time([own[::-1] for own in tracks])
    for a, b, own in zip(forth, back, tracks, strict=True):
        assert a[: len(own) - 1] == pytest.approx(b[: len(own) - 1][::-1], rel=1e-3)


def table_of(track, frame, xy):
    return pd.DataFrame({"track_id": track, "frame": frame, "x": xy[:, 0], "y": xy[:, 1]})


def test_measured_tracks_are_cut_where_frames_are_missing_and_long_ones_have_no_seam():
    rng = np.random.default_rng(8)
    xy = rng.normal(0, np.sqrt(2), (550, 2)).cumsum(axis=0)
    frame = np.r_[np.arange(450), np.arange(40), np.arange(50, 107), 200, 201, 202]
    found = diffusion_of_tracks(table_of(np.r_[[3] * 450, [5] * 100], frame, xy))
    d = found["d"].to_numpy()
    ends = [449, 489, 546]
    assert np.isnan(d[ends]).all() and np.isnan(d[547:]).all() and np.isnan(d).sum() == 3 + 3
    inner = np.setdiff1d(np.arange(547), ends)
    assert (np.abs(np.log10(d[inner])) < 0.5).all() and np.abs(np.diff(np.log10(d[:449]))).max() < 0.2
    assert d[450:489] == pytest.approx(diffusion_in_time(xy[None, 450:490], np.nan)[0, :-1], rel=1e-3)
    assert np.isfinite(found["d_segment"]).equals(np.isfinite(found["d"]))
    short = table_of([1, 1], [0, 1], xy[:2])
    assert np.isnan(diffusion_of_tracks(short)[["d", "d_segment"]]).all(axis=None)
    assert diffusion_of_tracks(short.iloc[:0]).empty


def test_measured_tracks_have_the_mean_of_their_segments():
    rng = np.random.default_rng(10)
    d = np.repeat([1.0, 100.0], 60)
    xy = np.cumsum(rng.normal(size=(120, 2)) * np.sqrt(2 * d)[:, None], axis=0)
    found = diffusion_of_tracks(table_of([1] * 120, np.arange(120), xy)).iloc[:-1]
    slow, fast = found["d_segment"][:58], found["d_segment"][61:]
    assert slow.nunique() == fast.nunique() == 1 and 30 < fast.iloc[0] / slow.iloc[0] < 300
    assert slow.iloc[0] == pytest.approx(np.exp(np.log(found["d"][:58]).mean()), rel=0.05)


def test_kernel_changepoints_leave_out_what_is_no_step():
    signal = np.r_[np.zeros(30), 2 * np.ones(20), [np.nan] * 10]
    assert find_kernel_changepoints(signal[None]) == [[30]] and find_kernel_changepoints(np.zeros((1, 9))) == [[]]


def test_a_known_localisation_error_is_used():
    rng = np.random.default_rng(9)
    xy = rng.normal(0, np.sqrt(2), (60, 2)).cumsum(axis=0) + rng.normal(0, 2, (60, 2))
    table = table_of([1] * 60, np.arange(60), xy)
    found = diffusion_of_tracks(table.assign(sigma=2.0))["d"].to_numpy()
    assert found[:-1] == pytest.approx(diffusion_in_time(xy[None], 2.0)[0, :-1], rel=1e-3)


def test_weights_of_d_alone_are_not_for_infer():
    for weights in NETWORKS:
        with pytest.raises(InputError, match="read D alone"):
            load_predictor(weights, "cpu")
    with pytest.raises(ValueError, match="without a separate network for K"):
        diffusion_in_time(np.zeros((1, 10, 2)), weights="fast")
    with pytest.raises(ValueError, match="201 frames"):
        diffusion_in_time(np.zeros((1, 201, 2)))
