"""Position, width, photons and background of spots by maximum likelihood, many at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch

N_ITERATIONS = 10  # of damped Fisher scoring; more do not change the errors of spots of 50 photons or more
FIRST_WIDTH_PX = 1.2
WIDTH_RANGE_PX = (0.4, 6.0)
MIN_GAIN = 2.0  # in log-likelihood, for which a fit from another first width replaces the first
MIN_VARIANCE = 1e-2  # photons^2 of a pixel; keeps the weight of pixels without light and read noise finite
EDGE_PX = 1.5  # of a window; a spot as near to it is not trusted
MIN_SIGNIFICANCE = 3.0  # photons over their error of a trusted spot
FIRST_DAMPING = 1e-2
SPOTS_AT_ONCE = {"cpu": 128, "cuda": 2**16}  # so that they stay in the fast memory
N_PARAMETERS = 5  # x, y, width, photons, background


@dataclass
class SpotFit:
    """Fitted spots; tensors of shape (N,), lengths in px from the middle of the window.

    Parameters
    ----------
    x, y, width, photons, background : torch.Tensor
        width is the standard deviation of the spot; background is in photons per pixel.
    x_err, y_err, width_err, photons_err, background_err : torch.Tensor
        Standard errors: the square root of the inverse of the Fisher information at the fit.
    elongation, shear : torch.Tensor
        Half the difference of the variances of the spot along x and y, and their covariance, px^2: one step of Fisher
        scoring from the round spot.
    elongation_err : torch.Tensor
        Standard error of both, px^2.
    """

    x: torch.Tensor
    y: torch.Tensor
    width: torch.Tensor
    photons: torch.Tensor
    background: torch.Tensor
    x_err: torch.Tensor
    y_err: torch.Tensor
    width_err: torch.Tensor
    photons_err: torch.Tensor
    background_err: torch.Tensor
    elongation: torch.Tensor
    shear: torch.Tensor
    elongation_err: torch.Tensor

    def trusted(self, half: float) -> torch.Tensor:
        """Whether there is a spot: significant, within its window (of half side `half`, px), of a sensible width."""
        inside = (self.x.abs() < half - EDGE_PX) & (self.y.abs() < half - EDGE_PX)
        sensible = (self.width > 1.01 * WIDTH_RANGE_PX[0]) & (self.width < 0.99 * WIDTH_RANGE_PX[1])
        return inside & sensible & (self.photons > MIN_SIGNIFICANCE * self.photons_err) & torch.isfinite(self.x_err)

    def take(self, rows) -> SpotFit:
        """Return some of the spots."""
        return SpotFit(*(getattr(self, field.name)[rows] for field in fields(self)))

    def reshape(self, *shape) -> SpotFit:
        """Return the fit with tensors of another shape."""
        return SpotFit(*(getattr(self, field.name).reshape(*shape) for field in fields(self)))


def fit_spots(photons: torch.Tensor, read_variance, excess=1.0, first_widths=(FIRST_WIDTH_PX,)) -> SpotFit:
    """Fit a round Gaussian, integrated over pixels, on an even background to each window.

    The likelihood is that of Poisson noise whose mean is raised by the variance of the read noise, with the variance
    scaled by the excess noise of an EMCCD.

    Parameters
    ----------
    photons : torch.Tensor, shape (N, P, P)
        Camera counts less offset, divided by gain. Rows are y.
    read_variance : torch.Tensor, shape (N,), or float
        photons^2.
    excess : torch.Tensor, shape (N,), or float
        Variance over mean of the shot noise: 1, or 2 for an EMCCD.
    first_widths : tuple of float
        Widths from which fits begin, px; a fit from a later one is taken if it is likelier by `MIN_GAIN`.

    Returns
    -------
    SpotFit

    Source: Smith et al., Nature Methods 7 (2010) 373; Huang et al., Nature Methods 10 (2013) 653 (read noise).
    """
    n, like = len(photons), {"dtype": photons.dtype, "device": photons.device}
    excess = torch.as_tensor(excess, **like).expand(n)
    extra = torch.as_tensor(read_variance, **like).expand(n) / excess + MIN_VARIANCE
    parts = (part.split(SPOTS_AT_ONCE[photons.device.type]) for part in (photons, extra, excess))
    fits = [_fit_best(*part, first_widths) for part in zip(*parts, strict=True)]
    return SpotFit(*(torch.cat(values) for values in zip(*fits, strict=True)))


def _fit_best(photons: torch.Tensor, extra: torch.Tensor, excess: torch.Tensor, widths) -> tuple[torch.Tensor, ...]:
    """Fit some of the windows from several first widths; returns the fields of `SpotFit`."""
    best, cost = _fit(photons, extra, excess, widths[0])
    for width in widths[1:]:
        values, new = _fit(photons, extra, excess, width)
        better = new < cost - MIN_GAIN
        best = tuple(torch.where(better, value, before) for value, before in zip(values, best, strict=True))
        cost = torch.where(better, new, cost)
    return best


def _fit(photons: torch.Tensor, extra: torch.Tensor, excess: torch.Tensor, width: float):
    """Fit some of the windows; returns the fields of `SpotFit`, and the cost. `extra` is added to the mean, (N,)."""
    n, size, _ = photons.shape
    theta = guess_spots(photons, width)
    damping = torch.full((n,), FIRST_DAMPING, dtype=photons.dtype, device=photons.device)
    model = SpotModel(theta, size)
    cost = _cost(model.mean, photons, extra)
    for _ in range(N_ITERATIONS):
        information, gradient = _score(model, photons, extra)
        diagonal = information.diagonal(dim1=1, dim2=2)
        damped = information + torch.diag_embed(damping[:, None] * diagonal + 1e-9)
        trial = _limit(theta + torch.linalg.solve(damped, gradient), size)
        tried = SpotModel(trial, size)
        new = _cost(tried.mean, photons, extra)
        better = new <= cost
        theta = torch.where(better[:, None], trial, theta)
        model.take(better, tried)
        cost = torch.where(better, new, cost)
        damping = torch.where(better, 0.3 * damping, 5 * damping).clamp(1e-6, 1e4)
    information, _ = _score(model, photons, extra)
    errors = torch.linalg.inv(information + 1e-9 * torch.eye(N_PARAMETERS, device=photons.device))
    errors = (errors.diagonal(dim1=1, dim2=2).clamp(min=1e-12) * excess[:, None]).sqrt()
    return (*theta.unbind(1), *errors.unbind(1), *_measure_shape(model, photons, extra, excess)), cost


class SpotModel:
    """Mean photons of spots and their derivatives by the parameters.

    Parameters
    ----------
    theta : torch.Tensor, shape (N, 5)
        x, y, width, photons, background.
    size : int
        Pixels along a side.
    """

    def __init__(self, theta: torch.Tensor, size: int):
        self.width, self.light = theta[:, 2], theta[:, 3]
        self.edges = torch.arange(size + 1, dtype=theta.dtype, device=theta.device) - size / 2
        self.gx, self.dx, self.d2x = self._profile(theta[:, 0])
        self.gy, self.dy, self.d2y = self._profile(theta[:, 1])
        self.mean = self.light[:, None, None] * _outer(self.gx, self.gy) + theta[:, 4, None, None]

    def _profile(self, centre):
        """Integral of the Gaussian over each pixel, and its first and second derivative by the centre, (N, P) each."""
        width = self.width[:, None]
        u = (self.edges - centre[:, None]) / width
        density = torch.exp(-(u**2) / 2) / (math.sqrt(2 * math.pi) * width)
        return torch.erf(u / math.sqrt(2)).diff() / 2, -density.diff(), -(u / width * density).diff()

    def jacobian(self) -> torch.Tensor:
        """Derivatives of the mean, (N, 5, P * P); that by the width is width times the Laplacian by the centre."""
        light, width = self.light[:, None, None], self.width[:, None, None]
        g = _outer(self.gx, self.gy)
        parts = [
            light * _outer(self.dx, self.gy),
            light * _outer(self.gx, self.dy),
            light * width * (_outer(self.d2x, self.gy) + _outer(self.gx, self.d2y)),
            g,
            torch.ones_like(g),
        ]
        return torch.stack(parts, dim=1).flatten(2)

    def shapes(self) -> torch.Tensor:
        """Derivatives of the mean by elongation and shear, (N, 2, P * P)."""
        light = self.light[:, None, None]
        elongation = light * (_outer(self.d2x, self.gy) - _outer(self.gx, self.d2y)) / 2
        return torch.stack([elongation, light * _outer(self.dx, self.dy)], dim=1).flatten(2)

    def take(self, rows: torch.Tensor, other: SpotModel) -> None:
        """Replace the spots `rows` (N,) bool by those of another model."""
        for name in ("width", "light", "gx", "dx", "d2x", "gy", "dy", "d2y", "mean"):
            mine = getattr(self, name)
            setattr(self, name, torch.where(rows.view(-1, *[1] * (mine.dim() - 1)), getattr(other, name), mine))


def _outer(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N, P) profiles along x and y to (N, P, P) images with y along rows."""
    return y[:, :, None] * x[:, None, :]


def guess_spots(photons: torch.Tensor, width: float = FIRST_WIDTH_PX) -> torch.Tensor:
    """Guess the parameters of spots of a width from moments within a Gaussian window, (N, 5)."""
    n, size, _ = photons.shape
    background = photons.flatten(1).quantile(0.3, dim=1).clamp(min=0.05)
    c = torch.arange(size, dtype=photons.dtype, device=photons.device) - (size - 1) / 2
    window = torch.exp(-(c[:, None] ** 2 + c**2) / (2 * 2.5**2))
    light = ((photons - background[:, None, None]) * window).clamp(min=0)
    total = light.sum((1, 2)).clamp(min=1)
    x, y = (light.sum(1) * c).sum(1) / total, (light.sum(2) * c).sum(1) / total
    return torch.stack([x, y, torch.full_like(x, width), (1.3 * total).clamp(min=10), background], dim=1)


def _limit(theta: torch.Tensor, size: int) -> torch.Tensor:
    """Keep parameters within the window and positive."""
    side = size / 2 - 1
    x, y, width, light, background = theta.unbind(1)
    limited = [
        x.clamp(-side, side),
        y.clamp(-side, side),
        width.clamp(*WIDTH_RANGE_PX),
        light.clamp(1, 1e7),
        background.clamp(1e-3, 1e7),
    ]
    return torch.stack(limited, dim=1)


def _cost(mean: torch.Tensor, photons: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of each window but for constants, (N,)."""
    shifted = mean + extra[:, None, None]
    return (shifted - (photons + extra[:, None, None]).clamp(min=0) * shifted.log()).sum((1, 2))


def _score(model: SpotModel, photons: torch.Tensor, extra: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fisher information (N, 5, 5) and gradient of the log-likelihood (N, 5, without trailing axis)."""
    jacobian = model.jacobian()
    weighted = jacobian / (model.mean + extra[:, None, None]).flatten(1)[:, None]
    residual = (photons - model.mean).flatten(1)
    return weighted @ jacobian.mT, (weighted @ residual[..., None])[..., 0]


def _measure_shape(model: SpotModel, photons: torch.Tensor, extra: torch.Tensor, excess: torch.Tensor):
    """Elongation, shear and their error, (N,) each, see `SpotFit`; both are independent of the other parameters."""
    shapes = model.shapes()
    weighted = shapes / (model.mean + extra[:, None, None]).flatten(1)[:, None]
    information = (weighted * shapes).sum(2).clamp(min=1e-9)
    values = (weighted * (photons - model.mean).flatten(1)[:, None]).sum(2) / information
    return values[:, 0], values[:, 1], (excess / information.mean(1)).sqrt()
