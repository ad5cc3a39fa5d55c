"""Segment values from frame-wise predictions."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import prediction

from main.tracks.inference.segments import add_change, merge_trapped, segment_values


def test_constant_segments_give_their_values():
    pred = prediction([0] * 10 + [-1] * 8, [1.0] * 10 + [0.5] * 8, [2] * 10 + [1] * 8)
    first, second = segment_values(pred, [10])
    assert (first.start, first.end, second.start, second.end) == (0, 10, 10, 18)
    assert first.k == pytest.approx(1) and second.k == pytest.approx(0.1)
    assert first.alpha == pytest.approx(1) and second.alpha == pytest.approx(0.5)
    assert (first.state, second.state) == (2, 1)


def test_trapped_has_no_diffusion():
    (segment,) = segment_values(prediction([0] * 9, [1.0] * 9, [0] * 9), [])
    assert (segment.k, segment.alpha, segment.state) == (0, 0, 0)


def test_pooling_trusts_the_middle_and_the_untrapped():
    edge = prediction([5, 0, 0, 0, 0, 0, 0, 0, 0, 5], [1] * 10, [2] * 10)
    assert segment_values(edge, [])[0].k < 10 ** np.mean(edge.log10_k)
    mixed = prediction([0] * 6 + [-6] * 4, [1] * 10, [2] * 6 + [0] * 4, certainty=0.999)
    assert segment_values(mixed, [])[0].k == pytest.approx(1, rel=0.05)


def test_scale_moves_k_alone():
    rng = np.random.default_rng(0)
    pred = prediction(rng.normal(size=40), rng.uniform(0.2, 1.8, 40), rng.integers(1, 4, 40), 0.6)
    scaled = SimpleNamespace(**(vars(pred) | {"log10_k": pred.log10_k + 2 * np.log10(0.16)}))
    for a, b in zip(segment_values(pred, [11, 30]), segment_values(scaled, [11, 30]), strict=True):
        assert b.k == pytest.approx(a.k * 0.16**2) and b.alpha == a.alpha and b.state == a.state


@pytest.mark.parametrize("changepoints", [[0], [18], [9, 9], [12, 5], [40]])
def test_bad_changepoints_are_refused(changepoints):
    with pytest.raises(ValueError, match="changepoints"):
        segment_values(prediction([0] * 18, [1] * 18, [2] * 18), changepoints)


def test_one_frame_is_one_segment():
    (segment,) = segment_values(prediction([0.0], [1.0], [2]), [])
    assert (segment.start, segment.end, segment.k) == (0, 1, pytest.approx(1))


def test_trapped_neighbours_are_joined():
    pred = prediction([0] * 20, [1] * 20, [0] * 10 + [2] * 10)
    segments = merge_trapped(segment_values(pred, [4, 10, 15]))
    assert [(s.start, s.end, s.state) for s in segments] == [(0, 10, 0), (10, 15, 2), (15, 20, 2)]


def test_trapped_needs_better_evidence_at_lower_odds():
    pred = prediction([-1.0] * 9, [0.5] * 9, [0] * 9, certainty=0.6)  # P(free) = .13
    assert segment_values(pred, [])[0].state == 0
    free = segment_values(pred, [], trapped_odds=0.2)[0]
    assert free.state != 0 and free.k == pytest.approx(0.1)


def with_changes(mass, n_frames=100):
    """A prediction whose changepoint probability is `mass` (frame: probability)."""
    pred = prediction(np.zeros(n_frames), np.ones(n_frames), [2] * n_frames)
    for frame, p in mass.items():
        pred.p_change[frame] = p
    return pred


def changes(pred, places):
    """p_change_start and change_width of every segment."""
    segments = add_change(pred, segment_values(pred, places))
    return np.array([(s.p_change_start, s.change_width) for s in segments]).T


def test_a_change_has_a_probability_and_a_width():
    pred = with_changes({20: 0.98, 48: 0.1, 50: 0.3, 52: 0.1, 80: 0.01})
    probability, width = changes(pred, [20, 50, 80])
    assert np.isnan([probability[0], width[0]]).all()  # the track's own start
    assert probability[1] > 0.97 and 0.5 < probability[2] < 0.7 and probability[3] < 0.05
    assert width[1] < 0.1 and width[2] == pytest.approx(np.sqrt(0.2 * 4 / 0.5), rel=1e-3)
    assert (np.diff(probability[1:]) < 0).all()


def test_neighbouring_changes_share_no_probability():
    pred = with_changes({40: 0.9, 44: 0.1})
    (first, second) = changes(pred, [40, 44])[0, 1:]
    assert first == pytest.approx(changes(with_changes({40: 0.9}), [40])[0, 1])
    assert second == pytest.approx(changes(with_changes({44: 0.1}), [44])[0, 1])


def test_change_is_placed_on_either_side_alike():
    left, right = changes(with_changes({44: 0.3, 46: 0.5}), [50]), changes(with_changes({56: 0.3, 54: 0.5}), [50])
    assert np.allclose(left, right, equal_nan=True) and left[1, 1] == pytest.approx(np.sqrt(60) / 8, rel=1e-3)


def test_no_changepoint_head_no_probability():
    assert np.isnan(changes(with_changes({}), [30])).all()
