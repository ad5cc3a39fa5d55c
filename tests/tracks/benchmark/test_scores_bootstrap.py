"""Bootstrap intervals: their point is the official score, they cover it, and differences are paired."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from random_segments import jittered, random_segments

from main.tracks.benchmark.scores import (
    SCORES,
    bootstrap_scores,
    compare_methods,
    fast_scores,
    official_scores,
    score_intervals,
    score_methods,
    score_table,
    scores_of,
    track_sums,
)
from main.tracks.inference.segments import Segment
from main.utils.bootstrap import N_RESAMPLES


@pytest.fixture(scope="module")
def tracks():
    rng = np.random.default_rng(8)
    truths = [random_segments(rng, int(rng.integers(20, 200)), 4) for _ in range(150)]
    return pd.Series(np.repeat([1, 2, 3], [90, 40, 20])), truths, [jittered(rng, t) for t in truths]


def test_sums_give_the_official_scores(tracks):
    _, truths, preds = tracks
    found, official = scores_of(track_sums(truths, preds).sum(axis=0)), official_scores(truths, preds)
    assert 0.1 < official["jsc"] < 0.9 and official["rmse"] > 1
    assert found == pytest.approx([official[name] for name in SCORES], abs=1e-12)


def test_all_hits_without_changepoints():
    truth = [[Segment(start=0, end=30, k=1.0, alpha=1.0, state=2)]] * 4
    assert scores_of(track_sums(truth, truth).sum(axis=0)).tolist() == [1, 0, 0, 0, 1]


def test_resamples_scatter_around_the_score_as_a_direct_bootstrap_does(tracks):
    exp, truths, preds = tracks
    resampled = bootstrap_scores(exp, {"a": track_sums(truths, preds)})["a"]
    assert resampled.shape == (5 * N_RESAMPLES, 5)
    rng, rows = np.random.default_rng(1), np.flatnonzero(exp == 2)
    drawn = [rng.choice(rows, len(rows)) for _ in range(300)]
    direct = pd.DataFrame([fast_scores([truths[i] for i in d], [preds[i] for i in d]) for d in drawn])[list(SCORES)]
    assert np.allclose(resampled.loc[2].std(), direct.std(), rtol=0.2)
    assert np.allclose(resampled.loc[2].mean(), direct.mean(), atol=5 * direct.std() / np.sqrt(300))


def test_weighted_and_mean_are_those_of_the_table(tracks):
    exp, truths, preds = tracks
    table = score_table(pd.DataFrame({"exp": exp, "segments": truths}), preds, fast_scores)
    low, high = score_intervals(bootstrap_scores(exp, {"a": track_sums(truths, preds)})["a"])
    assert low.index.tolist() == table.index.tolist()
    values = table[list(SCORES)].astype(float)
    assert ((low < values) & (values < high)).to_numpy().all()
    assert (high - low).loc["weighted", "jsc"] < (high - low).loc[[1, 2, 3], "jsc"].min()


def test_same_seed_same_intervals_and_same_tracks_for_all_methods(tracks):
    exp, truths, preds = tracks
    sums = track_sums(truths, preds)
    one = bootstrap_scores(exp, {"a": sums}, n_resamples=50)["a"]
    two = bootstrap_scores(exp, {"a": sums, "b": sums}, n_resamples=50)
    for other in two.values():  # a matrix product of another width may round its sums in another order
        pd.testing.assert_frame_equal(one, other, rtol=1e-12)
    assert not one.equals(bootstrap_scores(exp, {"a": sums}, n_resamples=50, seed=1)["a"])


def test_paired_comparison_sees_what_intervals_hide(tracks):
    """Alpha drawn a little towards 1 is right a little more often: beyond doubt, though the intervals overlap."""
    exp, truths, preds = tracks
    closer = [[replace(s, alpha=1 + 0.98 * (s.alpha - 1)) for s in p] for p in preds]
    table = pd.DataFrame({"exp": exp, "segments": truths})
    scores = score_methods(table, {"a": closer, "b": preds}, {"a": fast_scores, "b": official_scores})
    result = compare_methods(scores["a"], scores["b"]).set_index(["exp", "score"])
    weighted = result.loc[("weighted", "mae_alpha")]
    low, high = scores["a"].bounds("weighted", "mae_alpha")
    assert low < weighted["reference"] < high
    assert weighted["verdict"] == "better" and weighted["low"] < weighted["difference"] < weighted["high"] < 0
    assert (result.xs("jsc", level="score")["verdict"] == "within").all()
    back = compare_methods(scores["b"], scores["a"]).set_index(["exp", "score"])
    assert back.loc[("weighted", "mae_alpha"), "verdict"] == "worse"
