"""Tracks of the theoretical models of anomalous diffusion, from andi_datasets."""

from __future__ import annotations

import numpy as np

from simulations.andi import seeded

THEORY_MODELS = ("sbm", "attm", "ctrw", "fbm")


def theory_tracks(model: str, alpha: float, n: int, frames: int = 200, seed: int = 0) -> np.ndarray:
    """Tracks of one model with one exponent, without localisation error.

    Parameters
    ----------
    model : str
        sbm (scaled Brownian motion), attm (annealed transit time), ctrw (continuous-time random walk), fbm.
    alpha : float
        Anomalous exponent; at most 1 for attm and ctrw.
    n, frames, seed : int
        Number of tracks, frames of each track, seed of the random numbers.

    Returns
    -------
    numpy.ndarray, shape (n, frames, 2)
        Tracks that start at the origin, in the library's units: an sbm step from frame t to t + 1 has the variance
        (t + 2)^alpha - (t + 1)^alpha per coordinate.

    Raises
    ------
    ValueError
        If the model is not known, or not defined for this alpha.
    """
    from andi_datasets.models_theory import models_theory  # takes a second to import

    if model not in THEORY_MODELS:
        raise ValueError(f"unknown model {model!r}: expected one of {', '.join(THEORY_MODELS)}")
    make = getattr(models_theory(), model)
    with seeded(np.random.SeedSequence(seed)):
        drawn = [make(frames, alpha, 2) for _ in range(n)]
    return np.array(drawn).reshape(n, 2, frames).transpose(0, 2, 1)


def annealed_tracks(n: int, sigma: float, gamma: float, shortest: int = 5, frames: int = 200, seed: int = 0):
    """Tracks of the annealed transit-time model with the same exponents sigma and gamma for all, and their true D.

    Each segment has a D between 0 and 1, drawn with a density proportional to D^(sigma - 1), and lasts
    shortest / D^gamma frames, so slow segments last long. For sigma < gamma < sigma + 1 the mean squared displacement
    of the ensemble grows as t^(sigma / gamma). `theory_tracks` draws another sigma for every track.

    Parameters
    ----------
    n : int
        Tracks.
    sigma, gamma : float
        Exponents of the model, above 0.
    shortest : int
        Frames of a segment with D = 1.
    frames, seed : int
        Frames of each track, seed of the random numbers.

    Returns
    -------
    xy : numpy.ndarray, shape (n, frames, 2)
        Tracks that start at the origin, without localisation error.
    d : numpy.ndarray, shape (n, frames)
        D of the step that starts at the frame, length^2/frame.

    Source: Massignan et al., Phys. Rev. Lett. 112, 150603 (2014).
    """
    rng = np.random.default_rng(seed)
    drawn = rng.random((n, frames // shortest + 1)) ** (1 / sigma)
    ends = np.rint(shortest * drawn**-gamma).cumsum(axis=1)
    segment = (np.arange(frames)[None, :, None] >= ends[:, None]).sum(axis=-1)
    d = np.take_along_axis(drawn, segment, axis=1)
    steps = rng.normal(size=(n, frames, 2)) * np.sqrt(2 * d)[..., None]
    return np.concatenate([np.zeros((n, 1, 2)), steps[:, :-1].cumsum(axis=1)], axis=1), d
