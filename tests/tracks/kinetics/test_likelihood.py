"""The likelihood of tracks that switch between Brownian states is exact where it can be, and its fits are right."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from known_tracks import FRAME_INTERVAL, STEP, localise, switching
from scipy.linalg import expm
from scipy.stats import multivariate_normal

from main.tracks.kinetics import likelihood
from main.tracks.kinetics.brownian_states import (
    BOUND,
    BOUND_SLOW_FAST,
    MOBILE,
    MODELS,
    SLOW_FAST,
    Positions,
    compute_log_likelihood,
    fit_model,
    unpack,
)
from main.tracks.kinetics.determined import warn_of_alpha
from main.tracks.kinetics.hidden_markov import tabulate_steps
from main.tracks.kinetics.likelihood import ALL_TRACKS, fit_kinetics, fit_tracks
from main.tracks.kinetics.rates import MIN_FILES, compare_conditions, tabulate_kinetics

D = STEP**2 / (2 * FRAME_INTERVAL)
RECORD = {
    "inputs": [{"path": "a.csv", "frame_interval_s": FRAME_INTERVAL, "um_per_unit": 0.1}],
    "units": {"d_cve": "um^2/s"},
    "options": {},
}


def make_positions(track, frames, sigma, exposure=0.0):
    intervals, index = np.unique(np.diff(frames), return_inverse=True)
    return Positions(
        track[:, 0],
        track[:, 1],
        np.zeros(len(track), int),
        np.r_[-1, index],
        intervals,
        np.full(len(track), sigma**2),
        exposure,
    )


def switch(seed, n=150, dwells=(0.6, 0.6), noise=0.2, slow=0.0, frames=100):
    rng = np.random.default_rng(seed)
    tracks, _ = switching(n, frames, dwells, rng, (D, slow * D))
    return localise(tracks, noise * STEP, rng)


def make_tables(tracks, unit=0.1, sigma=0.2 * STEP):
    points = pd.concat(
        [
            pd.DataFrame(
                {"track_id": i, "frame": np.arange(len(track)), "x": track[:, 0] / unit, "y": track[:, 1] / unit}
            )
            for i, track in enumerate(tracks)
        ],
        ignore_index=True,
    )
    return points, pd.DataFrame({"track_id": np.arange(len(tracks)), "localization_error": sigma / unit})


def test_steps_have_the_chances_and_mean_variance_of_the_chain():
    generator, variance = np.array([[-0.3, 0.2, 0.1], [0.5, -0.9, 0.4], [0.2, 0.3, -0.5]]), np.array([0.0, 1.0, 4.0])
    chance, spread = tabulate_steps(generator, variance, np.array([1, 4]))
    for g, frames in enumerate((1, 4)):
        assert chance[g].sum(axis=-1) == pytest.approx(expm(generator * frames))
        assert chance[g].min() >= 0 and spread[g].min() >= 0 and spread[g].max() <= variance.max() * frames
        later = [expm(generator * t) @ variance for t in np.linspace(0, frames, 2001)]
        assert (chance * spread)[g].sum(axis=(-1, -2)) == pytest.approx(frames * np.mean(later, axis=0), rel=1e-3)


@pytest.mark.parametrize("exposure", [0.0, 1.0])
def test_one_state_has_the_likelihood_of_a_gaussian_with_gaps(exposure):
    rng, frames, sigma, variance = np.random.default_rng(1), np.array([0, 1, 2, 4, 5, 8, 9]), 0.8, 1.7
    track = rng.normal(size=(len(frames), 2)).cumsum(axis=0)
    value = compute_log_likelihood(np.log([variance]), MOBILE, make_positions(track, frames, sigma, exposure)).sum()
    noise = sigma**2 - variance * exposure / 6  # Berglund 2010: what successive steps share
    covariance = np.diag(variance * np.diff(frames) + 2 * noise) - noise * (np.eye(6, k=1) + np.eye(6, k=-1))
    expected = sum(multivariate_normal.logpdf(np.diff(track[:, i]), cov=covariance) for i in (0, 1))
    assert value == pytest.approx(expected)


@pytest.mark.parametrize("noise", [0.2, 0.5])
def test_the_filter_is_close_to_the_sum_over_all_paths(noise):
    parameters, frames = np.log([1.0, np.exp(0.3), 0.4]), np.array([0, 1, 2, 4, 5, 6])
    variance, occupancy, generator = unpack(parameters, BOUND)
    chance, spread = tabulate_steps(generator, variance, np.array([1, 2]))
    rng = np.random.default_rng(3)
    steps = rng.normal(size=(5, 2)) * np.array([1, 0, 1, 1, 0])[:, None]
    track = np.vstack([np.zeros((1, 2)), steps.cumsum(axis=0)]) + rng.normal(0, noise, (6, 2))
    shared = -(noise**2) * (np.eye(5, k=1) + np.eye(5, k=-1)) + 2 * noise**2 * np.eye(5)
    likelihood_of_all, moved = 0.0, np.diff(track, axis=0)
    for states in product((0, 1), repeat=6):
        for nodes in product(range(3), repeat=5):
            steps_of_path = list(zip(np.diff(frames) - 1, states, states[1:], nodes, strict=False))
            weight = occupancy[states[0]] * np.prod([chance[step] for step in steps_of_path])
            if weight > 1e-9:
                covariance = shared + np.diag([spread[step] for step in steps_of_path])
                whitened = np.linalg.solve(np.linalg.cholesky(covariance), moved)
                likelihood_of_all += weight * np.exp(-0.5 * (whitened**2).sum()) / np.linalg.det(covariance)
    expected = np.log(likelihood_of_all) - 5 * np.log(2 * np.pi)
    assert compute_log_likelihood(parameters, BOUND, make_positions(track, frames, noise)).sum() == pytest.approx(
        expected, abs=0.02
    )


@pytest.mark.parametrize(
    "dwells, noise, slow, model",
    [((0.2, 0.2), 0.5, 0.0, BOUND), ((0.6, 0.4), 0.2, 0.0, BOUND), ((0.6, 0.6), 0.2, 0.1, SLOW_FAST)],
)
def test_known_dwells_occupancy_and_d_come_back(dwells, noise, slow, model):
    fit = fit_tracks(switch(7, 100, dwells, noise, slow), noise * STEP, FRAME_INTERVAL)
    assert fit.model is model and fit.warnings == []
    table = fit.tabulate().set_index(["state", "quantity"])
    first, second = model.states
    truths = {(second, "mean_dwell"): dwells[0], (first, "mean_dwell"): dwells[1], (second, "d"): D}
    truths |= {(first, "d"): slow * D} if slow else {}
    for key, truth in truths.items():
        row = table.loc[key]
        assert row["value"] == pytest.approx(truth, rel=0.2) and row["low"] < row["value"] < row["high"]
        assert row["low"] / 1.1 < truth < row["high"] * 1.1
    assert table.loc[(first, "occupancy"), "value"] == pytest.approx(dwells[1] / sum(dwells), abs=0.04)
    assert table.loc[(first, f"rate_to_{second}"), "value"] == pytest.approx(1 / fit.value["mean_dwell"][0])
    assert (first, f"rate_to_{first}") not in table.index and ((first, "d") in table.index) == bool(slow)


def test_missing_frames_and_an_unknown_localisation_error():
    rng, tracks = np.random.default_rng(4), switch(11, 100)
    for track in tracks:
        track[1:-1][rng.random(98) < 0.2] = np.nan
    fit = fit_tracks(tracks, None, FRAME_INTERVAL, model=BOUND)
    assert fit.sigma == pytest.approx(0.2 * STEP, rel=0.03) and any("was estimated" in text for text in fit.warnings)
    assert fit.value["mean_dwell"] == pytest.approx(0.6, rel=0.25) and fit.value["d"][1] == pytest.approx(D, rel=0.1)


def test_three_states():
    """Half of the tracks switch between immobile and fast, half between slow and fast."""
    tracks = switch(1, 40) + switch(2, 40, slow=0.1)
    fit = fit_tracks(tracks, 0.2 * STEP, FRAME_INTERVAL)
    assert fit.states == BOUND_SLOW_FAST.states
    assert fit.value["d"][1:] == pytest.approx([0.1 * D, D], rel=0.15)
    assert fit.value["occupancy"] == pytest.approx([0.25, 0.25, 0.5], abs=0.06)


def test_one_state_has_no_rates_and_particles_that_stand_still_are_immobile():
    still = localise([np.zeros((50, 2))] * 30, 0.1, np.random.default_rng(0))
    moving = switch(3, 30, dwells=(1e9, 1e-9), frames=50)
    for tracks, sigma, name in ((still, 0.1, "immobile"), (moving, 0.2 * STEP, "mobile")):
        fit = fit_tracks(tracks, sigma, FRAME_INTERVAL)
        assert fit.states == (name,) and "1 state" in fit.model_note
        assert set(fit.tabulate()["quantity"]) == {"occupancy"} | ({"d"} if name == "mobile" else set())


def test_tables_in_pixels_give_the_same_as_arrays_in_um():
    tracks = switch(5, 25)
    points, rows = make_tables(tracks)
    found = fit_kinetics(points.sample(frac=1, random_state=0), rows, RECORD)[ALL_TRACKS]
    expected = fit_tracks(tracks, 0.2 * STEP, FRAME_INTERVAL)
    for name, value in expected.value.items():
        assert found.value[name] == pytest.approx(value, rel=1e-3), name
    assert found.d_unit == "um^2/s" and found.time_unit == "s"
    record = RECORD | {"inputs": [RECORD["inputs"][0] | {"um_per_unit": None, "frame_interval_s": None}]}
    record["units"] = {"d_cve": "px^2/frame"}
    frames = fit_kinetics(points, rows, record)[ALL_TRACKS]
    assert frames.d_unit == "px^2/frame" and frames.time_unit == "frames"
    assert frames.value["mean_dwell"] == pytest.approx(expected.value["mean_dwell"] / FRAME_INTERVAL, rel=1e-3)


def test_conditions_share_one_model_and_are_compared():
    tracks = switch(1, 40) + switch(2, 40, dwells=(0.6, 1.2))
    points, rows = make_tables(tracks)
    points["condition"] = np.where(points["track_id"] < 40, "wt", "mutant")
    record = RECORD | {
        "inputs": [RECORD["inputs"][0] | {"condition": "wt"}, RECORD["inputs"][0] | {"condition": "mutant"}]
    }
    fits = fit_kinetics(points, rows, record, "condition")
    assert list(fits) == ["wt", "mutant"] and len({fit.model for fit in fits.values()}) == 1
    table = compare_conditions(fits, record).set_index(["state", "quantity"])
    row = table.loc[("immobile", "mean_dwell")]
    assert row["ratio_low"] < 2 < row["ratio_high"] and row["ratio_low"] > 1
    assert table.loc[("mobile", "d"), "ratio_low"] < 1 < table.loc[("mobile", "d"), "ratio_high"]


def test_files_are_drawn_where_there_are_enough():
    """If recordings differ, intervals from resampling files are wider than those from resampling tracks."""
    parts = [switch(i, 8, dwells=(0.6, dwell)) for i, dwell in enumerate((0.1, 0.2, 0.4, 0.8, 1.6))]
    points, rows = make_tables([track for part in parts for track in part])
    points["file"] = (points["track_id"] // 8).astype(str)
    record = RECORD | {"inputs": [RECORD["inputs"][0] | {"path": str(i)} for i in range(5)]}
    by_file, by_track = (
        fit_kinetics(table, rows, record)[ALL_TRACKS] for table in (points, points.drop(columns="file"))
    )
    assert (by_file.resampled_unit, by_track.resampled_unit) == ("files", "tracks") and by_file.n_drawn == MIN_FILES
    width = [np.ptp(np.quantile(fit.resampled["occupancy"][:, 0], [0.05, 0.95])) for fit in (by_file, by_track)]
    assert width[0] > 1.5 * width[1]


def test_wrong_points_and_the_rest_of_large_groups_are_left_out_and_said(monkeypatch):
    tracks = switch(5, 40)
    tracks[3][50] += 30
    fit = fit_tracks(tracks, 0.2 * STEP, FRAME_INTERVAL)
    assert fit.states == BOUND.states and "1 points far from" in fit.warnings[0]
    assert fit.value["d"][1] == pytest.approx(D, rel=0.1)
    monkeypatch.setattr(likelihood, "MAX_POINTS", 2000)
    few = fit_tracks(tracks, 0.2 * STEP, FRAME_INTERVAL, model=BOUND)
    assert "20 of 40 tracks" in few.warnings[0] and few.n["d"][0] == 20
    with pytest.raises(ValueError, match="fewer than"):
        fit_tracks(tracks[:1], 0.2 * STEP)


def test_of_one_long_track_the_first_points_are_used(monkeypatch):
    monkeypatch.setattr(likelihood, "MAX_POINTS", 1000)
    points, rows = make_tables(switch(16, n=1, frames=3000))
    positions, _, notes = likelihood.collect_positions(points, rows, 0.1, 0.0, 0)
    assert len(positions.track) == 1000 and notes == [
        "Of 1 track(s) the first 1,000 points were used for dwell times and rates."
    ]


def test_what_the_data_do_not_determine_is_said():
    rare = fit_tracks(switch(2, 20, dwells=(60.0, 60.0)), 0.2 * STEP, FRAME_INTERVAL, model=BOUND)
    assert any("too few for an interval" in text for text in rare.warnings)
    assert tabulate_kinetics(rare).set_index("quantity").loc["mean_dwell", "low"].isna().all()
    long = fit_tracks(switch(2, 80, dwells=(4.0, 4.0)), 0.2 * STEP, FRAME_INTERVAL, model=BOUND)
    assert any("longer than the tracks (1.98 s" in text for text in long.warnings)
    fast = fit_tracks(switch(2, 40, dwells=(0.03, 0.03)), 0.2 * STEP, FRAME_INTERVAL, model=BOUND)
    assert any("below 2 frames" in text for text in fast.warnings)
    alike = fit_tracks(switch(2, 60, slow=0.5), 0.2 * STEP, FRAME_INTERVAL, model=SLOW_FAST)
    assert any("one state whose D varies" in text for text in alike.warnings)
    segments = pd.DataFrame({"state": [0, 2], "alpha": [0.0, 0.6], "n_frames": [90, 10]})
    assert "0.60" in warn_of_alpha(segments)[0] and warn_of_alpha(segments.assign(alpha=1.0)) == []


def test_models_of_more_states_are_not_worse():
    points, rows = make_tables(switch(5, 40))
    positions, *_ = likelihood.collect_positions(points, rows, 0.1, 0.0, 0)
    fits = {}
    for model in MODELS[:-1]:
        fits[model] = fit_model(model, positions)
    assert fits[SLOW_FAST].log_likelihood > fits[BOUND].log_likelihood - 0.5
    assert fits[BOUND].log_likelihood > fits[MOBILE].log_likelihood
