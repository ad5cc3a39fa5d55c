"""Sample adaptation: what all tracks of one experiment share, and every track decoded again with it."""

from dataclasses import replace

import numpy as np
from scipy.special import ndtr

from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.segments import add_change, merge_trapped, segment_values
from main.tracks.samples.fit import fit_sample
from main.tracks.samples.particles import CERTAIN, decode_particles
from main.tracks.samples.placement import place_changepoints
from main.tracks.samples.semimarkov import stretch_likelihood
from simulations.labels import label_filter
from simulations.parameters import ALPHA_DIRECTED, CONFINED, DIRECTED, FREE, STATES, TRAPPED

MIN_TRACKS = 20  # of a sample that is adapted to
FIT_TRACKS = 80  # from which the mixture is fitted
MIN_GAIN = {0.1: -2.5, 0.5: 0.0}  # nats by which the mixture must explain tracks better than their own segments do:
# all but a tenth of the tracks (pooled experiments miss this), and half of them (one broad component does)
UNLIKE = {0.1: -5.0}  # nats below which the tracks have too little in common for networks to read them together
MIN_CONFINED = 0.25  # probability that the networks give to a confined component; the other states share the rest
N_PATHS = 50  # drawn from each track's posterior
N_ROUNDS = 2
BROAD_SD = np.array([0.4, 0.4])  # spread (log10 K, alpha) from which a component says little beyond the networks


def decode_sample(tracks, preds, sigma, config, seed=0, progress=False):
    """Segments of all tracks of one sample, decoded with the components that they share.

    A mixture of a few components (K, alpha, state; spread between particles; rates of change) is fitted to the
    tracks themselves by exact likelihood, from the networks' segments on; then every track is decoded with it. The
    state of a component and the frame at which labels change come from the networks. Where the mixture does not
    explain the tracks better than their own segments do, the latter are returned.

    Parameters
    ----------
    tracks, sigma, config, progress
        As of `read_sample`.
    preds : list of Prediction
        Of the tracks.
    seed : int

    Returns
    -------
    tuple
        For each track its segments; report (dict): mixture (bool), unlike (bool: the tracks have so little in common
        that networks should not read them together either), reason (part of a sentence), and where a mixture was
        fitted components and gain (nats: quantiles over tracks by which it explains them better than their own
        segments do).
    """
    own = segment_many(preds, config)
    sigma = np.broadcast_to(np.nan if sigma is None else np.asarray(sigma, float), len(tracks))
    moving = any(s.state != TRAPPED for track in own for s in track)
    for wrong, reason in (
        (len(tracks) < MIN_TRACKS, f"{len(tracks)} tracks are fewer than {MIN_TRACKS}"),
        (not (sigma > 0).all(), "the localisation error is not known"),
        (not moving, "no segment moves"),
    ):
        if wrong:
            return own, {"mixture": False, "unlike": False, "reason": f"no components were sought, {reason}"}
    fitted = np.random.default_rng(seed).permutation(len(tracks))[:FIT_TRACKS]
    some = [[values[i] for i in fitted] for values in (tracks, own, preds)]
    mixture = fit_sample(some[0], sigma[fitted], *some[1:], progress)
    particles = decode_particles(tracks, sigma, mixture, None, N_ROUNDS, N_PATHS, seed, progress=progress)
    alone = np.array([stretch_likelihood(*one) for one in zip(tracks, own, sigma, strict=True)])
    gain = {share: float(np.quantile(particles.evidence - alone, share)) for share in MIN_GAIN}
    states = component_states(mixture, particles, preds)
    report = {
        "mixture": all(gain[share] > least for share, least in MIN_GAIN.items()),
        "unlike": any(gain[share] < least for share, least in UNLIKE.items()),
        "components": describe(mixture, states, particles),
        "gain": gain,
    }
    many = f"{len(mixture)} component" + "s" * (len(mixture) > 1)
    if not report["mixture"]:
        return own, report | {"reason": f"{many} would not explain them better than their own segments do"}
    paths, likely = frame_labels(particles, preds)
    places, report["expected_jaccard"] = place_changepoints(paths, likely)
    segments = []
    for drawn, place, pred, *values in zip(paths, places, preds, particles.mean, particles.sd, strict=True):
        read = read_segments(mixture, states, drawn, place, pred, *values)
        segments.append(add_change(replace(pred, p_change=density(drawn)), read))
    return segments, report | {"reason": f"the median track gains {gain[0.5]:.1f} nats by {many}"}


def component_states(mixture, particles, preds):
    """State of each component, (C,) int, by what the networks see where the component is.

    A component of next to no K or alpha has the steps of pure localisation noise: whether it is trapped, the networks
    decide. Moving ones are confined or free; whether free motion is directed depends on each particle's alpha.
    """
    seen = sum(p.T @ pred.state_probs[:-1] for p, pred in zip(particles.component, preds, strict=True))  # (C, 4)
    trapped = mixture.trapped | (seen[:, TRAPPED] > 0.5 * seen.sum(1))
    confined = seen[:, CONFINED] > MIN_CONFINED * seen[:, CONFINED:].sum(1)
    return np.where(trapped, TRAPPED, np.where(confined, CONFINED, FREE))


def frame_labels(particles, preds):
    """Components at each frame, filtered as the challenge filters its labels.

    The step t -> t+1 is labelled at its first or at its second frame, whichever puts the changes where the networks
    see them (their training labels differ in this by model).

    Returns
    -------
    tuple
        Per track: labels along the drawn paths (R, T), likeliest labels (T,).
    """
    early = late = 0.0
    for samples, pred in zip(particles.samples, preds, strict=True):
        change = density(samples)[1:]  # that step t + 1 begins a stretch, (T - 2,)
        early, late = early + change @ pred.p_change[1:-1], late + change @ pred.p_change[2:]
    pad = (1, 0) if late > early else (0, 1)
    paths, likely = [], []
    for samples in particles.samples:
        labels = np.pad(samples, ((0, 0), pad), mode="edge")
        labels = np.array([label_filter(row) for row in labels]).astype(int)
        share = label_shares(labels, particles.mean.shape[1])
        paths.append(labels)
        likely.append(label_filter(share.argmax(1)))
    return paths, likely


def density(paths):
    """Share of the paths (R, T) that change at each frame, (T,)."""
    return np.pad((paths[:, 1:] != paths[:, :-1]).mean(0), (1, 0))


def label_shares(labels, n_components):
    """Share of the paths (R, T) in each component, (T, C)."""
    return np.stack([(labels == c).mean(0) for c in range(n_components)], axis=1)


def read_segments(mixture, states, labels, places, pred, values, errors):
    """Segments of one track.

    K is the geometric mean and alpha the average of mean and median over components, weighted by their
    parabola-weighted presence. The broader a component, the less it says beyond the networks' own value,
    which then takes up to half of the weight.

    Parameters
    ----------
    mixture : Mixture
    states : (C,) array of int
    labels : (R, T) array of int
    places : list of int
        Changepoints.
    pred : Prediction
    values, errors : (C, 2) array
        log10 K and alpha of this particle in each component, and how uncertain they are.

    Returns
    -------
    list of Segment
        With decoded_log10_k and decoded_alpha: 5 % and 95 % quantiles of the posterior, over components too.
    """
    shares, trapped = label_shares(labels, len(mixture)), states == TRAPPED
    own = segment_values(pred, places)
    trust = 0.5 * mixture.sd**2 / (mixture.sd**2 + BROAD_SD**2)  # (C, 2)
    parts = []
    for segment in own:
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


def mixture_quantiles(mean, sd, weight):
    """5 % and 95 % quantiles of a Gaussian mixture, each argument (C,); components of no weight may be anything."""
    mean, sd, weight = (v[weight > 0] for v in (mean, sd, weight))
    x = np.linspace((mean - 4 * sd).min(), (mean + 4 * sd).max(), 500)
    below = weight @ ndtr((x - mean[:, None]) / np.maximum(sd[:, None], CERTAIN))
    return np.interp((0.05, 0.95), below, x).tolist()


def describe(mixture, states, particles):
    """Components as plain numbers for `run.json`; K in unit of the positions^2/frame^alpha (`tables.analyse`
    converts it), rates per frame."""
    share = particles.occupied.sum(0) / particles.occupied.sum()
    moves = states != TRAPPED
    columns = {
        "share": share,
        "k": np.where(moves, 10.0 ** mixture.mean[:, 0], 0.0),
        "log10_k_sd": np.where(moves, mixture.sd[:, 0], 0.0),
        "alpha": np.where(moves, mixture.mean[:, 1], 0.0),
        "alpha_sd": np.where(moves, mixture.sd[:, 1], 0.0),
        "start": mixture.start,
        "rates": mixture.transition,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    named = (dict(zip(columns, row, strict=True)) for row in rows)
    return [{"state": STATES[state]} | row for state, row in zip(states, named, strict=True)]
