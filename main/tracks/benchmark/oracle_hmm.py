"""Oracle hidden Markov model (HMM): the most likely states of every track, given the parameters of its experiment.

A reference, not a method for real data: K, alpha, state and transition matrix of each experiment are computed from its
labels. Displacements are taken as independent Gaussians of variance 2K + 2 sigma^2, and all particles of one state as
alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from main.tracks.inference.segments import Segment
from simulations.labels import label_filter
from simulations.parameters import STEP_ENDS_AT_LABEL


@dataclass(frozen=True)
class HMM:
    """Parameters of S states.

    Parameters
    ----------
    k, alpha : numpy.ndarray, shape (S,)
        px^2/frame^alpha; 0 for the trapped state.
    state : numpy.ndarray of int, shape (S,)
        Diffusive state, 0 to 3.
    start : numpy.ndarray, shape (S,)
        Probability of each state at the first frame.
    transition : numpy.ndarray, shape (S, S)
        Probability of column after row, per frame; rows sum to 1.
    """

    k: np.ndarray
    alpha: np.ndarray
    state: np.ndarray
    start: np.ndarray
    transition: np.ndarray


def state_of_segments(segments: list[Segment], ensemble: np.ndarray) -> np.ndarray:
    """State of the experiment to which each true segment belongs: the one that most likely gave its K and alpha.

    Parameters
    ----------
    segments : list of Segment
        k, alpha of every true segment.
    ensemble : (5, S) array
        Mean and variance of alpha, mean and variance of K, share of frames, as in ``ensemble_labels.txt``.

    Returns
    -------
    numpy.ndarray of int, shape (len(segments),)
    """
    alpha_mean, alpha_var, k_mean, k_var, share = np.asarray(ensemble, float)
    values = np.array([[s.alpha, s.k] for s in segments])  # (M, 2)
    mean, variance = np.stack([alpha_mean, k_mean]), np.maximum(np.stack([alpha_var, k_var]), 1e-9)  # (2, S)
    distance = (values[:, :, None] - mean) ** 2 / variance  # (M, 2, S)
    density = np.log(np.maximum(share, 1e-9)) - 0.5 * (distance + np.log(variance)).sum(axis=1)
    return density.argmax(axis=1)


def read_hmm(tracks: list[list[Segment]], ensemble: np.ndarray) -> HMM:
    """Compute the parameters of one experiment from the labels of all its tracks.

    Parameters
    ----------
    tracks : sequence of list of Segment
        True segments (start, end exclusive, k, alpha, state).
    ensemble : (5, S) array
        As for `state_of_segments`; used only to tell which segments belong together.

    Returns
    -------
    HMM
        K and alpha averaged over frames; states that never occur are left out.
    """
    flat = [s for segments in tracks for s in segments]
    index = state_of_segments(flat, ensemble)
    present, index = np.unique(index, return_inverse=True)
    n_states = len(present)
    frames = np.array([s.n_frames for s in flat], float)
    total = np.bincount(index, frames)
    k, alpha = (np.bincount(index, frames * [getattr(s, name) for s in flat]) / total for name in ("k", "alpha"))
    votes = np.zeros((n_states, 4))
    np.add.at(votes, (index, [s.state for s in flat]), frames)
    first = np.array([s.start == 0 for s in flat])
    transition = np.diag(np.bincount(index, frames - 1)) + 1e-3  # a segment of n frames stays n - 1 times
    changes = np.flatnonzero(~first[1:])
    np.add.at(transition, (index[changes], index[changes + 1]), 1.0)
    start = np.bincount(index[first], minlength=n_states) + 0.5
    return HMM(k, alpha, votes.argmax(1), start / start.sum(), transition / transition.sum(1, keepdims=True))


def log_emission(tracks: list[np.ndarray], k: np.ndarray, sigma: float, step_before: bool) -> np.ndarray:
    """Log density of the displacement that each state governs at each frame, of padded tracks.

    Parameters
    ----------
    tracks : sequence of (T, 2) array
        Positions of N tracks, px.
    k : (S,) array
        px^2/frame^alpha, 0 if trapped.
    sigma : float
        Localisation error, px.
    step_before : bool
        Whether the state at a frame governs the step that ends at this frame, or the step that starts there.

    Returns
    -------
    numpy.ndarray, shape (N, T, S)
        0 where there is no step (one end of a track, padding).
    """
    variance = 2 * np.asarray(k) + 2 * sigma**2  # per coordinate and step
    square = np.full((len(tracks), max(map(len, tracks))), np.nan)  # (N, T)
    for row, xy in zip(square, tracks, strict=True):
        first = 1 if step_before else 0
        row[first : first + len(xy) - 1] = (np.diff(xy, axis=0) ** 2).sum(axis=1)
    return np.nan_to_num(-square[..., None] / (2 * variance) - np.log(variance) * np.isfinite(square)[..., None])


def viterbi(emission: np.ndarray, lengths: np.ndarray, start: np.ndarray, transition: np.ndarray) -> np.ndarray:
    """Most likely sequence of states of every track.

    Parameters
    ----------
    emission : (N, T, S) array
        Log densities.
    lengths : (N,) array of int
        Frames of each track.
    start : (S,) array
        Probability of each state at the first frame.
    transition : (S, S) array
        Probability of column after row.

    Returns
    -------
    numpy.ndarray of int, shape (N, T)
        Past the end of a track its last state is repeated.

    Source: Rabiner, Proc. IEEE 77, 257 (1989), eq. 32-35.
    """
    n_tracks, n_frames, n_states = emission.shape
    log_transition = np.log(transition)
    score = np.log(start) + emission[:, 0]  # (N, S)
    origin = np.empty((n_tracks, n_frames, n_states), np.int8)
    stay = np.arange(n_states)
    for t in range(1, n_frames):
        paths = score[:, :, None] + log_transition  # (N, from, to)
        inside = (t < lengths)[:, None]
        origin[:, t] = np.where(inside, paths.argmax(axis=1), stay)
        score = np.where(inside, paths.max(axis=1) + emission[:, t], score)
    states = np.empty((n_tracks, n_frames), int)
    states[:, -1] = score.argmax(axis=1)
    for t in range(n_frames - 1, 0, -1):
        states[:, t - 1] = np.take_along_axis(origin[:, t], states[:, t, None], axis=1)[:, 0]
    return states


def segments_of_states(states: np.ndarray, hmm: HMM) -> list[Segment]:
    """Segments of one track from its states (T,), with the values of the HMM."""
    edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), len(states)]
    return [
        Segment(start=a, end=b, k=float(hmm.k[s]), alpha=float(hmm.alpha[s]), state=int(hmm.state[s]))
        for a, b, s in zip(edges, edges[1:], states[edges[:-1]], strict=False)
    ]


def hmm_segments(
    tracks: list[np.ndarray],
    truths: list[list[Segment]],
    ensemble: np.ndarray,
    model: str,
    sigma: float,
    filtered: bool = False,
) -> list[list[Segment]]:
    """Segments of all tracks of one experiment by the oracle HMM.

    Parameters
    ----------
    tracks : sequence of (T, 2) array
        Positions, px.
    truths : sequence of list of Segment
        True segments of the same tracks, for the parameters only.
    ensemble : (5, S) array
        As for `state_of_segments`.
    model : str
        Of `simulations.parameters.MODELS`.
    sigma : float
        Localisation error, px.
    filtered : bool
        Whether to pass the states through the label filter of the challenge, as the true labels were.

    Returns
    -------
    list of list of Segment
        start, end (exclusive), k (px^2/frame^alpha), alpha, state.
    """
    hmm = read_hmm(truths, ensemble)
    lengths = np.array([len(xy) for xy in tracks])
    emission = log_emission(tracks, hmm.k, sigma, model in STEP_ENDS_AT_LABEL)
    states = viterbi(emission, lengths, hmm.start, hmm.transition)
    rows = [row[:n] for row, n in zip(states, lengths, strict=True)]
    if filtered:
        rows = [label_filter(row).astype(int) for row in rows]
    return [segments_of_states(row, hmm) for row in rows]
