"""Segments: one K, one alpha and one state for the frames between two changepoints, and how sure they are."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from simulations.parameters import TRAPPED

START_REACH = 5  # frames; `p_change_start` is the probability of a changepoint at most this far from a segment's start
WIDTH_REACH = 9  # frames on either side of a changepoint over which its width is taken
# Offset and slope that turn the log-odds of the summed probability of a changepoint into those of a true changepoint
# near the start; fitted on tracks of the AnDi-2 experiments.
CHANGE_LOG_ODDS = (0.5, 0.9)


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames of one track that share one motion.

    Parameters
    ----------
    start, end : int
        First frame, and the frame after the last one, counted from the first frame of the track.
    k : float
        Generalised diffusion coefficient, xy-unit^2/frame^alpha; 0 if trapped.
    alpha : float
        Anomalous exponent, 0 to 2; 0 if trapped.
    state : int
        Index into `simulations.parameters.STATES`.
    k_lo, k_hi, alpha_lo, alpha_hi : float
        Ends of the 90 % intervals of k and alpha; NaN where there are none. Those of alpha may lie beyond 0 and 2.
    correlation : float
        Correlation of the errors of log10 k and alpha.
    p_change_start : float
        Probability that a changepoint lies within 5 frames of the start; NaN for the first segment of a track.
    change_width : float
        Standard deviation of the place of the changepoint at the start, frames; NaN for the first segment.
    decoded_log10_k, decoded_alpha : (float, float) or None
        5 % and 95 % quantiles of the posterior, where the segment was decoded with the mixture of its sample.
    """

    start: int
    end: int
    k: float
    alpha: float
    state: int
    k_lo: float = np.nan
    k_hi: float = np.nan
    alpha_lo: float = np.nan
    alpha_hi: float = np.nan
    correlation: float = 0.0
    p_change_start: float = np.nan
    change_width: float = np.nan
    decoded_log10_k: tuple[float, float] | None = None
    decoded_alpha: tuple[float, float] | None = None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.end - self.start

    @property
    def is_decoded(self) -> bool:
        """Whether its values come from the mixture of its sample."""
        return self.decoded_alpha is not None


def segment_weights(starts, ends) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the frames of consecutive segments: largest in the middle, 0 at the borders.

    Frames near a changepoint mix the motions of both sides, so they count less.

    Parameters
    ----------
    starts, ends : array of int, shape (S,)
        First frame, and the frame after the last one; each segment starts where the one before ends.

    Returns
    -------
    parabola : numpy.ndarray, shape (T,)
        x (1 - x) at the place x (0 to 1) of each frame in its segment: the weight of state probabilities.
    square : numpy.ndarray, shape (T,)
        Its square: the weight of log10 K, of alpha and of the widths of their intervals.

    Source: weighted pooling of U-AnD-ME (arXiv 2502.19253), the winner of the AnDi-2 challenge.
    """
    starts = np.asarray(starts)
    lengths = np.asarray(ends) - starts
    frame = np.arange(starts[0], starts[0] + lengths.sum())
    place = (frame - np.repeat(starts, lengths) + 0.5) / np.repeat(lengths, lengths)  # (T,) in 0..1
    parabola = place * (1 - place)
    return parabola, parabola**2


def pooled_mean(values, pred, square, starts) -> np.ndarray:
    """Mean of frame-wise values (T,) over each segment, shape (S,).

    The weights are those of `segment_weights`, times the probability of not being trapped: K and alpha are not trained
    on trapped frames.
    """
    weight = square * (1 - pred.state_probs[:, TRAPPED] + 1e-3)
    return np.add.reduceat(values * weight, starts) / np.add.reduceat(weight, starts)


def segment_values(pred, changepoints, trapped_odds=1.0) -> list[Segment]:
    """Pool frame-wise predictions over the segments that the changepoints delimit.

    log10 K and alpha are averaged by `pooled_mean`. The state is the one of largest summed probability, with parabolic
    weights; where trapped wins, K = alpha = 0.

    Parameters
    ----------
    pred : Prediction
        ``log10_k`` (T,) log10 of xy-unit^2/frame^alpha, ``alpha`` (T,) 0 to 2, ``state_probs`` (T, 4).
    changepoints : sequence of int
        Interior changepoints, increasing: the first frame of each new segment, 0 < c < T.
    trapped_odds : float
        Factor on the probability of being trapped when the state is decided. Below 1, a segment is called trapped
        (K = 0, a strong claim) only on better evidence than the networks' training mix asks for.

    Returns
    -------
    list of Segment

    Raises
    ------
    ValueError
        If the changepoints are not increasing inside the track.
    """
    n_frames = len(pred.alpha)
    edges = np.array([0, *changepoints, n_frames])
    starts, ends = edges[:-1], edges[1:]
    if (ends <= starts).any():
        raise ValueError(f"changepoints {list(changepoints)} do not increase inside a track of {n_frames} frames")
    parabola, square = segment_weights(starts, ends)
    probs = np.add.reduceat(pred.state_probs * parabola[:, None], starts)  # (segments, 4)
    log10_k, alpha = (pooled_mean(values, pred, square, starts) for values in (pred.log10_k, pred.alpha))
    probs[:, TRAPPED] *= trapped_odds
    states = probs.argmax(axis=1)
    moving = states != TRAPPED
    k, alpha = np.where(moving, 10.0**log10_k, 0.0), np.where(moving, alpha, 0.0)
    return list(map(Segment, *(column.tolist() for column in (starts, ends, k, alpha, states))))


def add_change(pred, segments: list[Segment]) -> list[Segment]:
    """Segments with the probability and the width of the changepoint at which each starts.

    Both are taken from ``p_change``, up to half way to the next changepoint.

    Parameters
    ----------
    pred : Prediction
        ``p_change`` (T,), 0 everywhere where the networks have no such head.
    segments : list of Segment
        Of the whole track, in order.

    Returns
    -------
    list of Segment
        With p_change_start and change_width; NaN for the first segment, which starts with the track, and where the
        networks have no such head.
    """
    if len(segments) == 1 or not pred.p_change.any():
        return list(segments)
    start = np.array([segment.start for segment in segments[1:]])
    n_frames = len(pred.p_change)
    middle = (start[1:] + start[:-1] + 1) // 2
    first, last = np.append(0, middle), np.append(middle, n_frames)  # frames that are nearest to each changepoint
    offset = np.arange(-WIDTH_REACH, WIDTH_REACH + 1)
    frame = start[:, None] + offset  # (S - 1, 2 WIDTH_REACH + 1)
    nearest = (frame >= first[:, None]) & (frame < last[:, None])
    p_near = np.where(nearest, pred.p_change[np.clip(frame, 0, n_frames - 1)], 0.0)
    mass = p_near[:, np.abs(offset) <= START_REACH].sum(axis=1)
    base, slope = CHANGE_LOG_ODDS
    probability = expit(base + slope * logit(np.clip(mass, 0.01, 0.99)))
    weight = np.maximum(p_near.sum(axis=1), 1e-300)
    mean, square = (p_near @ offset**power / weight for power in (1, 2))
    width = np.sqrt(np.maximum(square - mean**2, 0.0))
    columns = (segments[1:], probability.tolist(), width.tolist())
    later = [replace(s, p_change_start=p, change_width=w) for s, p, w in zip(*columns, strict=True)]
    return [segments[0], *later]


def merge_trapped(segments: list[Segment]) -> list[Segment]:
    """Join neighbouring trapped segments: both have K = alpha = 0, so nothing changes between them."""
    merged = segments[:1]
    for segment in segments[1:]:
        if segment.state == merged[-1].state == TRAPPED:
            merged[-1] = replace(merged[-1], end=segment.end)
        else:
            merged.append(segment)
    return merged


def true_changepoints(truth) -> list[int]:
    """First frames of new segments: where k (T,), alpha (T,) or state (T,) differ from the frame before."""
    labels = np.stack([np.asarray(truth[name], dtype=float) for name in ("k", "alpha", "state")])
    return (np.flatnonzero((np.diff(labels, axis=1) != 0).any(axis=0)) + 1).tolist()
