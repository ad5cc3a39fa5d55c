"""The drift that tracks share: found with its error, not seen where there is none."""

import numpy as np
import pytest
from known_tracks import STEP, beads, drift, flow, fractional, localise, make_table

from main.tracks.quality.check import subtract_drift
from main.tracks.quality.drift import estimate_drift


def make(tracks, rng, noise=0.2):
    return make_table(localise(tracks, noise * STEP, rng)).rename(columns={"x_um": "x", "y_um": "y"})


@pytest.mark.parametrize("speed", [0.05, 0.3])
def test_drift_of_a_mixture_is_found_and_removed(speed):
    rng = np.random.default_rng(21)
    table = make(drift(beads(30, 100) + fractional(70, 100, 1.0, rng), speed * STEP), rng)
    found = estimate_drift(table)
    truth = speed * STEP * np.array([1.0, 0.5]) / np.hypot(1.0, 0.5)
    assert found.matters and not found.varies
    assert np.abs((found.velocity - truth) / found.error).max() < 4
    left = subtract_drift(table, found)
    assert np.hypot(*estimate_drift(left).velocity) < 1e-9
    still = left[left["track_id"] < 30]
    assert still.groupby("track_id")[["x", "y"]].std().to_numpy().mean() == pytest.approx(0.2 * STEP, rel=0.05)


@pytest.mark.parametrize("kind", ["free", "superdiffusive", "flow"])
def test_motion_of_single_tracks_is_no_drift(kind):
    rng = np.random.default_rng(22)
    tracks = fractional(100, 100, 1.9 if kind == "superdiffusive" else 1.0, rng)
    found = estimate_drift(make(flow(tracks, STEP, rng) if kind == "flow" else tracks, rng))
    assert not found.significant and not found.matters


def test_drift_that_turns_back_varies():
    rng = np.random.default_rng(23)
    path = np.cumsum(0.1 * STEP * np.sin(2 * np.pi * np.arange(100) / 100))
    table = make([track + np.stack([path, 0 * path], axis=1) for track in beads(100, 100)], rng)
    found = estimate_drift(table)
    assert found.varies and found.matters
    left = subtract_drift(table, found)
    assert left.groupby("track_id")["x"].std().mean() < 1.2 * 0.2 * STEP < table.groupby("track_id")["x"].std().mean()


def test_few_tracks_give_no_drift():
    rng = np.random.default_rng(24)
    found = estimate_drift(make(drift(beads(10, 100), STEP), rng))
    assert np.isnan(found.velocity).all() and not found.significant and found.at(np.arange(3)).tolist() == [[0, 0]] * 3
