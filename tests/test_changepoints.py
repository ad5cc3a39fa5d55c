"""Changepoints: exact on noiseless steps, equal to PELT, quick, fitted."""

import time

import numpy as np
import pandas as pd
import pytest
import ruptures
from test_segments import prediction

from main.utils.changepoints import (
    DEFAULTS,
    change_steps,
    find_changepoints,
    segment_many,
    segmentation_options,
    stack_channels,
)
from main.utils.penalty import fit_segmentation


def steps(edges, seed=0, noise=0.0):
    """A prediction that steps at the given frames (last: the length)."""
    rng = np.random.default_rng(seed)
    lengths = np.diff([0, *edges])
    log10_k = np.repeat(np.arange(len(lengths)) % 2 * 2.0, lengths)
    alpha = np.repeat(1 - np.arange(len(lengths)) % 2 * 0.8, lengths)
    n = edges[-1]
    return prediction(log10_k + noise * rng.normal(size=n), alpha + noise * rng.normal(size=n), np.full(n, 2))


@pytest.mark.parametrize("edges", [[200], [50, 120, 200], [3, 197, 200], [3, 6], [7, 17, 40, 88, 91, 150]])
def test_noiseless_steps_are_exact(edges):
    assert find_changepoints(steps(edges)) == edges[:-1]


def test_trapping_is_a_changepoint_whatever_k_says():
    pred = prediction(np.zeros(60), np.ones(60), [2] * 20 + [0] * 25 + [2] * 15, certainty=0.999)
    pred.log10_k[20:45] = np.random.default_rng(0).normal(-3, 2, 25)  # untrained there
    assert find_changepoints(pred) == [20, 45]


def test_equals_pelt_with_jump_one():
    for seed in range(10):
        pred = steps([40, 47, 90, 120], seed, noise=0.4)
        signal = stack_channels(pred, DEFAULTS)
        pelt = ruptures.Pelt(model="l2", min_size=3, jump=1).fit_predict(signal, pen=1.2)
        assert find_changepoints(pred, 1.2) == pelt[:-1]


@pytest.mark.parametrize("n_frames", range(1, 6))
def test_tracks_too_short_for_two_segments(n_frames):
    assert find_changepoints(steps([n_frames])) == []
    assert len(segment_many([steps([n_frames])], {})[0]) == 1


def test_scale_does_not_move_changepoints():
    pred = steps([40, 47, 90, 120], 3, noise=0.5)
    before = find_changepoints(pred, 0.8)
    pred.log10_k += 2 * np.log10(0.16)
    assert find_changepoints(pred, 0.8) == before and before


def test_predicted_changepoint_makes_a_step():
    pred = prediction(np.zeros(80), np.ones(80), [2] * 80)
    assert find_changepoints(pred) == []
    pred.p_change[32:35] = 0.2, 0.6, 0.1
    assert find_changepoints(pred) == [33]
    assert find_changepoints(pred, weights=DEFAULTS | {"change": 0.0}) == []


def test_doubt_everywhere_is_no_changepoint():
    pred = prediction(np.zeros(200), np.ones(200), [2] * 200)
    pred.p_change[:] = np.random.default_rng(0).uniform(0, 0.03, 200)
    assert pred.p_change.sum() > 2 and find_changepoints(pred) == []


def test_steps_are_at_peaks_and_as_high_as_probable():
    p_change = np.array([0, 0.1, 0.5, 0.2, 0, 0, 0.04, 0, 0, 0.3])
    assert np.allclose(np.diff(change_steps(p_change, 0.1), prepend=0), [0, 0, 0.8, 0, 0, 0, 0, 0, 0, 0.3])


def test_options_are_checked():
    assert segmentation_options({"segmentation": {"penalty": 2.0}})["penalty"] == 2.0
    with pytest.raises(ValueError, match="penality"):
        segmentation_options({"segmentation": {"penality": 2.0}})
    with pytest.raises(ValueError, match="positive"):
        segmentation_options({"segmentation": {"penalty": 0}})


def test_fit_improves_a_bad_penalty():
    rng = np.random.default_rng(1)
    preds, truths = [], []
    for seed in range(40):
        edges = [int(rng.integers(20, 60)), 100]
        preds.append(steps(edges, seed, noise=0.5))
        truths.append(
            [
                dict(start=a, end=b, k=k, alpha=alpha, state=2)
                for a, b, k, alpha in zip([0, *edges], edges, (1.0, 100.0), (1.0, 0.2), strict=False)
            ]
        )
    table = pd.DataFrame(dict(exp=1, segments=truths))
    bad = {"kind": "test", "segmentation": {"penalty": 0.05}}
    fitted = fit_segmentation(preds, table, bad, n_rounds=1, progress=False)
    assert fitted["kind"] == "test" and bad["segmentation"] == {"penalty": 0.05}
    count = [len(s) for s in segment_many(preds, fitted)]
    assert np.mean(np.array(count) == 2) > 0.9 > np.mean([len(s) == 2 for s in segment_many(preds, bad)])


def test_speed_of_segmentation():
    preds = [steps([60, 110, 200], seed, noise=0.1) for seed in range(300)]
    start = time.process_time()
    segment_many(preds, {})
    assert (
        300 / (time.process_time() - start) > 1000
    )  # >= 2,000 tracks/s on a quiet core; `make bench` measures it
