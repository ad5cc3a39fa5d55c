"""Fitting the mixture of components that all tracks of a sample share."""

import numpy as np
from tqdm import tqdm

from main.tracks.samples.mixture import fit_mixture, spread_out, update
from main.tracks.samples.particles import COARSE_MEMORY, decode_particles
from simulations.parameters import TRAPPED

N_EM = 4  # rounds of expectation maximisation between looks everywhere
MAX_CLIMBS = 3  # times `N_EM` rounds, after the best start is chosen
ENOUGH = 0.05  # nats per track that another climb must bring
MAX_MOVING = 6  # components, beside a trapped one; more are tried while evidence grows
WORTH = 0.15  # nats per track, beyond BIC, that a component must bring: dwells that are not geometric bring fewer
MIN_TRAPPED = 0.002  # share of frames that the networks see trapped, for a trapped component to be tried


def fit_sample(tracks, sigma, segments, preds, progress=False):
    """The mixture that explains a sample best, by evidence less the price of its parameters (BIC) and components.

    Parameters
    ----------
    tracks : list of (T, 2) array
    sigma : (N,) array
    segments : list of list of Segment
        Of single tracks, to start from.
    preds : list of Prediction
        Of the same tracks, to start from too.
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
        first = fit_mixture(segments, n_moving, with_trapped)
        starts = [first, spread_out(first, log10_k)] if n_moving > 1 else [first]
        mixture, evidence = fit_components(tracks, sigma, starts)
        price = 0.5 * mixture.n_parameters * np.log(n_steps) + WORTH * n_moving * len(tracks)
        return evidence - price, mixture

    fits = []
    for n_moving in tqdm(range(1, MAX_MOVING + 1), "components", unit="fit", disable=not progress):
        fits.append(fit(n_moving, share > MIN_TRAPPED))
        if n_moving > 1 and fits[-1][0] < fits[-2][0]:
            break
    best = max(fits, key=lambda scored: scored[0])
    if best[1].trapped.any():
        best = max(best, fit(len(best[1]) - 1, False), key=lambda scored: scored[0])
    return best[1]


def fit_components(tracks, sigma, starts):
    """Expectation maximisation of a mixture, from the most promising of some; returns it and its evidence (nats)."""
    tried = [climb(tracks, sigma, mixture) for mixture in starts]
    mixture, evidence = max(tried, key=lambda pair: pair[1])
    for _ in range(MAX_CLIMBS):
        before = evidence
        mixture, evidence = climb(tracks, sigma, mixture)
        if evidence < before + ENOUGH * len(tracks):
            break
    return mixture, evidence


def climb(tracks, sigma, mixture):
    """`N_EM` rounds of expectation maximisation, the first of which looks everywhere in each component."""
    particles = decode_particles(tracks, sigma, mixture, memory=COARSE_MEMORY)
    for _ in range(N_EM - 1):
        mixture = update(mixture, particles)
        particles = decode_particles(tracks, sigma, mixture, particles, memory=COARSE_MEMORY)
    return mixture, particles.evidence.sum()
