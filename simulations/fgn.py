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
    powers = (alpha.double()[:, None] * lags.log()).exp_()  # (N, n + 2); 0 at lag 0
    second = torch.ones_like(powers[:, 1:])
    torch.add(powers[:, 2:], powers[:, :-2], out=second[:, 1:])
    second[:, 1:].sub_(powers[:, 1:-1], alpha=2).mul_(0.5)
    return second


def fractional_noise(alpha: torch.Tensor, length: int, generator: torch.Generator, dims: int = 2) -> torch.Tensor:
    """Draw independent series of unit-variance fractional Gaussian noise by circulant embedding.

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
    return noise_series(alpha, length, generator, dims).transpose(1, 2)


def noise_series(alpha: torch.Tensor, length: int, generator: torch.Generator, dims: int = 2) -> torch.Tensor:
    """As `fractional_noise`, with time as the last axis: (N, dims, length)."""
    n, device = len(alpha), alpha.device
    if length == 1:
        return torch.randn(n, dims, 1, device=device, generator=generator)
    half = next(size for size in _SIZES if size >= length - 1)
    cov = autocovariance(alpha, half)  # (N, half + 1)
    circulant = torch.cat([cov, cov[:, 1:-1].flip(1)], 1)
    root = torch.fft.rfft(circulant).real.clamp_min(0).sqrt_().float()  # (N, half + 1)
    root[:, 1:-1] *= 0.5**0.5  # shared by real and imaginary part; the two real end points carry the full variance
    white = torch.randn(n, dims, half + 1, 2, device=device, generator=generator)
    white *= root[:, None, :, None]
    white[:, :, ::half, 1] = 0
    series = torch.fft.irfft(torch.view_as_complex(white), n=2 * half, norm="ortho")  # (N, dims, 2 half)
    return series[..., :length]


_SIZES = sorted(
    2**a * 3**b * 5**c for a in range(16) for b in range(3) for c in range(3)
)  # lengths with fast Fourier transforms
