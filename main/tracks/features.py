"""Features: what the networks read of every frame of a padded track.

The `default` features are built from inner products of displacements, over the scale of the track. Shifting, rotating
or mirroring a track does not change them (up to rounding). Multiplying x, y and sigma by c changes only the scale,
which is returned with them. The `m3` features are the ten of the original system (Haidari and Kapanidis 2025); they
read pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

LAGS = (1, 2, 4, 8, 16)  # frames; of displacements
PRODUCT_LAGS = (1, 2, 3, 4)  # frames between the two steps of a scalar product
WINDOWS = (5, 17)  # frames; of local mean squared steps
FLOOR = 1e-4  # added to lengths over the scale of the track before their logarithm is taken
SMALLEST_SCALE = 1e-12  # unit of length; stands in for the scale of a track that never moves
N_FEATURES = {"default": 21, "m3": 10}


def features(
    xy: torch.Tensor, length: torch.Tensor, sigma: torch.Tensor | None = None, kind: str = "default", seen=None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of padded tracks; finite for any track, also for immobile ones and for a single frame.

    Parameters
    ----------
    xy : Tensor, shape (B, T, 2), px or um
        Positions; values beyond `length` are ignored.
    length : Tensor, shape (B,)
        Frames of each track.
    sigma : Tensor, shape (B,), same unit as `xy`, optional
        Localisation error per coordinate; NaN where unknown.
    kind : {"default", "m3"}
    seen : Tensor of bool, shape (B, T), optional
        False where the particle was not seen; `xy` is on a straight line there. The `m3` features ignore it.

    Returns
    -------
    feats : Tensor, shape (B, T, F), zero beyond `length`
        With `seen`, (B, T, F + 1): the last feature is 1 where the particle was not seen.
    log10_scale : Tensor, shape (B,)
        log10 of the scale of each track, which is its root mean square step per coordinate: K = 10 ** (output + 2 *
        log10_scale). Zero for `m3`.

    Raises
    ------
    ValueError
        If `kind` is not known.
    """
    valid = torch.arange(xy.shape[1], device=xy.device) < length[:, None]
    if kind == "m3":
        return _m3(xy, length, valid), torch.zeros(len(xy), device=xy.device)
    if kind != "default":
        raise ValueError(f"unknown features {kind!r}: expected one of {', '.join(N_FEATURES)}")
    xy = torch.where(valid[..., None], xy - xy[:, :1], 0.0)
    step, has_step = _displacement(xy, length, 1, 0)
    measured = has_step if seen is None else has_step & seen & F.pad(seen, (0, 1))[:, 1:]  # a bridged step is too small
    measured = torch.where(measured.any(1, keepdim=True), measured, has_step)
    n_steps = measured.sum(1).clamp_min(1)
    square = (step.square() * measured[..., None]).sum((1, 2))
    scale = ((square / (2 * n_steps)).sqrt()).clamp_min(SMALLEST_SCALE)  # (B,) rms step per axis
    xy, step = xy / scale[:, None, None], step / scale[:, None, None]
    parts = _radii(xy, length) + _products(step, has_step) + _local_scales(step, measured)
    parts += _distances(xy, valid) + [has_step.float()] + _constants(scale, sigma, length, valid)
    parts += [] if seen is None else [~seen]
    feats = torch.stack(parts, -1) * valid[..., None]
    return feats, scale.log10()


def _displacement(xy: torch.Tensor, length: torch.Tensor, lag: int, before: int):
    """x(t - before + lag) - x(t - before) at each t, and where both frames exist; (B, T, 2), (B, T)."""
    frames = xy.shape[1]
    time = torch.arange(frames, device=xy.device) - before
    ok = (time >= 0) & (time + lag < length[:, None])
    moved = xy[:, lag:] - xy[:, : max(frames - lag, 0)]
    return F.pad(moved, (0, 0, before, lag - before))[:, :frames] * ok[..., None], ok


def _log(ratio: torch.Tensor) -> torch.Tensor:
    return torch.log10(ratio + FLOOR)


def _radii(xy: torch.Tensor, length: torch.Tensor) -> list[torch.Tensor]:
    """Step length, and log displacement over a few lags centred on the frame."""
    parts = []
    for lag in LAGS:
        radius, ok = _displacement(xy, length, lag, lag // 2)
        radius = radius.square().sum(-1).sqrt()
        if lag == 1:
            parts.append(radius)
        parts.append(torch.where(ok, _log(radius), 0.0))
    return parts


def _products(step: torch.Tensor, has_step: torch.Tensor) -> list[torch.Tensor]:
    """Scalar products of steps a few frames apart, compressed, and the cosine of the first two."""
    parts = []
    size = step.square().sum(-1).sqrt()
    for lag in PRODUCT_LAGS:
        later = F.pad(step, (0, 0, 0, lag))[:, lag:]
        product = (step * later).sum(-1)
        parts.append(torch.asinh(product))
        if lag <= 2:
            sizes = size * F.pad(size, (0, lag))[:, lag:]
            parts.append(product / sizes.clamp_min(FLOOR**2))
    return parts


def _window_mean(values: torch.Tensor, weight: torch.Tensor, window: int) -> torch.Tensor:
    """Mean of `values` (B, T) over the frames of a centred window that carry weight."""
    kernel = torch.ones(1, 1, window, device=values.device, dtype=values.dtype)
    both = torch.stack([values * weight, weight.to(values.dtype)]).flatten(0, 1)[:, None]
    total = F.conv1d(both, kernel, padding=window // 2).squeeze(1).view(2, *values.shape)
    return total[0] / total[1].clamp_min(1)


def _local_scales(step: torch.Tensor, has_step: torch.Tensor) -> list[torch.Tensor]:
    square = step.square().sum(-1)
    return [_log(_window_mean(square, has_step, w).clamp_min(0).sqrt()) for w in WINDOWS]


def _distances(xy: torch.Tensor, valid: torch.Tensor) -> list[torch.Tensor]:
    """Log distance from the centre of the track and from moving averages: what confinement shows in."""
    n = valid.sum(1).clamp_min(1)[:, None, None]
    centre = (xy * valid[..., None]).sum(1, keepdim=True) / n
    parts = [_log((xy - centre).square().sum(-1).sqrt())]
    for window in (9, 33):
        mean = torch.stack([_window_mean(xy[..., i], valid, window) for i in (0, 1)], -1)
        parts.append(_log((xy - mean).square().sum(-1).sqrt()))
    return parts


def _constants(scale, sigma, length, valid) -> list[torch.Tensor]:
    """Per-track values repeated at every frame: localisation error over scale, whether it is known, length."""
    sigma = torch.full_like(scale, math.nan) if sigma is None else sigma.to(scale)
    known = torch.isfinite(sigma)
    ratio = torch.where(known, torch.log10(torch.nan_to_num(sigma) / scale + 1e-2).clamp(-2, 2), 0.0)
    log_length = torch.log10(length.to(scale).clamp_min(1)) - 2
    return [v[:, None].expand(valid.shape).to(scale.dtype) for v in (ratio, known, log_length)]


def _m3(xy: torch.Tensor, length: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The ten features of the original, in its column order, with its zeros where a difference does not exist."""
    n = length.clamp_min(1)[:, None, None]
    inside = valid[..., None]
    mean = (xy * inside).sum(1, keepdim=True) / n
    sd = (((xy - mean) * inside).square().sum(1, keepdim=True) / n).sqrt()
    z = _finite((xy - mean) / sd) * inside
    from_start = ((xy - xy[:, :1]) * inside).square().sum(-1).sqrt()
    dz, has_step = _displacement(z, length, 1, 0)
    step = dz.square().sum(-1).sqrt()
    raw_step = _displacement(xy, length, 1, 0)[0].square().sum(-1).sqrt()
    n_steps = has_step.sum(1, keepdim=True).clamp_min(1)
    step_mean = raw_step.sum(1, keepdim=True) / n_steps
    step_sd = (((raw_step - step_mean) * has_step).square().sum(1, keepdim=True) / n_steps).sqrt()
    z_step = _finite((raw_step - step_mean) / step_sd) * has_step
    after = F.pad(dz, (0, 0, 0, 1))[:, 1:]
    turns = has_step & F.pad(has_step, (0, 1))[:, 1:]
    cosine = _finite((-dz * after).sum(-1) / (step * F.pad(step, (0, 1))[:, 1:])).clamp(-1, 1)
    angle = torch.where(turns, torch.arccos(cosine), 0.0)
    z_start = ((z - z[:, :1]) * inside).square().sum(-1).sqrt()
    walked, walked_sq = (F.pad(s.cumsum(1), (1, -1)) for s in (step, step.square()))
    first = torch.arange(xy.shape[1], device=xy.device) == 0
    straightness = _finite(z_start / torch.where(first, 99.0, walked))
    efficiency = _finite(z_start.square() / torch.where(first, 99.0, walked_sq))
    dz_step, has_two = _displacement(z_step[..., None], length - 1, 1, 0)
    logs = [
        _finite(torch.where(ok, d.abs().log(), 0.0))
        for d, ok in ((dz[..., 0], has_step), (dz[..., 1], has_step), (dz_step[..., 0], has_two))
    ]
    parts = [z[..., 0], z[..., 1], from_start, z_step, angle, straightness, efficiency, *logs]
    return torch.stack(parts, -1) * inside


def _finite(values: torch.Tensor) -> torch.Tensor:
    return torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
