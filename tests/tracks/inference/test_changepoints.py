"""Changepoints: exact on noiseless steps, drawn by their probability, placed where only their number is certain."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from helpers import prediction

from main.tracks.benchmark.fit_segmentation import fit_segmentation
from main.tracks.inference.changepoints import (
    DEFAULTS,
    add_unplaced,
    change_gain,
    find_changepoints,
    find_many,
    segment_many,
    segmentation_options,
    stack_channels,
)
from main.tracks.inference.segments import Segment


def steps(edges, seed=0, noise=0.0):
    """A prediction that steps at the given frames (last: the length)."""
    rng = np.random.default_rng(seed)
    lengths = np.diff([0, *edges])
    log10_k = np.repeat(np.arange(len(lengths)) % 2 * 2.0, lengths)
    alpha = np.repeat(1 - np.arange(len(lengths)) % 2 * 0.8, lengths)
    n = edges[-1]
    return prediction(log10_k + noise * rng.normal(size=n), alpha + noise * rng.normal(size=n), np.full(n, 2))


def doubtful(mass, n_frames=100):
    """A prediction without contrast whose changepoint probability is spread like `mass` (frame: probability)."""
    pred = prediction(np.zeros(n_frames), np.ones(n_frames), [2] * n_frames)
    for frame, p in mass.items():
        pred.p_change[frame] = p
    return pred


@pytest.mark.parametrize("edges", [[200], [50, 120, 200], [3, 197, 200], [3, 6], [7, 17, 40, 88, 91, 150]])
def test_noiseless_steps_are_exact(edges):
    pred = steps(edges)
    assert find_changepoints(pred, penalty=1.0) == edges[:-1]  # no changepoint head
    pred.p_change[edges[:-1]] = 0.3
    assert find_changepoints(pred) == edges[:-1]


def test_trapping_is_a_changepoint_whatever_k_says():
    pred = prediction(np.zeros(60), np.ones(60), [2] * 20 + [0] * 25 + [2] * 15, certainty=0.999)
    pred.log10_k[20:45] = np.random.default_rng(0).normal(-3, 2, 25)  # untrained there
    assert find_changepoints(pred) == [20, 45]


@pytest.mark.parametrize("n_frames", range(1, 6))
def test_tracks_too_short_for_two_segments(n_frames):
    assert find_changepoints(steps([n_frames])) == []
    assert len(segment_many([steps([n_frames])], {})[0]) == 1


def test_no_tracks_no_segments():
    assert segment_many([], {}) == []


def test_scale_does_not_move_changepoints():
    pred = steps([40, 47, 90, 120], 3, noise=0.5)
    before = find_changepoints(pred, 0.8)
    pred.log10_k += 2 * np.log10(0.16)
    assert find_changepoints(pred, 0.8) == before and before


def test_company_does_not_matter():
    preds = [steps([n // 2, n], n, noise=0.6) for n in (150, 6, 40, 200, 3, 90)] + [doubtful({30: 0.4, 31: 0.3})]
    assert find_many(preds, DEFAULTS) == [find_changepoints(pred) for pred in preds]


def test_predicted_changepoint_is_one_without_contrast():
    assert find_changepoints(doubtful({})) == []
    assert find_changepoints(doubtful({32: 0.2, 33: 0.6, 34: 0.1})) == [33]
    assert find_changepoints(doubtful({33: 0.2}), weights=DEFAULTS | {"unplaced": 0.0}) == []


def test_one_peak_is_one_changepoint():
    assert len(find_changepoints(doubtful({31: 0.1, 32: 0.3, 33: 0.35, 34: 0.2}))) == 1
    assert find_changepoints(doubtful({32: 0.9, 37: 0.9})) == [32, 37]


def test_contrast_and_probability_add_up():
    alone = {29: 0.05, 30: 0.1, 31: 0.05}
    contrast = prediction([0.0] * 30 + [0.45] * 30, [1.0] * 60, [2] * 60)
    assert find_changepoints(doubtful(alone, 60)) == [] == find_changepoints(contrast)
    contrast.p_change[29:32] = list(alone.values())
    assert find_changepoints(contrast) == [30]


def test_gain_is_the_log_odds_of_a_change_nearby_over_those_where_nothing_is_known():
    """Odds are counted in a million draws of the place of one changepoint; changepoints elsewhere take the rest."""
    p_change = np.zeros(20)
    p_change[8:13] = 0.02, 0.08, 0.3, 0.15, 0.05
    drawn = np.random.default_rng(0).choice(21, 10**6, p=[*p_change, 1 - p_change.sum()])
    unknown = np.random.default_rng(1).choice(21, 10**6, p=[*np.full(20, 0.01), 0.8])
    gain = change_gain(p_change)
    for frame in range(8, 13):
        near, near_unknown = (np.abs(places - frame) <= 1 for places in (drawn, unknown))
        odds_ratio = near.sum() / (~near).sum() / (near_unknown.sum() / (~near_unknown).sum())
        at_frame = np.mean(drawn == frame) / np.mean(unknown == frame)
        assert gain[frame] == pytest.approx(np.log(odds_ratio) + 0.1 * np.log(at_frame), abs=0.05)
    assert gain.argmax() == 10 and gain[5] < 0
    assert change_gain(np.full(20, 0.01))[1:-1] == pytest.approx(0)  # nothing is known
    assert not change_gain(np.zeros(20)).any()  # without a changepoint head: the price alone


def test_changepoints_are_the_best_of_all_partitions():
    """Squared deviations, prices and gains of every partition of short tracks, computed one by one."""
    rng = np.random.default_rng(2)
    options = DEFAULTS | {"unplaced": 0.0, "penalty": 4.0}
    found, best = [], []
    every = [c for r in range(5) for c in combinations(range(3, 11), r) if (np.diff([0, *c, 13]) >= 3).all()]
    for _ in range(30):
        pred = prediction(rng.normal(0, 1, 13), rng.uniform(0.2, 1.8, 13), rng.integers(0, 4, 13))
        pred.p_change[:] = rng.uniform(0, 0.4, 13) ** 2
        channels, gain = stack_channels(pred, options), change_gain(pred.p_change)

        def cost(places, channels=channels, gain=gain):
            parts = np.split(channels, places)
            return sum(((p - p.mean(axis=0)) ** 2).sum() for p in parts) + sum(4.0 - gain[c] for c in places)

        best.append(list(min(every, key=cost)))
        found.append(find_many([pred], options)[0])
    assert found == best and len({len(places) for places in best}) > 2


def test_doubt_everywhere_is_no_changepoint():
    pred = prediction(np.zeros(200), np.ones(200), [2] * 200)
    pred.p_change[:] = np.random.default_rng(0).uniform(0, 0.03, 200)
    assert pred.p_change.sum() > 2 and find_changepoints(pred) == []


def test_probable_but_unplaced():
    spread = dict.fromkeys(range(40, 56), 0.06)  # .96 within 16 frames
    assert find_changepoints(doubtful(spread), weights=DEFAULTS | {"unplaced": 0.0}) == []
    (place,) = find_changepoints(doubtful(spread))
    assert 46 <= place <= 49
    assert find_changepoints(doubtful({f: 0.5 * p for f, p in spread.items()})) == []


def test_what_is_accounted_for_is_not_placed_again():
    pred = doubtful(dict.fromkeys(range(40, 56), 0.05) | {80: 0.9})
    assert add_unplaced([pred], [[48, 80]], 0.7) == [[48, 80]]
    assert add_unplaced([pred], [[80]], 0.7) == [[48, 80]]
    assert add_unplaced([pred], [[]], 0.7) == [[48, 80]]


def test_one_long_track_among_many_costs_what_it_costs_alone():
    """Short tracks are not padded to the length of the longest, which would be 10^8 frames here."""
    preds = [doubtful({40: 0.9})] * 5000 + [doubtful({40: 0.9}, n_frames=20_000)]
    assert add_unplaced(preds, [[]] * len(preds), 0.7) == [[40]] * len(preds)


def test_segments_have_three_frames():
    rng = np.random.default_rng(5)
    for _ in range(40):
        pred = doubtful({}, 60)
        pred.p_change[:] = rng.uniform(0, 0.5, 60) ** 2
        lengths = [s.end - s.start for s in segment_many([pred], {"segmentation": {"penalty": 0.5}})[0]]
        assert min(lengths) >= 3 and sum(lengths) == 60


def test_options_are_checked():
    assert segmentation_options({"segmentation": {"penalty": 2.0}})["penalty"] == 2.0
    with pytest.raises(ValueError, match="penality"):
        segmentation_options({"segmentation": {"penality": 2.0}})
    with pytest.raises(ValueError, match="change_floor.*anew"):  # of weights fitted before
        segmentation_options({"segmentation": {"change_floor": 0.1}})
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
                Segment(start=a, end=b, k=k, alpha=alpha, state=2)
                for a, b, k, alpha in zip([0, *edges], edges, (1.0, 100.0), (1.0, 0.2), strict=False)
            ]
        )
    table = pd.DataFrame(dict(exp=1, segments=truths))
    bad = {"kind": "test", "segmentation": {"penalty": 0.5}}
    fitted = fit_segmentation(preds, table, bad, n_rounds=2, progress=False)
    assert fitted["kind"] == "test" and bad["segmentation"] == {"penalty": 0.5}
    count = [len(s) for s in segment_many(preds, fitted)]
    assert np.mean(np.array(count) == 2) > 0.9 > np.mean([len(s) == 2 for s in segment_many(preds, bad)])


def test_many_tracks_at_once_give_what_each_gives_alone():
    """300 tracks of many lengths, in groups of 128: padding and neighbours change nothing."""
    rng = np.random.default_rng(4)
    preds = []
    for seed in range(300):
        edges = np.cumsum(rng.integers(3, 80, 3)).tolist()
        preds.append(steps(edges, seed, noise=0.3))
        preds[-1].p_change[:] = rng.uniform(0, 0.3, edges[-1]) ** 2
    together = segment_many(preds, {})
    assert np.mean([len(segments) for segments in together]) > 2
    for pred, segments in zip(preds, together, strict=True):
        for a, b in zip(segments, segment_many([pred], {})[0], strict=True):
            assert (a.start, a.end, a.state) == (b.start, b.end, b.state)
            assert (a.k, a.alpha, a.p_change_start) == pytest.approx((b.k, b.alpha, b.p_change_start), nan_ok=True)
