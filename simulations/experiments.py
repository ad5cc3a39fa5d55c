"""Experiments with published parameters: the defaults of andi_datasets, and the nine of the AnDi-2 benchmark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulations.worlds import BOX_PX, FOV_PX, FRAMES, SIGMA_PX, Worlds


def andi2_worlds(model: str, n: int, rng, n_frames: int) -> Worlds:
    """Draw `n` worlds from the defaults of andi_datasets 2.1.13 (`_get_dic_andi2`): 50 particles, K about 1."""
    k = np.ones((n, 1))
    alpha = rng.uniform(0.5, 1.5, (n, 1))
    if model in ("multi_state", "dimerization", "confinement"):
        fast = 1 + 0.01 * rng.normal(size=n)
        k = np.stack([fast, fast * rng.uniform(0.01, 0.1, n) + 0.01], 1)
        first = rng.uniform(0.8, 1.2, n)
        alpha = np.stack([first, first - rng.uniform(0.2, 0.6, n)], 1)
    full = np.full(n, 1.0)
    extra = {
        "multi_state": {"transition": np.tile([[0.99, 0.01], [0.01, 0.99]], (n, 1, 1))},
        "immobile_traps": {"radius": 0.4 * full, "count": np.full(n, 300), "p_bind": full, "p_unbind": 0.01 * full},
        "dimerization": {"radius": 0.6 * full, "count": np.full(n, 0), "p_bind": full, "p_unbind": 0.01 * full},
        "confinement": {"radius": 5 * full, "count": np.full(n, 30), "transmittance": 0.1 * full},
    }.get(model, {})
    return Worlds(
        model,
        50,
        n_frames,
        k,
        0.01 * k,
        alpha,
        np.full_like(alpha, 0.01),
        BOX_PX * full,
        FOV_PX * full,
        SIGMA_PX * full,
        **extra,
    )


def _experiment(model: str, k, alpha, n_particles: int, **extra) -> Worlds:
    """Build one published experiment; `k` and `alpha` are lists of (mean, variance) per state."""
    k, alpha = np.array(k, float), np.array(alpha, float)
    one = np.ones(1)
    extra = {n: np.array([v], int if n == "count" else float) for n, v in extra.items()}
    return Worlds(
        model,
        n_particles,
        FRAMES,
        k[None, :, 0],
        k[None, :, 1],
        alpha[None, :, 0],
        alpha[None, :, 1],
        BOX_PX * one,
        FOV_PX * one,
        SIGMA_PX * one,
        **extra,
    )


_SLOW_DIMER = dict(k=[(1, 0.1), (0.01, 0.001)], alpha=[(1, 0.005), (0.2, 0.001)])
_FAST_DIMER = dict(k=[(0.1, 0.1), (1, 0.01)], alpha=[(0.7, 0.1), (1.2, 0.01)])
EXPERIMENTS: tuple[Worlds, ...] = (  # EXP 1-9 of the AnDi-2 benchmark (andi_datasets tutorial challenge_two_benchmark)
    _experiment("multi_state", [(0.15, 0.01), (0.33, 0.001), (0.95, 0.01)], [(1, 1e-4), (1, 0.01), (1, 0.01)], 100,
                transition=[[0.946, 0.024, 0.03], [0.016, 0.92, 0.064], [0.037, 0.14, 0.823]]),
    _experiment("dimerization", [(0.28, 0.001), (0.0035, 0.0001)], [(1, 0.1), (1.1, 0.01)], 750,
                radius=0.5, count=0, p_bind=1, p_unbind=0.1),
    _experiment("immobile_traps", [(1, 0.1)], [(1, 0.005)], 100, radius=0.4, count=500, p_bind=0.7, p_unbind=1 / 60),
    _experiment("confinement", n_particles=100, radius=2, count=150, transmittance=0.1, **_SLOW_DIMER),
    _experiment("dimerization", n_particles=500, radius=0.35, count=0, p_bind=1, p_unbind=1 / 60, **_SLOW_DIMER),
    _experiment("dimerization", n_particles=100, radius=1, count=0, p_bind=1, p_unbind=0.05, **_FAST_DIMER),
    _experiment("multi_state", n_particles=100, transition=[[1 - 1 / 60, 1 / 60], [0.05, 0.95]], **_FAST_DIMER),
    _experiment("single_state", [(1, 100)], [(1, 10)], 100),
    _experiment("immobile_traps", [(1, 0.01)], [(1.99, 0.01)], 100, radius=1.5, count=1000, p_bind=0.7, p_unbind=0.2),
)  # fmt: skip


def benchmark_worlds(model: str, n: int, rng, n_frames: int) -> Worlds:
    """Return `n` copies of one published experiment of this model, chosen at random if there are several.

    Raises
    ------
    ValueError
        If there is no published experiment of this model.
    """
    candidates = [e for e in EXPERIMENTS if e.model == model]
    if not candidates:
        raise ValueError(f"the benchmark has no experiment of model {model!r}")
    return replace(candidates[rng.integers(len(candidates))][np.zeros(n, int)], n_frames=n_frames)
