"""The segmentation of the M3 entry, step by step."""

import numpy as np
import pytest
from helpers import prediction

from main.tracks.benchmark.m3 import (
    level_runs,
    merge_changepoints,
    remove_short_runs,
    segment_m3,
    series_changepoints,
    smooth,
)
from main.tracks.inference.segments import Segment


def test_runs_are_levelled():
    assert np.allclose(level_runs(np.array([1, 1.005, 1.01, 3, 3.004])), [1.005] * 3 + [3.002] * 2)


def test_single_outliers_vanish_and_ends_copy_inward():
    assert np.allclose(smooth(np.array([9.0, 1, 1, 5, 1, 1, 7])), 1)


def test_small_steps_are_dropped():
    assert series_changepoints(np.repeat([0.0, 0.04], 30)) == []
    assert series_changepoints(np.repeat([0.0, 0.5], 30)) == [30]
    assert series_changepoints(np.ones(40)) == [] and series_changepoints(np.arange(5.0)) == []


def test_short_state_runs_take_the_state_before():
    assert remove_short_runs([2, 2, 2, 0, 0, 2, 2]).tolist() == [2] * 7
    assert remove_short_runs([0, 2, 2, 2]).tolist() == [2] * 4


def test_alpha_changepoints_near_those_of_k_are_merged():
    assert merge_changepoints([20, 60], [24, 40], [41, 90]) == [20, 40, 60, 90]


@pytest.mark.parametrize("n_frames", [1, 2, 5, 6])
def test_short_tracks(n_frames):
    segments = segment_m3(prediction(np.zeros(n_frames), np.ones(n_frames), [2] * n_frames))
    assert len(segments) == 1 and segments[0].k == pytest.approx(1) and segments[0].end == n_frames


def test_segments_of_a_trapping_track():
    pred = prediction(np.zeros(90), np.ones(90), [2] * 40 + [0] * 50)
    free, trapped = segment_m3(pred)
    assert free.end == 40 and free.k == pytest.approx(1) and free.state == 2
    assert trapped == Segment(start=40, end=90, k=0.0, alpha=0.0, state=0)
