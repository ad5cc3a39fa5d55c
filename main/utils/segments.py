"""Values of segments: one K, one alpha and one state for each stretch between changepoints."""

import numpy as np

TRAPPED = 0


def segment_values(pred, changepoints, trapped_odds=1.0):
    """Pool frame-wise predictions over the segments that the changepoints delimit.

    log10 K and alpha are averaged with parabolic weights, largest in the middle of a segment (frames at its
    ends mix both sides), times the probability of not being trapped (K and alpha are untrained on trapped
    frames). The state is the one of largest summed probability; where trapped wins, K = alpha = 0.

    Parameters
    ----------
    pred : Prediction
        ``log10_k`` (T,) log10 of xy-unit^2/frame^alpha, ``alpha`` (T,) 0 to 2, ``state_probs`` (T, 4).
    changepoints : sequence of int
        Interior changepoints, increasing: the first frame of each new segment, 0 < c < T.
    trapped_odds : float
        Factor on the probability of being trapped when the state is decided: below 1, a segment is called trapped
        (K = 0, a strong claim) only on better evidence than the networks' training mix asks for.

    Returns
    -------
    list of dict
        start, end (exclusive), k (xy-unit^2/frame^alpha), alpha, state, frames counted from 0.

    Raises
    ------
    ValueError
        If the changepoints are not increasing inside the track.

    Source: weighted pooling as in U-AnD-ME (arXiv 2502.19253), the winner of the AnDi-2 challenge.
    """
    n_frames = len(pred.alpha)
    edges = np.array([0, *changepoints, n_frames])
    starts, ends, lengths = edges[:-1], edges[1:], np.diff(edges)
    if (lengths < 1).any():
        raise ValueError(
            f"changepoints {list(changepoints)} do not increase inside a track of {n_frames} frames"
        )
    place = (np.arange(n_frames) - np.repeat(starts, lengths) + 0.5) / np.repeat(
        lengths, lengths
    )  # (T,) in 0..1
    parabola = place * (1 - place)
    probs = np.add.reduceat(pred.state_probs * parabola[:, None], starts)  # (segments, 4)
    weight = parabola * (1 - pred.state_probs[:, TRAPPED] + 1e-3)
    total = np.add.reduceat(weight, starts)
    log10_k = np.add.reduceat(pred.log10_k * weight, starts) / total
    alpha = np.add.reduceat(pred.alpha * weight, starts) / total
    probs[:, TRAPPED] *= trapped_odds
    states = probs.argmax(axis=1)
    free = states != TRAPPED
    k = np.where(free, 10.0**log10_k, 0.0)
    alpha = np.where(free, alpha, 0.0)
    columns = (starts.tolist(), ends.tolist(), k.tolist(), alpha.tolist(), states.tolist())
    return [dict(start=a, end=b, k=c, alpha=d, state=e) for a, b, c, d, e in zip(*columns, strict=True)]


def merge_trapped(segments):
    """Join neighbouring trapped segments: both have K = alpha = 0, so nothing changes between them.

    Parameters
    ----------
    segments : list of dict
        As `segment_values` returns them.

    Returns
    -------
    list of dict
    """
    merged = segments[:1]
    for segment in segments[1:]:
        if segment["state"] == merged[-1]["state"] == TRAPPED:
            merged[-1] = merged[-1] | {"end": segment["end"]}
        else:
            merged.append(segment)
    return merged
