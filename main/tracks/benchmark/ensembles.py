"""The ensemble task of AnDi-2: the states of an experiment, with their spread of alpha and K and their shares.

A description of S states is an array (5, S), as in the challenge's ``ensemble_labels.txt``: mean and variance of alpha,
mean and variance of K (px^2/frame^alpha), share of frames.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

from main.tracks.benchmark.data import MIN_K_PX2
from main.tracks.inference.segments import Segment
from simulations.parameters import TRAPPED

CONSTANT = np.array([[1.0], [0.01], [1.0], [0.01], [1.0]])  # one state, K = alpha = 1
MAX_MOVING_STATES = 3  # numbers of moving states that are tried
MIN_FRAME_SHARE = 0.02  # a state with a smaller share of the frames is not reported
MIN_RELATIVE_SD_SQRT_K, MIN_SD_ALPHA = 0.05, 0.1  # spread of a state


def read_ensembles(folder) -> dict[int, tuple[str, np.ndarray]]:
    """Read the true descriptions of all experiments of a benchmark folder.

    Returns
    -------
    dict[int, tuple[str, numpy.ndarray]]
        Experiment -> its model (of `simulations.parameters.MODELS`) and description (5, S); empty without files.
    """
    result = {}
    for path in sorted(Path(folder).glob("track_2/exp_*/ensemble_labels.txt")):
        header, rows = path.read_text().split("\n", 1)
        values = np.array([[float(v) for v in row.split(";")] for row in rows.split()])
        result[int(path.parent.name[4:])] = re.match(r"model: (\w+)", header)[1], values
    return result


def write_ensembles(folder, ensembles: dict[int, tuple[str, np.ndarray]]) -> None:
    """Write descriptions (experiment -> (model, (5, S) array)) as ``track_2/exp_E/ensemble_labels.txt``."""
    for exp, (model, values) in ensembles.items():
        path = Path(folder) / "track_2" / f"exp_{exp}" / "ensemble_labels.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        header = f"model: {model}; num_state: {values.shape[1]}"
        np.savetxt(path, values, delimiter=";", header=header, comments="")


def ensemble_distance(truth: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """Official score: Wasserstein distances between two descriptions, taken as mixtures of Gaussians.

    Parameters
    ----------
    truth, estimate : (5, S) array
        Descriptions; S may differ.

    Returns
    -------
    dict
        w1_alpha, w1_k (px^2/frame^alpha), 0 at best.

    Source: `andi_datasets.utils_challenge.error_Ensemble_dataset`.
    """
    from andi_datasets.utils_challenge import error_Ensemble_dataset  # takes a second to import

    alpha, k = error_Ensemble_dataset(np.array(truth, float), np.array(estimate, float))  # it scales in place
    return {"w1_alpha": float(alpha), "w1_k": float(k)}


def describe_groups(segments: list[Segment], groups: np.ndarray) -> np.ndarray:
    """Description of states from segments that are already grouped into them.

    Parameters
    ----------
    segments : list of Segment
        start, end, k, alpha of M segments.
    groups : (M, S) array
        Share of each segment that belongs to each state.

    Returns
    -------
    numpy.ndarray, shape (5, S)
        Means and variances over frames; states without frames are left out.
    """
    frames = np.array([s.n_frames for s in segments], float)
    weight = groups * frames[:, None]  # (M, S)
    weight = weight[:, weight.sum(axis=0) > 0]
    rows = []
    for name in ("alpha", "k"):
        values = np.array([getattr(s, name) for s in segments])[:, None]
        mean = (weight * values).sum(axis=0) / weight.sum(axis=0)
        rows += [mean, (weight * (values - mean) ** 2).sum(axis=0) / weight.sum(axis=0)]
    return np.stack([*rows, weight.sum(axis=0) / weight.sum()])


def split_states(
    values: np.ndarray, frames: np.ndarray, n_states: int, n_iterations: int = 100
) -> tuple[np.ndarray, float]:
    """Split segments into states by a diagonal Gaussian mixture of (sqrt(K), alpha), segments weighted by frames.

    Parameters
    ----------
    values : (M, 2) array
        sqrt(K) and alpha of M segments.
    frames : (M,) array
        Their lengths.
    n_states : int
    n_iterations : int
        Steps of expectation maximisation, started from quantiles of K.

    Returns
    -------
    responsibility : numpy.ndarray, shape (M, n_states)
        Probability that a segment belongs to a state.
    log_likelihood : float
        Mean over frames.
    """
    order = np.argsort(values[:, 0])
    place = np.cumsum(frames[order]) / frames.sum()
    responsibility = np.zeros((len(values), n_states))
    responsibility[order, np.minimum((place * n_states).astype(int), n_states - 1)] = 1.0
    for _ in range(n_iterations):
        weight = responsibility * frames[:, None] + 1e-9
        total = weight.sum(axis=0)
        mean = weight.T @ values / total[:, None]  # (S, 2)
        square = ((values[:, None] - mean) ** 2 * weight[..., None]).sum(axis=0) / total[:, None]
        floor = np.stack([MIN_RELATIVE_SD_SQRT_K * mean[:, 0], np.full(n_states, MIN_SD_ALPHA)], axis=1)
        variance = np.maximum(square, floor**2)
        distance = ((values[:, None] - mean) ** 2 / variance + np.log(2 * np.pi * variance)).sum(axis=2)
        joint = np.log(total / total.sum()) - distance / 2
        evidence = logsumexp(joint, axis=1)
        responsibility = np.exp(joint - evidence[:, None])
    return responsibility, float((frames * evidence).sum() / frames.sum())


def estimate_ensemble(segments: list[Segment]) -> np.ndarray:
    """Estimate the description of one experiment from predicted segments.

    Trapped segments are one state with K = alpha = 0. The other segments are split by `split_states`; the number of
    states is that of the smallest Bayesian information criterion, with the effective number of segments as sample size.
    The square root of K is used, because estimates of K are skewed.

    Parameters
    ----------
    segments : list of Segment
        start, end, k, alpha, state of all predicted segments of all tracks.

    Returns
    -------
    numpy.ndarray, shape (5, S)
    """
    trapped = np.array([s.state == TRAPPED for s in segments])
    frames = np.array([s.n_frames for s in segments], float)
    values = np.array([[np.sqrt(max(s.k, MIN_K_PX2)), s.alpha] for s in segments])[~trapped]
    groups = np.zeros((len(segments), 1 + MAX_MOVING_STATES))
    groups[trapped, 0] = 1.0
    if len(values):
        moving_frames = frames[~trapped]
        n_effective = moving_frames.sum() ** 2 / (moving_frames**2).sum()
        best = np.inf
        for n_states in range(1, MAX_MOVING_STATES + 1):
            responsibility, log_likelihood = split_states(values, moving_frames, n_states)
            criterion = -2 * n_effective * log_likelihood + (5 * n_states - 1) * np.log(n_effective)
            if criterion < best:
                best, chosen = criterion, responsibility
        groups[~trapped, 1 : 1 + chosen.shape[1]] = chosen
    share = frames @ groups / frames.sum()
    return describe_groups(segments, groups[:, share >= MIN_FRAME_SHARE])
