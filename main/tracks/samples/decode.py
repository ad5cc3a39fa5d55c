"""Sample adaptation: fit the components that all tracks of one experiment share, and decode every track with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtr

from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment, add_change, merge_trapped, segment_values
from main.tracks.samples.describe import describe_components
from main.tracks.samples.fit import fit_sample
from main.tracks.samples.likelihood import stretch_likelihood
from main.tracks.samples.mixture import Mixture, Particles
from main.tracks.samples.particles import MIN_PARTICLE_SD, decode_particles
from main.tracks.samples.paths import change_density, filter_paths, label_shares
from main.tracks.samples.placement import place_changepoints
from main.utils.bootstrap import LEVEL
from simulations.parameters import ALPHA_DIRECTED, CONFINED, DIRECTED, FREE, STATES, TRAPPED

MIN_MIXTURE_TRACKS = 20  # tracks; a smaller sample gets no mixture
MAX_FIT_TRACKS = 80  # tracks, drawn at random, to which the mixture is fitted
# Share of tracks -> nats by which the mixture must explain at least the other tracks better than their segments from
# single tracks do. The first fails for pooled experiments, the second for one broad component.
MIN_GAIN_NATS = {0.1: -2.5, 0.5: 0.0}
# Share of tracks -> nats that these may lose; beyond it the tracks have too little in common for the networks to read
# them together. misc/LOG.md, 2026-11-21 (4): nine pooled experiments.
MAX_LOSS_TO_POOL_NATS = {0.1: 5.0}
MIN_CONFINED_SHARE = 0.25  # of the probability of moving states that the networks give to a confined component
N_PATHS = 50  # drawn from the posterior of each track
N_GRID_ROUNDS = 2  # of moving the grid of K and alpha of each particle
# Decades of K, alpha; in a component with this spread, the value of the networks gets a quarter of the weight.
BROAD_SD = np.array([0.4, 0.4])
INTERVAL_SHARES = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)  # of the posterior below the two ends of an interval


def decode_sample(
    tracks: list[np.ndarray],
    preds: list[Prediction],
    sigma,
    config: dict,
    seed: int = 0,
    progress: bool = False,
) -> tuple[list[list[Segment]], dict]:
    """Segments of all tracks of one sample, decoded with the components that the tracks share.

    A mixture of a few components (K, alpha, state; spread between particles; rates of change) is fitted to the tracks
    by exact likelihood, starting from the segments of the networks. Every track is then decoded with it. The state of
    a component, and the frame at which labels change, come from the networks. Where the mixture does not explain the
    tracks better than the segments of single tracks do, the segments of single tracks are returned.

    Parameters
    ----------
    tracks, sigma, config, progress
        As for `main.tracks.samples.read.analyse_sample`, without missing frames.
    preds : list of Prediction
        Of the tracks.
    seed : int

    Returns
    -------
    segments : list of list of Segment
    report : dict
        mixture (bool); unlike (bool: whether the tracks have too little in common even for the networks to read them
        together); reason (part of a sentence). Where a mixture was fitted also components (list of dict, see
        `describe_components`), gain (nats by which it explains tracks better than their single-track segments do:
        share of tracks -> quantile) and, if it is used, expected_jaccard.
    """
    single = segment_many(preds, config)
    sigma = np.broadcast_to(np.nan if sigma is None else np.asarray(sigma, float), len(tracks))
    moving = any(s.state != TRAPPED for track in single for s in track)
    for wrong, reason in (
        (len(tracks) < MIN_MIXTURE_TRACKS, f"{len(tracks)} tracks are fewer than {MIN_MIXTURE_TRACKS}"),
        (not (sigma > 0).all(), "the localisation error is not known"),
        (not moving, "no segment moves"),
    ):
        if wrong:
            return single, {"mixture": False, "unlike": False, "reason": f"no components were sought, {reason}"}
    fitted = np.random.default_rng(seed).permutation(len(tracks))[:MAX_FIT_TRACKS]
    some = [[values[i] for i in fitted] for values in (tracks, single, preds)]
    mixture = fit_sample(some[0], sigma[fitted], *some[1:], progress)
    return decode_with_mixture(tracks, preds, sigma, mixture, single, seed, progress)


def decode_with_mixture(
    tracks: list[np.ndarray],
    preds: list[Prediction],
    sigma: np.ndarray,
    mixture: Mixture,
    single: list[list[Segment]],
    seed: int = 0,
    progress: bool = False,
) -> tuple[list[list[Segment]], dict]:
    """Do what `decode_sample` does, with a fitted mixture and the segments (single) of single tracks; sigma (N,)."""
    particles = decode_particles(tracks, sigma, mixture, None, N_GRID_ROUNDS, N_PATHS, seed, progress=progress)
    alone = np.array([stretch_likelihood(*one) for one in zip(tracks, single, sigma, strict=True)])
    gain = {share: float(np.quantile(particles.evidence - alone, share)) for share in MIN_GAIN_NATS}
    states = component_states(mixture, particles, preds)
    report = {
        "mixture": all(gain[share] > least for share, least in MIN_GAIN_NATS.items()),
        "unlike": any(-gain[share] > most for share, most in MAX_LOSS_TO_POOL_NATS.items()),
        "components": describe_components(mixture, states, particles),
        "gain": gain,
    }
    many = f"{len(mixture)} component" + "s" * (len(mixture) > 1)
    if not report["mixture"]:
        return single, report | {"reason": f"{many} would not explain them better than segments of single tracks do"}
    paths, likely = frame_labels(particles, preds)
    places, report["expected_jaccard"] = place_changepoints(paths, likely)
    segments = []
    for drawn, place, pred, *values in zip(paths, places, preds, particles.mean, particles.sd, strict=True):
        decoded = decode_segments(mixture, states, drawn, place, pred, *values)
        segments.append(add_change(replace(pred, p_change=change_density(drawn)), decoded))
    return segments, report | {"reason": f"the median track gains {gain[0.5]:.1f} nats by {many}"}


def component_states(mixture: Mixture, particles: Particles, preds: list[Prediction]) -> np.ndarray:
    """State of each component, (C,) int, from the states that the networks predict where the component is.

    A component with very small K or alpha has the steps of pure localisation noise, so the networks decide whether it
    is trapped. Moving components are confined or free; whether free motion is directed depends on the alpha of each
    particle.
    """
    seen = sum(p.T @ pred.state_probs[:-1] for p, pred in zip(particles.component, preds, strict=True))  # (C, 4)
    trapped = mixture.trapped | (seen[:, TRAPPED] > 0.5 * seen.sum(1))
    confined = seen[:, CONFINED] > MIN_CONFINED_SHARE * seen[:, CONFINED:].sum(1)
    return np.where(trapped, TRAPPED, np.where(confined, CONFINED, FREE))


def frame_labels(particles: Particles, preds: list[Prediction]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Components at each frame, filtered as the challenge filters its labels.

    The label of the step t -> t+1 is given to its first or to its second frame for all tracks: the one for which the
    changes agree better with the networks. The models of the challenge differ in this.

    Returns
    -------
    paths : list of (R, T) array
        Labels along the drawn paths of each track.
    likely : list of (T,) array
        Most probable labels of each track.
    """
    early = late = 0.0
    for samples, pred in zip(particles.samples, preds, strict=True):
        change = change_density(samples)[1:]  # probability that step t + 1 begins a stretch, (T - 2,)
        early, late = early + change @ pred.p_change[1:-1], late + change @ pred.p_change[2:]
    pad = (1, 0) if late > early else (0, 1)
    n_components, paths, likely = particles.mean.shape[1], [], []
    for samples in particles.samples:
        labels = filter_paths(np.pad(samples, ((0, 0), pad), mode="edge"), n_components)
        paths.append(labels)
        likely.append(filter_paths(label_shares(labels, n_components).argmax(1)[None], n_components)[0])
    return paths, likely


def decode_segments(
    mixture: Mixture,
    states: np.ndarray,
    labels: np.ndarray,
    places: list[int],
    pred: Prediction,
    values: np.ndarray,
    errors: np.ndarray,
) -> list[Segment]:
    """Segments of one track.

    Each component counts with the share of the drawn paths in it, weighted over the frames of the segment by a
    parabola. K is the weighted geometric mean over components, alpha the average of their weighted mean and median. For
    a broad component, whose values say little on a particle, the value of the networks gets up to half of the weight.

    Parameters
    ----------
    mixture : Mixture
    states : (C,) array of int
    labels : (R, T) array of int
    places : list of int
        Changepoints.
    pred : Prediction
    values, errors : (C, 2) array
        log10 K and alpha of this particle in each component, and their standard errors.

    Returns
    -------
    list of Segment
        With decoded_log10_k and decoded_alpha: 5 % and 95 % quantiles of the posterior, all components together.
    """
    shares, trapped = label_shares(labels, len(mixture)), states == TRAPPED
    trust = 0.5 * mixture.sd**2 / (mixture.sd**2 + BROAD_SD**2)  # (C, 2)
    parts = []
    for segment in segment_values(pred, places):
        a, b = segment.start, segment.end
        place = (np.arange(b - a) + 0.5) / (b - a)
        weight = (place * (1 - place)) @ shares[a:b]
        if weight[trapped].sum() > 0.5 * weight.sum():
            parts.append(replace(segment, k=0.0, alpha=0.0, state=TRAPPED))
            continue
        weight = np.where(trapped, 0.0, weight)
        weight /= weight.sum()
        log10_k, alpha = values.T
        if segment.state != TRAPPED:
            log10_k = log10_k + trust[:, 0] * (np.log10(segment.k) - log10_k)
            alpha = alpha + trust[:, 1] * (segment.alpha - alpha)
        order = np.argsort(alpha)
        median = alpha[order][np.searchsorted(weight[order].cumsum(), 0.5)]
        state = int(np.bincount(states, weight, minlength=len(STATES)).argmax())
        if state == FREE and median >= ALPHA_DIRECTED:
            state = DIRECTED
        quantiles = [mixture_quantiles(*pair, weight) for pair in zip(values.T, errors.T, strict=True)]
        k = float(10.0 ** (weight @ np.where(weight > 0, log10_k, 0.0)))
        decoded = dict(zip(("decoded_log10_k", "decoded_alpha"), quantiles, strict=True))
        parts.append(replace(segment, k=k, alpha=float(0.5 * (median + weight @ alpha)), state=state, **decoded))
    return merge_trapped(parts)


def mixture_quantiles(mean: np.ndarray, sd: np.ndarray, weight: np.ndarray) -> list[float]:
    """5 % and 95 % quantiles of a Gaussian mixture, each argument (C,); components without weight are ignored."""
    mean, sd, weight = (v[weight > 0] for v in (mean, sd, weight))
    x = np.linspace((mean - 4 * sd).min(), (mean + 4 * sd).max(), 500)
    below = weight @ ndtr((x - mean[:, None]) / np.maximum(sd[:, None], MIN_PARTICLE_SD))
    return np.interp(INTERVAL_SHARES, below, x).tolist()
