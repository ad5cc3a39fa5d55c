"""Immobile or moving: the false rate and the power of the test, stays inside moving tracks, and what stays as it is."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from main.tracks.analysis import analyse
from main.tracks.inference.immobile import MIN_STAYING_SHARE, _apart, _stand_mostly, _unite, decide_immobile
from main.tracks.inference.motion_evidence import TEST_ALPHAS, motion_ratio, power_of_test, shows_motion
from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment
from main.tracks.inference.stays import find_stays
from misc.known_tracks import beads, fractional, immobile_phase, localise

SIGMA = 0.03


def prediction(n_frames, p_trapped=0.3, log10_k=0.0):
    """A prediction of free motion, with a share of doubt."""
    probs = np.tile([p_trapped, 0.05, 0.9 - p_trapped, 0.05], (n_frames, 1))
    return Prediction(np.full(n_frames, log10_k), np.ones(n_frames), probs, np.zeros(n_frames))


def decide(track, sigma, edges=(), states=None, pred=None):
    """Segments and doubt of one track that the networks cut at `edges`; K is that of the prediction."""
    pred = pred or prediction(len(track))
    borders = [0, *edges, len(track)]
    states = states or [2] * (len(borders) - 1)
    rows = zip(borders, borders[1:], states, strict=False)
    segments = [Segment(a, b, 10.0 ** pred.log10_k[a] * (s > 0), 1.0 * (s > 0), s) for a, b, s in rows]
    preds, decided, unclear = decide_immobile([pred], [segments], [track], sigma)
    return preds[0], decided[0], unclear[0]


def test_evidence_is_the_exact_likelihood_of_brownian_steps():
    rng, k = np.random.default_rng(0), 0.4
    xy = np.cumsum(rng.normal(0, 0.9, (12, 2)), axis=0) + rng.normal(size=(12, 2))
    still = 2 * np.eye(11) - np.eye(11, k=1) - np.eye(11, k=-1)
    logs = [multivariate_normal(cov=still + 2 * q * np.eye(11)).logpdf(np.diff(xy, axis=0).T).sum() for q in (k, 0.0)]
    assert motion_ratio(xy, np.array([k]), TEST_ALPHAS.index(1.0))[0] == pytest.approx(logs[0] - logs[1])


@pytest.mark.parametrize("n_frames", [5, 30, 200])
@pytest.mark.parametrize("factor", [1.0, 1.05, 0.95])
def test_beads_are_rarely_said_to_move(n_frames, factor):
    """2 % or fewer although sigma is 5 % wrong; 4 % of 500 is 3 standard deviations above."""
    errors = np.random.default_rng(n_frames).normal(0, factor * SIGMA, (500, n_frames, 2))
    assert np.mean([shows_motion(xy, SIGMA) for xy in errors]) < 0.04


def test_power_grows_with_motion_and_length():
    power = power_of_test([0.0, 0.01, 0.1, 1.0], [10, 50, 200], n_tracks=200)
    assert (np.diff(power, axis=0) > -0.03).all() and (np.diff(power[1:], axis=1) > -0.05).all()
    assert power[0].max() < 0.05 and power[2, 1] > 0.95 and power[1, 0] < 0.1 < 0.9 < power[1, 2]


def test_a_pause_is_found_where_it_is():
    tracks, masks = immobile_phase(30, 100, 20, np.random.default_rng(1), step=10.0)
    tracks = localise(tracks, 1.0, np.random.default_rng(2))
    k = np.array([50.0])
    for track, mask in zip(tracks, masks, strict=True):
        (stay,) = find_stays(track, np.arange(100), np.array([0, 100]), k, np.ones(1))
        true = np.flatnonzero(mask)
        assert abs(stay[0] - true[0]) <= 1 and abs(stay[1] - 1 - true[-1]) <= 1


def test_a_bead_is_one_trapped_segment_whatever_the_networks_say():
    (track,) = localise(beads(1, 60), SIGMA, np.random.default_rng(3))
    pred, segments, unclear = decide(track, SIGMA, edges=[20, 33], states=[2, 0, 1])
    assert [(s.start, s.end, s.k, s.alpha, s.state) for s in segments] == [(0, 60, 0.0, 0.0, 0)] and not unclear
    assert (pred.state_probs.argmax(axis=1) == 0).all() and np.allclose(pred.state_probs.sum(axis=1), 1)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 1.6])
def test_motion_is_not_trapped_whatever_the_networks_say(alpha):
    for track in localise(fractional(20, 100, alpha, np.random.default_rng(4)), SIGMA, np.random.default_rng(5)):
        pred = prediction(100, 0.8, np.log10(0.5 * 0.15**2))
        decided, segments, unclear = decide(track, SIGMA, states=[0], pred=pred)
        assert all(s.state != 0 and s.k > 0 for s in segments) and not unclear
        assert (decided.state_probs.argmax(axis=1) != 0).all()


def test_phases_are_found_in_missing_frames_and_any_unit():
    tracks, masks = immobile_phase(60, 100, 30, np.random.default_rng(6))
    rng, shares = np.random.default_rng(7), []
    for track, mask in zip(localise(tracks, SIGMA, rng), masks, strict=True):
        track[1:-1][rng.random(98) < 0.1] = np.nan
        found = [decide(c * track, c * SIGMA, pred=prediction(100, 0.3, np.log10(c**2 * 0.01)))[1] for c in (1.0, 1e3)]
        assert [(s.start, s.end, s.state) for s in found[0]] == [(s.start, s.end, s.state) for s in found[1]]
        states = np.repeat([s.state for s in found[0]], [s.n_frames for s in found[0]])
        shares.append([(states[mask] == 0).mean(), (states[~mask] == 0).mean()])
    inside, outside = np.mean(shares, axis=0)
    assert inside > 0.9 and outside < 0.03


def test_changepoints_far_from_a_stay_stay():
    (track,), (mask,) = immobile_phase(1, 200, 40, np.random.default_rng(8))
    first = int(np.flatnonzero(mask)[0])
    (track,) = localise([track], SIGMA, np.random.default_rng(9))
    cut = first - 20 if first > 40 else first + 80
    segments = decide(track, SIGMA, edges=[cut], pred=prediction(200, 0.3, np.log10(0.01)))[1]
    assert cut in [s.start for s in segments] and 0 in [s.state for s in segments]


def test_without_sigma_nothing_changes_and_doubt_is_said():
    (bead,) = localise(beads(1, 60), SIGMA, np.random.default_rng(10))
    (free,) = fractional(1, 60, 1.0, np.random.default_rng(11))
    for track, doubt in ((bead, True), (free, False)):
        pred, segments, unclear = decide(track, None, edges=[30])
        assert [(s.start, s.state, s.k) for s in segments] == [(0, 2, 1.0), (30, 2, 1.0)] and unclear == doubt
        assert pred.state_probs is not None and (pred.state_probs.argmax(axis=1) == 2).all()


def test_a_sigma_that_is_far_too_large_decides_nothing():
    (track,) = localise(beads(1, 60), SIGMA, np.random.default_rng(12))
    assert decide(track, 2 * SIGMA)[1][0].state == 2


def test_decoded_segments_keep_their_motion_unless_positions_contradict_it():
    (track,) = localise(beads(1, 60), 1.0, np.random.default_rng(13))
    for k, state in ((0.01, 2), (10.0, 0)):
        decoded = Segment(0, 60, k, 1.0, 2, decoded_log10_k=(-1.0, 1.0), decoded_alpha=(0.9, 1.1))
        _, ((segment,),), _ = decide_immobile([prediction(60)], [[decoded]], [track], 1.0)
        assert segment.state == state and segment.k == (k if state else 0.0)


def test_no_tracks():
    preds, segments, unclear = decide_immobile([], [], [], None)
    assert preds == segments == [] and len(unclear) == 0


def test_tables_of_beads_and_walkers():
    rng = np.random.default_rng(14)
    tracks = localise(beads(20, 40) + fractional(20, 40, 1.0, rng), SIGMA, rng)
    rows = [pd.DataFrame({"track_id": i, "frame": range(40), "x": t[:, 0], "y": t[:, 1]}) for i, t in enumerate(tracks)]
    table = pd.concat(rows)
    result = analyse(table, localization_error=SIGMA, weights="fast")
    still = (result.points["state"] == 0).groupby(result.points["track_id"]).mean()
    assert still[:20].mean() > 0.95 and still[20:].mean() < 0.02
    state = result.points.merge(result.segments, on=["track_id", "segment_id"])
    assert ((state["state_x"] == 0) == (state["state_y"] == 0)).all()
    unknown = analyse(table, weights="fast").tracks["warnings"].str.contains("immobile_or_moving_unclear")
    assert unknown[:20].mean() > 0.8 and unknown[20:].mean() < 0.1


def test_stays_are_compared_as_each_with_each():
    """Random disjoint stretches of frames, some of which touch; every pair is tried here."""
    rng = np.random.default_rng(13)
    for _ in range(100):
        stays, others = (
            [(int(a), int(b)) for a, b in zip(edges, edges[1:], strict=False) if rng.random() < 0.6]
            for edges in (np.sort(rng.choice(60, rng.integers(2, 12), replace=False)) for _ in range(2))
        )
        meets = [any(c < b and a < d for c, d in stays) for a, b in others]
        assert _apart(others, stays) == [other for other, met in zip(others, meets, strict=True) if not met]
        segments = [Segment(a, b, 1.0, 1.0, 2) for a, b in others]
        covered = [sum(max(0, min(b, d) - max(a, c)) for c, d in stays) for a, b in others]
        mostly = [n > MIN_STAYING_SHARE * (b - a) for n, (a, b) in zip(covered, others, strict=True)]
        assert not segments or _stand_mostly(segments, stays).tolist() == mostly
        united = np.zeros((2, 60), bool)
        for row, stretches in zip(united, (stays + others, _unite(stays + others)), strict=True):
            for a, b in stretches:
                row[a:b] = True
        assert np.array_equal(*united)
        assert all(b <= c for (_, b), (c, _) in zip(_unite(stays + others), _unite(stays + others)[1:], strict=False))
