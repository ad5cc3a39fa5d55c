"""Tracks of the theoretical models of anomalous diffusion, from andi_datasets."""

from __future__ import annotations

import numpy as np

from simulations.andi import seeded

MODELS = ("sbm", "attm", "ctrw", "fbm")


def theory_tracks(model: str, alpha: float, n: int, frames: int = 200, seed: int = 0) -> np.ndarray:
    """Tracks of one model with one exponent, without localisation error.

    Parameters
    ----------
    model : str
        sbm (scaled Brownian motion), attm (annealed transit time), ctrw (continuous-time random walk), fbm.
    alpha : float
        Anomalous exponent; at most 1 for attm and ctrw.
    n, frames, seed : int

    Returns
    -------
    numpy.ndarray, shape (n, frames, 2)
        From the origin, in the library's units: an sbm step from frame t to t + 1 has the variance
        (t + 2)^alpha - (t + 1)^alpha per coordinate.

    Raises
    ------
    ValueError
        If the model is not known, or not for this alpha.
    """
    from andi_datasets.models_theory import models_theory

    if model not in MODELS:
        raise ValueError(f"unknown model {model!r}: expected one of {', '.join(MODELS)}")
    make = getattr(models_theory(), model)
    with seeded(np.random.SeedSequence(seed)):
        drawn = [make(frames, alpha, 2) for _ in range(n)]
    return np.array(drawn).reshape(n, 2, frames).transpose(0, 2, 1)
