"""Immobile or moving: where the localisation error is known, "trapped" is a test of K = 0 on the positions."""

from dataclasses import replace

import numpy as np
from scipy.special import logit, logsumexp

from main.tracks.inference.motion_evidence import TEST_ALPHAS, is_too_quiet, motion_ratio, shows_motion
from main.tracks.inference.segments import Segment, add_change, merge_trapped, segment_values
from main.tracks.inference.stays import MIN_STAY_FRAMES, find_stays
from simulations.parameters import TRAPPED

MIN_TEST_FRAMES = 20  # a moving segment of fewer frames is not called immobile by the test alone: it sees too little

# Tuned on immobile phases and on benchmark seed 61501; misc/LOG.md, 2026-11-24 (4).
MIN_STAY_LOG_ODDS = -0.5  # of K = 0 to slow motion, from which on stays that the networks did not find count
MIN_STAYING_SHARE = 0.2  # of a segment that networks call trapped, which may hold jumps
SLOW_K = np.geomspace(0.05, 5, 9)  # of slow motion that a stay may be, in units of sigma^2/frame
SLOW_RATIO = 0.1  # of the largest K of a track, below which a segment counts as its slow motion
MIN_CONTRADICTION_NATS = 5.0  # by which positions must prefer K = 0 to the motion decoded with the sample
INNER_MARGIN_FRAMES = 2  # left out on both sides of a segment of the networks, whose borders are a little off
NEAR_BORDER_FRAMES = 8  # a changepoint of the networks this close to the border of a stay is the same changepoint
MIN_ODDS = 2.0  # between being trapped and the most probable other state, in frames whose segment was decided


def decide_immobile(preds, segmented, tracks, sigma) -> tuple[list, list[list[Segment]], np.ndarray]:
    """Decide which stretches of tracks are immobile (trapped), by the test where the localisation error is known.

    A track whose positions are consistent with K = 0 is one trapped segment. In the others, stays are found by
    `find_stays`; segments in which the test finds motion move; those without are trapped if the networks call them
    so, or if they have 20 frames or more and are likelier immobile than slow. Other changepoints stay. Where a track
    was decoded with its sample, whose components say more than a track alone, its changepoints stay.

    Parameters
    ----------
    preds : list of Prediction
    segmented : list of list of Segment
        Segments of each track.
    tracks : list of numpy.ndarray, each shape (T, 2)
        Positions at successive frames, NaN where the particle was not seen.
    sigma : None, float or sequence of float
        Localisation error of all tracks or of each, unit of the positions; None or NaN means unknown.

    Returns
    -------
    preds : list of Prediction
        With probabilities of states that agree with the segments.
    segmented : list of list of Segment
    unclear : numpy.ndarray of bool, shape (N,)
        Whether a track has segments that are not trapped and whose motion its positions do not show: noise of the
        given, or of any localisation error would explain them.
    """
    sigma = np.broadcast_to(np.nan if sigma is None else np.asarray(sigma, dtype=np.float64), len(tracks))
    rows = [_decide(*row) for row in zip(preds, segmented, tracks, sigma, strict=True)]
    preds, segmented, unclear = map(list, zip(*rows, strict=True)) if rows else ([], [], [])
    return preds, segmented, np.array(unclear, dtype=bool)


def _decide(pred, segments, track, sigma):
    """`decide_immobile` of one track."""
    frame = np.flatnonzero(~np.isnan(track[:, 0]))
    xy = np.asarray(track[frame] - track[frame].mean(axis=0), dtype=np.float64)
    if not sigma > 0 or is_too_quiet(xy, sigma):
        return pred, segments, _is_unclear(xy, frame, segments, np.nan)
    xy /= sigma
    if any(s.is_decoded for s in segments):
        segments = _test_decoded(pred, segments, xy, frame, sigma)
        stays = [(s.start, s.end) for s in segments if s.state == TRAPPED]
    else:
        stays = [(0, len(track))]
        if shows_motion(xy, 1.0) or not _is_sure(pred, segments, xy, frame, stays):
            stays = _trapped_stretches(pred, segments, xy, frame, sigma)
        if stays != [(s.start, s.end) for s in segments if s.state == TRAPPED]:
            segments = _segment_again(pred, segments, stays)
    return _agree(pred, stays), segments, _is_unclear(xy, frame, segments, 1.0)


def _test_decoded(pred, segments, xy, frame, sigma) -> list[Segment]:
    """Segments of a track decoded with its sample, with the states that the test of K = 0 leaves.

    A trapped segment that moves gets the values of the networks. One that was decoded as moving is trapped only if its
    positions show no motion and contradict the decoded one.
    """
    moves, values = _inner_motion(segments, xy, frame), _moving_values(pred, segments)
    stand = _stand_mostly(segments, _stays_between(segments, values, moves, xy, frame, sigma))
    tested = []
    for segment, value, motion, stands in zip(segments, values, moves, stand, strict=True):
        if segment.state == TRAPPED:
            tested.append(value if motion and not stands else segment)
            continue
        alpha = np.abs(np.array(TEST_ALPHAS) - segment.alpha).argmin()
        ratio = motion_ratio(_within(xy, frame, segment.start, segment.end), np.array([segment.k / sigma**2]), alpha)
        if not motion and ratio[0] < -MIN_CONTRADICTION_NATS:
            segment = replace(segment, k=0.0, alpha=0.0, state=TRAPPED, decoded_log10_k=None, decoded_alpha=None)
        tested.append(segment)
    return merge_trapped(tested)


def _within(xy, frame, start, end) -> np.ndarray:
    """Positions in the frames from start to end (exclusive)."""
    return xy[slice(*np.searchsorted(frame, (start, end)))]


def _is_unclear(xy, frame, segments, sigma) -> bool:
    """Whether a segment is said to move and its positions do not show it."""
    moving = (s for s in segments if s.state != TRAPPED)
    return any(not shows_motion(_within(xy, frame, s.start, s.end), sigma) for s in moving)


def _inner_motion(segments, xy, frame) -> list[bool]:
    """Whether segments show motion; without the frames at their borders, which the networks place a little off."""
    margins = [min(INNER_MARGIN_FRAMES, s.n_frames // 4) for s in segments]
    inner = [_within(xy, frame, s.start + m, s.end - m) for s, m in zip(segments, margins, strict=True)]
    return [shows_motion(positions, 1.0) for positions in inner]


def _moving_values(pred, segments) -> list[Segment]:
    """The segments with the values and states that they have if they move."""
    return segment_values(pred, [s.start for s in segments[1:]], trapped_odds=0.0)


def _trapped_stretches(pred, segments, xy, frame, sigma) -> list[tuple[int, int]]:
    """Immobile stretches of a track that moves, in frames (first, last + 1), in order; xy in units of sigma."""
    moves = _inner_motion(segments, xy, frame)
    found = _stays_between(segments, _moving_values(pred, segments), moves, xy, frame, sigma)
    stays, unseen = [], []
    for segment, motion, stands in zip(segments, moves, _stand_mostly(segments, found), strict=True):
        ends = (segment.start, segment.end)
        if segment.state == TRAPPED and (not motion or stands):
            stays.append(ends)
        elif not motion and segment.n_frames >= MIN_TEST_FRAMES:
            unseen.append(ends)
    first, last = np.array(found, dtype=int).reshape(-1, 2).T
    inside = _holds_any(stays, first + MIN_STAY_FRAMES, last - MIN_STAY_FRAMES)  # a stay of the networks, about
    new = [stay for stay, known in zip(found, inside, strict=True) if not known]
    new += _apart(unseen, new)
    if new and _log_odds_of_stays(pred, segments, xy, frame, new) > MIN_STAY_LOG_ODDS:
        stays = _unite(stays + new)
    return _join(stays, len(pred.alpha))


def _holds_any(stays, before, after) -> np.ndarray:
    """Whether any of the stays, which are disjoint and in order, starts before and ends after given frames, (N,)."""
    start, end = np.array(stays, dtype=int).reshape(-1, 2).T
    latest = np.searchsorted(start, before) - 1
    return (latest >= 0) & (np.append(end, 0)[latest] > after)


def _apart(stretches, stays) -> list[tuple[int, int]]:
    """Stretches that share no frame with any of the stays, which are disjoint."""
    first, last = np.array(stretches, dtype=int).reshape(-1, 2).T
    shared = _holds_any(sorted(stays), last, first)
    return [stretch for stretch, meets in zip(stretches, shared, strict=True) if not meets]


def _unite(stays) -> list[tuple[int, int]]:
    """Stays in order, those that share frames as one."""
    united = []
    for a, b in sorted(stays):
        if united and a < united[-1][1]:
            a, b = united[-1][0], max(b, united.pop()[1])
        united.append((a, b))
    return united


def _stays_between(segments, values, moves, xy, frame, sigma) -> list[tuple[int, int]]:
    """Stays by `find_stays`, in frames; segments whose motion is not seen count as the nearest one that moves."""
    fast = np.flatnonzero([m and s.state != TRAPPED for s, m in zip(segments, moves, strict=True)])
    if not len(fast):
        return []
    number = np.arange(len(segments))
    after = np.searchsorted(fast, number)
    before, after = fast[np.maximum(after - 1, 0)], fast[np.minimum(after, len(fast) - 1)]
    nearest = np.where(np.abs(number - before) <= np.abs(after - number), before, after)
    k, alpha = np.array([(values[i].k / sigma**2, values[i].alpha) for i in nearest]).T
    edges = np.array([s.start for s in segments] + [segments[-1].end])
    return [(int(frame[a]), int(frame[b - 1]) + 1) for a, b in find_stays(xy, frame, edges, k, alpha)]


def _is_sure(pred, segments, xy, frame, stays) -> bool:
    """Whether stays without visible motion are long enough for the test, or likely enough."""
    shortest = min(b - a for a, b in stays)
    return shortest >= MIN_TEST_FRAMES or _log_odds_of_stays(pred, segments, xy, frame, stays) > MIN_STAY_LOG_ODDS


def _stand_mostly(segments, found) -> np.ndarray:
    """Whether stays fill enough of each segment, if it is called trapped: between them the particle jumps."""
    if not found:
        return np.zeros(len(segments), dtype=bool)
    borders = np.array(found, dtype=float)
    staying = np.repeat(np.cumsum(borders[:, 1] - borders[:, 0]), 2)  # frames of the stays up to each end
    ends = np.array([(s.start, s.end) for s in segments])
    before = np.interp(ends, borders.ravel(), np.append(0.0, staying[:-1]))
    return before[:, 1] - before[:, 0] > MIN_STAYING_SHARE * (ends[:, 1] - ends[:, 0])


def _log_odds_of_stays(pred, segments, xy, frame, stays) -> float:
    """Log odds of K = 0 to one slow motion in all stays.

    Those of the networks, times the likelihood ratio averaged over K. Segments that move much more slowly than the
    fastest of the track count with the stays, because a particle that has a slow motion probably shows it again.
    """
    certain = [s for s in segments if s.state != TRAPPED]
    fastest = max((s.k for s in certain), default=0.0)
    slow = [(s.start, s.end) for s in certain if s.k < SLOW_RATIO * fastest]
    stretches = [_within(xy, frame, *stay) for stay in [*stays, *_apart(slow, stays)]]
    motion = sum(motion_ratio(positions, SLOW_K, TEST_ALPHAS.index(1.0)) for positions in stretches)
    trapped = np.concatenate([pred.state_probs[a:b, TRAPPED] for a, b in stays])
    return float(logit(np.clip(trapped, 1e-6, 1 - 1e-6)).mean() - logsumexp(motion) + np.log(len(SLOW_K)))


def _join(stays, n_frames) -> list[tuple[int, int]]:
    """Stays, joined where too few frames for a segment are between them, and extended to an end that is as near."""
    joined = []
    for a, b in stays:
        a, b = a if a >= MIN_STAY_FRAMES else 0, b if b <= n_frames - MIN_STAY_FRAMES else n_frames
        if joined and a - joined[-1][1] < MIN_STAY_FRAMES:
            joined[-1] = (joined[-1][0], b)
        else:
            joined.append((a, b))
    return joined


def _segment_again(pred, segments, stays) -> list[Segment]:
    """Segments of which the stays are the trapped ones; the other changepoints stay, unless they are near a border."""
    borders = {border for stay in stays for border in stay if 0 < border < len(pred.alpha)}
    before = np.array([s.start for s in segments[1:]], dtype=int)
    near = np.array(sorted(borders.difference(before.tolist())), dtype=float)
    place = np.searchsorted(near, before)
    around = np.concatenate([[-np.inf], near, [np.inf]])
    alone = np.minimum(before - around[place], around[place + 1] - before) > NEAR_BORDER_FRAMES
    kept = before[alone & ~_holds_any(stays, before + 1, before - 1)].tolist()
    values = segment_values(pred, sorted(borders.union(kept)), trapped_odds=0.0)
    trapped = {a for a, _ in stays}
    values = [replace(s, k=0.0, alpha=0.0, state=TRAPPED) if s.start in trapped else s for s in values]
    return add_change(pred, values)


def _agree(pred, stays):
    """Predictions in which trapped is the most probable state of a frame within stays, and of no other frame."""
    inside = np.zeros(len(pred.alpha), dtype=bool)
    for a, b in stays:
        inside[a:b] = True
    trapped, other = pred.state_probs[:, TRAPPED], np.delete(pred.state_probs, TRAPPED, axis=1).max(axis=1)
    wanted = np.where(inside, np.maximum(trapped, MIN_ODDS * other), np.minimum(trapped, other / MIN_ODDS))
    if (wanted == trapped).all():
        return pred
    probs = pred.state_probs.copy()
    probs[:, TRAPPED] = wanted
    return replace(pred, state_probs=probs / probs.sum(axis=1, keepdims=True))
