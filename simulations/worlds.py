"""Simulated experiments ("worlds") as arrays of their parameters.

A world is one simulated experiment, as andi_datasets defines it: some particles, one phenomenological model, one set
of diffusive parameters, one box, one field of view, one localisation error. Lengths are in pixels, times in frames,
K in px^2/frame^alpha. Both engines (`andi.py`, `batched.py`) simulate the same `Worlds`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

# Defaults of the AnDi-2 challenge (andi_datasets 2.1.13): side of the field of view and of the box, localisation error,
# frames of a movie, frames of the shortest track.
FOV_PX, BOX_PX, SIGMA_PX, FRAMES, MIN_FRAMES = 128.0, 1.8 * 128, 0.12, 200, 20


@dataclass(frozen=True)
class Worlds:
    """Parameters of W simulated experiments of one model; the first axis of every array is the experiment.

    There are S diffusive states. State 0 is the free state; in dimerisation and confinement state 1 is the dimer or the
    inside of a compartment. As in andi_datasets, every particle draws K and alpha from normal distributions truncated
    to [1e-12, 1e6] and [0, 1.999]; `k_var` and `alpha_var` are **variances**.
    """

    model: str
    n_particles: int
    n_frames: int
    k_mean: np.ndarray  # (W, S) px^2/frame^alpha
    k_var: np.ndarray  # (W, S)
    alpha_mean: np.ndarray  # (W, S)
    alpha_var: np.ndarray  # (W, S)
    box: np.ndarray  # (W,) side of the reflecting box, px
    fov: np.ndarray  # (W,) side of the field of view, px
    sigma: np.ndarray  # (W,) localisation error, px
    transition: np.ndarray | None = None  # (W, S, S) per frame, multi_state
    radius: np.ndarray | None = None  # (W,) of traps, particles or compartments, px
    count: np.ndarray | None = None  # (W,) number of traps or compartments
    p_bind: np.ndarray | None = None  # (W,) per frame
    p_unbind: np.ndarray | None = None  # (W,) per frame
    transmittance: np.ndarray | None = None  # (W,) probability of leaving a compartment at each contact with its wall

    def __len__(self) -> int:
        return len(self.box)

    def __getitem__(self, index) -> Worlds:
        """Select worlds; an integer gives a `Worlds` of one."""
        index = slice(index, index + 1) if isinstance(index, (int, np.integer)) else index
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{n: a[index] for n, a in arrays.items() if isinstance(a, np.ndarray)})
