"""Fractional Gaussian noise with the exact covariance, many series at once, on CPU or GPU."""

from __future__ import annotations

import torch


def autocovariance(alpha: torch.Tensor, n: int) -> torch.Tensor:
    """Autocovariance of unit-variance fractional Gaussian noise at lags 0..n.

    r(j) = (|j+1|^alpha - 2|j|^alpha + |j-1|^alpha) / 2, with alpha twice the Hurst exponent
    (Mandelbrot and Van Ness 1968).

    Parameters
    ----------
    alpha : Tensor, shape (N,), in (0, 2)

    Returns
    -------
    Tensor, shape (N, n + 1), float64
    """
    lags = torch.arange(n + 2, device=alpha.device, dtype=torch.float64)
    powers = lags ** alpha.double().clamp_min(1e-12)[:, None]  # (N, n + 2)
    second = powers[:, 1:] + torch.cat([powers[:, 1:2], powers[:, :-2]], 1) - 2 * powers[:, :-1]
    return second / 2


def fractional_noise(
    alpha: torch.Tensor, length: int, generator: torch.Generator, dims: int = 2
) -> torch.Tensor:
    """Independent series of unit-variance fractional Gaussian noise by circulant embedding.

    Davies and Harte, Biometrika 74, 95 (1987). Eigenvalues are computed in float64 (in float32 they turn negative
    near alpha = 2), the rest in float32.

    Parameters
    ----------
    alpha : Tensor, shape (N,)
        Anomalous exponent of each series.
    length : int
        Number of steps.
    generator : torch.Generator
        On the device of `alpha`.

    Returns
    -------
    Tensor, shape (N, length, dims), float32
    """
    n, device = len(alpha), alpha.device
    if length == 1:
        return torch.randn(n, 1, dims, device=device, generator=generator)
    half = 1 << (length - 1).bit_length()
    cov = autocovariance(alpha, half)  # (N, half + 1)
    circulant = torch.cat([cov, cov[:, 1:-1].flip(1)], 1)
    root = torch.fft.rfft(circulant).real.clamp_min(0).sqrt().float()  # (N, half + 1)
    white = torch.randn(n, dims, half + 1, 2, device=device, generator=generator)
    white[:, :, 1:-1] *= 0.5**0.5  # the two real end points carry the full variance
    white[:, :, 0, 1] = 0
    white[:, :, -1, 1] = 0
    spectrum = torch.view_as_complex(white) * root[:, None]
    series = torch.fft.irfft(spectrum, n=2 * half, norm="ortho")  # (N, dims, 2 half)
    return series[..., :length].transpose(1, 2)
