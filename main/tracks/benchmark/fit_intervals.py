"""Fit the factors of 90 % intervals, and the correlation of the errors of log10 K and alpha, on labelled values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from main.tracks.inference.calibration import INTERVALS, NAMES, SMALLEST_WIDTH, conditions
from main.tracks.table import add_half_widths
from main.utils.bootstrap import LEVEL

PLACES = {"alpha": (0.2, 0.6, 1.0, 1.4, 1.8), "width": (-0.8, -0.3, 0.2)}  # width: log10 of decades of K, or of alpha
LAG = -np.log10(0.02)  # log10 of the frames in a unit of time, in which K is calibrated too: 0.02 s and 1 s
MIN_CELL = 25  # values; smaller cells say nothing
# What a share inside above 90 % costs, where one below costs 1. Without the localisation error the bias depends on a
# noise that nobody sees, so that at some noise too many must be inside, if at no noise too few. Chosen on development
# data so that no cell of simulated stationary tracks is far below 90 %; misc/LOG.md, 2026-11-24 (intervals).
COST_ABOVE = {"known": 0.5, "unknown": 0.2}
COST_UNEQUAL_SIDES = 0.05  # of the square of the difference between the shares beyond the two ends
COST_FACTOR, COST_BEND = 2e-4, 5e-4  # of log factors: mean square, and squares of second differences between places
TEMPERATURES, STEPS = (
    (0.3, 0.1),
    60,
)  # of the soft step at an end of an interval, in its half widths; of L-BFGS for each
MAX_CORRELATION = 0.95


class Values(NamedTuple):
    """Labelled values and their intervals, N rows.

    Parameters
    ----------
    truth : dict
        log10_k and alpha, each (N,).
    ends : dict
        As `main.tracks.inference.calibration.stretch` takes it.
    known : numpy.ndarray of bool, shape (N,)
        Whether the localisation error is known.
    cell : numpy.ndarray of int, shape (N,)
        Cells in which the share inside is to be right, numbered from 0.
    weight : numpy.ndarray, shape (number of cells,)
    """

    truth: dict
    ends: dict
    known: np.ndarray
    cell: np.ndarray
    weight: np.ndarray


def fit_factors(values: Values) -> dict:
    """Fit factors with which 90 % of the true values lie inside in every cell, as far as few factors can.

    The share inside is that of log10 K at one frame, of alpha, and of log10 K in a unit of time of many frames, in
    which both errors and their correlation count.

    Parameters
    ----------
    values : Values

    Returns
    -------
    dict
        "known", "unknown", as `main.tracks.inference.calibration.stretch` takes them. Where only one of the two occurs
        in `values`, it stands for both.
    """
    rows = {"known": values.known, "unknown": ~values.known}
    found = {name: _fit(values, of, COST_ABOVE[name]) for name, of in rows.items() if of.any()}
    return {name: found.get(name) or next(iter(found.values())) for name in rows}


def _fit(values: Values, rows: np.ndarray, cost_above: float) -> dict:
    """Fit the factors of some rows, see `fit_factors`."""
    ends = {name: tuple(end[rows] for end in values.ends[name]) for name in NAMES}
    errors = [torch.as_tensor(values.truth[name][rows] - ends[name][0]) for name in NAMES]
    widths = [w for p, low, high in (ends[name] for name in NAMES) for w in (p - low, high - p)]
    widths = [torch.as_tensor(np.maximum(width, SMALLEST_WIDTH)) for width in widths]
    hats = [{by: torch.as_tensor(hat(place[by], PLACES[by])) for by in PLACES} for place in conditions(ends)]
    sides = [{by: torch.zeros(len(at), dtype=torch.float64) for by, at in PLACES.items()} for _ in INTERVALS]
    angle = torch.zeros(len(PLACES["alpha"]), dtype=torch.float64)
    parameters = [log for side in sides for log in side.values()] + [angle]
    for parameter in parameters:
        parameter.requires_grad_()
    cell, count = torch.as_tensor(values.cell[rows]), np.bincount(values.cell[rows], minlength=len(values.weight))
    weight = torch.as_tensor(values.weight * np.sqrt(count) * (count >= min(MIN_CELL, count.max())))
    weight = weight / weight.sum()
    count = torch.as_tensor(np.maximum(count, 1))

    def share(beyond):
        """Mean over each cell of values (N,)."""
        return torch.zeros(len(count), dtype=torch.float64).index_add(0, cell, beyond) / count

    def cost(temperature):
        """Cost of the shares that lie beyond the ends, counted by sigmoids that are this wide."""
        logs = [sum(hats[i // 2][by] @ log for by, log in side.items()) for i, side in enumerate(sides)]
        k_lo, k_hi, alpha_lo, alpha_hi = (w * torch.exp(log) for w, log in zip(widths, logs, strict=True))
        correlation = hats[0]["alpha"] @ (MAX_CORRELATION * torch.tanh(angle))
        low, high = (add_half_widths(k, alpha, correlation, LAG) for k, alpha in ((k_lo, alpha_lo), (k_hi, alpha_hi)))
        total = COST_FACTOR * sum((log**2).mean() for log in parameters)
        total = total + COST_BEND * sum((log.diff(n=2) ** 2).sum() for log in parameters)
        joint = errors[0] + LAG * errors[1]
        for error, lower, upper in ((errors[0], k_lo, k_hi), (errors[1], alpha_lo, alpha_hi), (joint, low, high)):
            below = share(torch.sigmoid((-error / lower - 1) / temperature))
            above = share(torch.sigmoid((error / upper - 1) / temperature))
            missing = below + above - (1 - LEVEL)
            square = torch.where(missing > 0, 1.0, cost_above) * missing**2
            total = total + (weight * (square + COST_UNEQUAL_SIDES * (below - above) ** 2)).sum()
        return total

    _minimise(cost, parameters)
    named = {
        end: {by: [round(float(f), 3) for f in log.detach().exp()] for by, log in side.items()}
        for end, side in zip(INTERVALS, sides, strict=True)
    }
    correlation = [round(float(c), 3) for c in MAX_CORRELATION * torch.tanh(angle.detach())]
    return {"at": {by: list(at) for by, at in PLACES.items()}} | named | {"correlation": correlation}


def _minimise(cost, parameters: list[torch.Tensor]) -> None:
    """Minimise `cost(temperature)` over the parameters, in place, at one temperature after the other."""
    for temperature in TEMPERATURES:
        optimizer = torch.optim.LBFGS(
            parameters, max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-9
        )

        def closure(optimizer=optimizer, temperature=temperature):
            """Cost with its gradient, as LBFGS asks for it."""
            optimizer.zero_grad()
            loss = cost(temperature)
            loss.backward()
            return loss

        optimizer.step(closure)


def hat(x: np.ndarray, at) -> np.ndarray:
    """Weights (N, number of places) that interpolate between values at increasing places, constant beyond them."""
    return np.stack([np.interp(x, at, row) for row in np.eye(len(at))], axis=1)
