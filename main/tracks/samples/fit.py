"""Fit the mixture of components that all tracks of a sample share."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment
from main.tracks.samples.mixture import Mixture, broaden, mixture_of_segments, spread_out, update_mixture
from main.tracks.samples.particles import COARSE_MEMORY_STEPS, decode_particles
from simulations.parameters import TRAPPED

N_EM_ROUNDS = 4  # rounds of expectation maximisation (EM) from one coarse grid to the next
MAX_EM_REPEATS = 3  # times N_EM_ROUNDS, after the best start is chosen
MIN_EM_GAIN_NATS = 0.05  # per track; a repeat that brings less is the last
MAX_MOVING_COMPONENTS = 6  # misc/LOG.md, 2026-11-21 (4): with 3, pooled experiments were read worse
MIN_NATS_PER_COMPONENT = (
    0.15  # per track, beyond BIC; misc/LOG.md, 2026-11-21 (4), EXP 2: dwells that are not geometric
)
MIN_TRAPPED_SHARE = 0.002  # of frames that the networks call trapped, for a trapped component to be tried


def fit_sample(
    tracks: list[np.ndarray],
    sigma: np.ndarray,
    segments: list[list[Segment]],
    preds: list[Prediction],
    progress: bool = False,
) -> Mixture:
    """Fit the mixture that explains a sample best: by evidence, less the price of its parameters (BIC) and components.

    Numbers of moving components are tried in increasing order, until one more lowers this score.

    Parameters
    ----------
    tracks : list of (T, 2) array
        Positions, xy-unit.
    sigma : (N,) array
        Localisation error of each track, xy-unit.
    segments : list of list of Segment
        Of single tracks; the fit starts from them.
    preds : list of Prediction
        Of single tracks; one of the starts takes the range of K from them.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Mixture
    """
    frames = [(s.n_frames, s.state == TRAPPED) for track in segments for s in track]
    share = sum(n for n, trapped in frames if trapped) / sum(n for n, _ in frames)
    n_steps = sum(len(track) - 1 for track in tracks)
    log10_k = np.concatenate([p.log10_k[p.state_probs[:, TRAPPED] < 0.5] for p in preds])

    def fit(n_moving, with_trapped):
        first = mixture_of_segments(segments, n_moving, with_trapped)
        starts = [first, broaden(first), *([spread_out(first, log10_k)] if n_moving > 1 else [])]
        mixture, evidence = fit_components(tracks, sigma, starts)
        price = 0.5 * mixture.n_parameters * np.log(n_steps) + MIN_NATS_PER_COMPONENT * n_moving * len(tracks)
        return evidence - price, mixture

    fits = []
    for n_moving in tqdm(range(1, MAX_MOVING_COMPONENTS + 1), "components", unit="fit", disable=not progress):
        fits.append(fit(n_moving, share > MIN_TRAPPED_SHARE))
        if n_moving > 1 and fits[-1][0] < fits[-2][0]:
            break
    best = max(fits, key=lambda scored: scored[0])
    if best[1].trapped.any():
        best = max(best, fit(len(best[1]) - 1, False), key=lambda scored: scored[0])
    return best[1]


def fit_components(tracks: list[np.ndarray], sigma: np.ndarray, starts: list[Mixture]) -> tuple[Mixture, float]:
    """Fit a mixture by expectation maximisation, from the best of some starts; returns it and its evidence (nats)."""
    tried = [em_rounds(tracks, sigma, mixture) for mixture in starts]
    mixture, evidence = max(tried, key=lambda pair: pair[1])
    for _ in range(MAX_EM_REPEATS):
        before = evidence
        mixture, evidence = em_rounds(tracks, sigma, mixture)
        if evidence < before + MIN_EM_GAIN_NATS * len(tracks):
            break
    return mixture, evidence


def em_rounds(tracks: list[np.ndarray], sigma: np.ndarray, mixture: Mixture) -> tuple[Mixture, float]:
    """Do N_EM_ROUNDS of expectation maximisation; the first restarts each particle from a coarse grid."""
    particles = decode_particles(tracks, sigma, mixture, memory=COARSE_MEMORY_STEPS)
    for _ in range(N_EM_ROUNDS - 1):
        mixture = update_mixture(mixture, particles)
        particles = decode_particles(tracks, sigma, mixture, particles, memory=COARSE_MEMORY_STEPS)
    return mixture, particles.evidence.sum()
