"""The slope of variance over mean from the residuals of fitted spots."""

from __future__ import annotations

import math

import numpy as np
import torch

from main.images.fit import SpotFit, SpotModel

MIN_SPOTS = 200
N_ROUNDS = 4  # of weights
N_BOOTSTRAP = 200
MAX_LEVERAGE = 0.9


def measure_slope(photons: torch.Tensor, fit: SpotFit, extra: float) -> tuple[float, float] | None:
    """Measure how the variance of pixels grows with the light of the spot in them.

    Squared residuals, divided by what the fit leaves of them, are a quadratic function of the light: the constant is
    the noise of the background, the square is misfit (motion, a point spread function that is no Gaussian), and the
    linear part is shot noise. No offset is needed.

    Parameters
    ----------
    photons : torch.Tensor, shape (N, P, P)
        Windows as fitted: (counts - offset) / gain.
    fit : SpotFit
        Of these windows.
    extra : float
        Read variance over excess, photons^2, by which the fit was weighted.

    Returns
    -------
    tuple of float or None
        Variance over mean in the unit of `photons` (gain times excess over the gain that was taken), and its standard
        error by bootstrap over spots; None if there are fewer than `MIN_SPOTS` spots, or it is not above 0.
    """
    if len(photons) < MIN_SPOTS:
        return None
    model = SpotModel(torch.stack([fit.x, fit.y, fit.width, fit.photons, fit.background], dim=1), photons.shape[-1])
    jacobian, mean = model.jacobian(), model.mean.flatten(1)
    weight = 1 / (mean + extra)
    inverse = torch.linalg.inv((jacobian * weight[:, None]) @ jacobian.mT)
    leverage = weight * (jacobian * (inverse @ jacobian)).sum(1)
    kept = leverage < MAX_LEVERAGE
    square = (photons.flatten(1) - mean).square() / (1 - leverage).clamp(min=1 - MAX_LEVERAGE)
    light = mean - fit.background[:, None]
    scale = float(light.amax(1).median())
    powers = torch.stack([torch.ones_like(light), light / scale, (light / scale) ** 2], dim=-1).double()
    square, kept = square.double(), kept.double()
    expected = fit.background.double()[:, None] + light + extra
    rng = np.random.default_rng(0)
    draws = torch.as_tensor(rng.multinomial(len(photons), np.full(len(photons), 1 / len(photons)), N_BOOTSTRAP))
    for _ in range(N_ROUNDS):
        weighted = powers * (kept / expected**2)[..., None]
        matrices, vectors = powers.mT @ weighted, (weighted * square[..., None]).sum(1)
        best = torch.linalg.solve(matrices.sum(0), vectors.sum(0))
        expected = (powers @ best).clamp(min=float(0.1 * best[0].clamp(min=1e-6)))
    drawn = torch.linalg.solve(torch.einsum("dn,nij->dij", draws.double(), matrices), draws.double() @ vectors)
    slope, error = float(best[1]) / scale, float(drawn[:, 1].std()) / scale
    return (slope, error) if slope > 0 and math.isfinite(error) else None
