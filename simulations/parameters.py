"""What is simulated: named ranges of parameters ("priors"), and the drawing of experiments ("worlds") from them.

Lengths are in pixels, times in frames, K in px^2/frame^alpha.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from simulations.experiments import andi2_worlds, benchmark_worlds
from simulations.worlds import BOX_PX, FOV_PX, FRAMES, MIN_FRAMES, SIGMA_PX, Worlds

STATES = ("trapped", "confined", "free", "directed")
TRAPPED, CONFINED, FREE, DIRECTED = range(4)  # indices into STATES
MODELS = ("single_state", "multi_state", "immobile_traps", "dimerization", "confinement")
# In these models the label of frame t governs the step t-1 -> t, in the others the step t -> t+1: andi_datasets changes
# the state of a particle that binds or unbinds before the particle moves, and in the other models after.
STEP_ENDS_AT_LABEL = ("immobile_traps", "dimerization")
LONGEST_GAP = 3  # missing frames in a row that are bridged by a straight line; a longer gap cuts a track
# What `microscope` accepts; a wider range than any instrument or molecule has.
SIZE_LIMITS = (1e-6, 1e6)  # um or s
K_LIMITS_UM2 = (1e-9, 1e6)  # um^2/s^alpha
ALPHA_LIMITS = (0.01, 1.999)
MAX_FRAMES = 10_000
ALPHA_DIRECTED = 1.9  # andi_datasets: alpha at or above this is "directed"


@dataclass(frozen=True)
class Range:
    """An interval; values are drawn uniformly in it or, with log=True, uniformly in the logarithm."""

    low: float
    high: float
    log: bool = False

    def sample(self, rng: np.random.Generator, size) -> np.ndarray:
        """Draw values of shape `size`."""
        if self.log:
            return 10 ** rng.uniform(np.log10(self.low), np.log10(self.high), size)
        return rng.uniform(self.low, self.high, size)


@dataclass(frozen=True)
class Prior:
    """Ranges from which worlds are drawn. `microscope` makes one for an experiment, `dataclasses.replace` changes one.

    With `relative=True`, radii, box and localisation error are in units of the step sqrt(2 K) of the free state instead
    of pixels, so that the geometry relative to the steps is the same at every K.
    """

    name: str
    k: Range  # of the free (first) state, px^2/frame^alpha
    alpha: Range
    k_ratio: Range | None  # K of each other state over K of the first; None: drawn independently from `k`
    normal_alpha: float  # probability that alpha of a state is drawn close to 1 instead of from `alpha`
    k_relative_sd: Range  # spread between particles, sd of K over its mean
    alpha_sd: Range
    n_states: tuple[int, ...]  # of multi_state
    leave: Range  # probability per frame of leaving a state, multi_state
    sigma: Range
    perfect: float  # probability of no localisation error
    box: Range
    fov_fraction: float  # field of view over box
    trap_radius: Range
    trap_area: Range  # fraction of the box covered by traps
    particle_radius: Range
    particle_area: Range | None  # fraction of the box covered; None: the box is drawn from `box`
    compartment_radius: Range
    compartment_area: Range
    p_bind: Range
    p_unbind: Range
    transmittance: Range
    relative: bool = True
    absolute_sigma: bool = False  # localisation error in pixels although the other lengths are relative
    k_shift: float = 0.0  # K = draw - k_shift, at least 0.01 if a shift is given
    directed: float = 0.0  # share of worlds with alpha in 1.91-1.99 in one state ("directed-enriched" of the original)
    directed_traps: float = 0.0  # the same in worlds with traps
    one_fixed: float = 0.0  # share of multi_state worlds in which only K or only alpha changes
    one_fixed_spread: float = 1.0  # factor on the spread between particles in those worlds
    n_dimerizing: int = 64  # particles of a dimerization world
    trap_count: Range | None = None  # instead of `trap_area`
    compartment_count: Range | None = None  # instead of `compartment_area`
    n_frames: int = FRAMES  # of a movie: the longest track
    spread_by_state: bool = False  # whether states differ in `k_relative_sd`


BROAD = Prior(
    name="broad", k=Range(1e-4, 1e2, log=True), alpha=Range(0.05, 1.99), k_ratio=Range(3e-3, 10, log=True),
    normal_alpha=0.3, k_relative_sd=Range(0.02, 1.0, log=True), alpha_sd=Range(0.01, 0.4, log=True),
    n_states=(2, 2, 3, 4), leave=Range(0.001, 0.33, log=True), sigma=Range(0.02, 1.0, log=True), perfect=0.1,
    box=Range(30, 600, log=True), fov_fraction=0.7, trap_radius=Range(0.2, 2.0, log=True),
    trap_area=Range(0.002, 0.15, log=True),
    particle_radius=Range(0.2, 2.5, log=True), particle_area=Range(0.003, 0.05, log=True),
    compartment_radius=Range(1, 8, log=True), compartment_area=Range(0.03, 0.3), p_bind=Range(0.4, 1),
    p_unbind=Range(0.003, 0.3, log=True), transmittance=Range(0.01, 0.6, log=True), directed=0.15,
    directed_traps=0.35, one_fixed=0.1,
)  # fmt: skip
CHALLENGE = replace(  # pixel sizes, noise and geometry of the AnDi-2 challenge, any diffusive parameters
    BROAD, name="challenge", relative=False, k=Range(0.03, 3, log=True), alpha=Range(0.1, 1.99), n_states=(2, 2, 3),
    leave=Range(0.005, 0.25, log=True), sigma=Range(SIGMA_PX, SIGMA_PX), perfect=0.0, box=Range(FOV_PX, BOX_PX),
    trap_radius=Range(0.3, 1.5), trap_area=Range(0.002, 0.15, log=True), particle_radius=Range(0.3, 1.0),
    particle_area=Range(0.003, 0.02, log=True), compartment_radius=Range(2, 8), compartment_area=Range(0.03, 0.2),
    p_unbind=Range(0.01, 0.3, log=True), transmittance=Range(0.02, 0.5, log=True),
)  # fmt: skip
M3 = Prior(
    name="m3", k=Range(10**0.01, 10**6, log=True), k_shift=1.0, alpha=Range(0.01, 1.99), k_ratio=None,
    normal_alpha=0.0, k_relative_sd=Range(0.1, 0.1), alpha_sd=Range(0.1, 0.1), n_states=(2, 3),
    leave=Range(0.1, 0.5), sigma=Range(SIGMA_PX, SIGMA_PX), perfect=0.0, box=Range(BOX_PX, BOX_PX), fov_fraction=0.0,
    trap_radius=Range(0.5, 2), trap_area=Range(0.005, 0.01), particle_radius=Range(0.5, 5), particle_area=None,
    compartment_radius=Range(5, 10), compartment_area=Range(0.05, 0.2), p_bind=Range(1, 1), p_unbind=Range(1e-4, 0.1),
    transmittance=Range(0, 0.3), relative=False, directed=0.1, directed_traps=0.1, one_fixed=0.2, one_fixed_spread=0.5,
    n_dimerizing=100,
    trap_count=Range(100, 300), compartment_count=Range(30, 50),
)  # fmt: skip
PRIORS: dict[str, Prior | str] = {
    "broad": BROAD,
    "challenge": CHALLENGE,
    "m3": M3,
    "andi2": "andi2",
    "benchmark": "benchmark",
}

_PARTICLES = {"single_state": 1, "multi_state": 1, "immobile_traps": 16, "confinement": 16}
_MAX_COUNT = 600  # traps or compartments per world


def microscope(
    pixel_size_um: float,
    frame_interval_s: float,
    localization_error_um: float,
    k_um2_per_s_alpha,
    alpha=(0.05, 1.99),
    n_frames: int = FRAMES,
) -> Prior:
    """Make the prior of an experiment: `broad` with its localisation error, its K and alpha and its track length.

    Parameters
    ----------
    pixel_size_um, frame_interval_s : float
        Side of a pixel, um, and time between frames, s.
    localization_error_um : float
        Standard deviation of the localisation error per coordinate, um; half to twice this value is simulated.
    k_um2_per_s_alpha : (float, float)
        Smallest and largest K expected of a moving particle, um^2/s^alpha.
    alpha : (float, float)
        Smallest and largest anomalous exponent expected. Directed motion (alpha above 1.9) is simulated only if the
        largest is above 1.9.
    n_frames : int
        Frames of the longest track, at least 20.

    Returns
    -------
    Prior
        In pixels and frames. As K in px^2/frame^alpha depends on alpha, its range is wide enough for every alpha.

    Raises
    ------
    ValueError
        If a value is not possible; the message names it.
    """
    sizes = {
        "pixel_size_um": pixel_size_um,
        "frame_interval_s": frame_interval_s,
        "localization_error_um": localization_error_um,
    }
    for name, value in sizes.items():
        _check_number(name, value, *SIZE_LIMITS)
    for name, pair, limits in (
        ("k_um2_per_s_alpha", k_um2_per_s_alpha, K_LIMITS_UM2),
        ("alpha", alpha, ALPHA_LIMITS),
    ):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise ValueError(f"{name} {pair!r}: expected two numbers, the smallest and the largest")
        for value in pair:
            _check_number(name, value, *limits)
        if not pair[0] < pair[1]:
            raise ValueError(f"{name} {pair[0]}, {pair[1]}: expected the smaller number first")
    if not isinstance(n_frames, Integral) or not MIN_FRAMES <= n_frames <= MAX_FRAMES:
        raise ValueError(f"n_frames {n_frames!r}: expected a whole number from {MIN_FRAMES} to {MAX_FRAMES}")
    factors = [frame_interval_s**a / pixel_size_um**2 for a in alpha]
    k_px = Range(k_um2_per_s_alpha[0] * min(factors), k_um2_per_s_alpha[1] * max(factors), log=True)
    sigma = localization_error_um / pixel_size_um
    directed = {n: getattr(BROAD, n) * (alpha[1] > ALPHA_DIRECTED) for n in ("directed", "directed_traps")}
    return replace(
        BROAD,
        name="microscope",
        k=k_px,
        alpha=Range(*alpha),
        n_frames=n_frames,
        sigma=Range(sigma / 2, 2 * sigma),
        perfect=0.0,
        absolute_sigma=True,
        **directed,
    )


def _check_number(name: str, value, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        raise ValueError(f"{name} {value!r}: expected a number from {low:g} to {high:g}")


def read_prior(path) -> Prior:
    """Read a prior from a JSON file that holds the arguments of `microscope`.

    Raises
    ------
    ValueError
        If the file is not JSON, or its keys or values are not those of `microscope`.
    """
    try:
        values = json.loads(Path(path).read_text())
        if not isinstance(values, dict):
            raise ValueError("expected an object with the arguments of microscope, in braces")
        return microscope(**values)
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise ValueError(f"prior {path}: {error}") from None


def sample_worlds(
    prior: Prior | str, model: str, n: int, rng: np.random.Generator, n_frames=None, n_particles=None
) -> Worlds:
    """Draw `n` worlds of one model from a prior.

    Parameters
    ----------
    prior : Prior or str
        Ranges, or the name of a prior in `PRIORS`: "andi2" gives the defaults of andi_datasets, "benchmark" one of the
        published experiments of the model, drawn at random.
    model : str
        One of `MODELS`.
    n : int
        Number of worlds.
    rng : numpy.random.Generator
    n_frames : int, optional
        Frames of the movie; default: those of the prior, or 200.
    n_particles : int, optional
        Particles of each world; default: the number of the prior or the model.

    Raises
    ------
    ValueError
        If the prior or the model is not known, or the benchmark holds no experiment of that model.
    """
    prior = PRIORS.get(prior, prior) if isinstance(prior, str) else prior
    if model not in MODELS:
        raise ValueError(f"unknown model {model!r}: expected one of {', '.join(MODELS)}")
    n_frames = n_frames or getattr(prior, "n_frames", FRAMES)
    if prior == "andi2":
        return andi2_worlds(model, n, rng, n_frames)
    if prior == "benchmark":
        return benchmark_worlds(model, n, rng, n_frames)
    if not isinstance(prior, Prior):
        raise ValueError(f"unknown prior {prior!r}: expected a Prior or one of {', '.join(PRIORS)}")
    return _draw_worlds(prior, model, n, rng, n_frames, n_particles)


def _draw_worlds(prior: Prior, model: str, n: int, rng, n_frames: int, n_particles: int | None) -> Worlds:
    """Draw worlds from the ranges of a prior."""
    n_states = {"single_state": 1, "immobile_traps": 1, "multi_state": rng.choice(prior.n_states)}.get(model, 2)
    share = prior.directed_traps if model == "immobile_traps" else prior.directed
    k, alpha = _sample_diffusion(prior, n, n_states, share, rng)
    spread = np.ones((n, 1))
    if model == "multi_state":
        spread[_equalise_states(prior, k, alpha, rng)] = prior.one_fixed_spread
    unit = np.sqrt(2 * k[:, 0]) if prior.relative else np.ones(n)
    box = prior.box.sample(rng, n) * unit
    sigma_unit = 1.0 if prior.absolute_sigma else unit
    sigma = prior.sigma.sample(rng, n) * sigma_unit * (rng.random(n) >= prior.perfect)
    extra, box = _sample_geometry(prior, model, n, unit, box, rng)
    k_sd = spread * prior.k_relative_sd.sample(rng, k.shape if prior.spread_by_state else (n, 1)) * k
    alpha_sd = spread * prior.alpha_sd.sample(rng, (n, 1)) * (alpha if prior.name == "m3" else 1.0)
    n_particles = n_particles or _PARTICLES.get(model, prior.n_dimerizing)
    if n_particles == 1 and prior.name != "m3":  # with one particle per world, the spread between worlds is enough
        k_sd, alpha_sd = 0 * k_sd, 0 * alpha_sd
    if model == "multi_state":
        extra["transition"] = _sample_transition(prior, n, n_states, rng)
    fov = box * prior.fov_fraction if prior.fov_fraction else 20 * box  # 0: the whole box is seen
    return Worlds(
        model,
        n_particles,
        n_frames,
        k,
        k_sd**2,
        alpha,
        np.broadcast_to(alpha_sd**2, k.shape).copy(),
        box,
        fov,
        sigma,
        **extra,
    )


def _sample_diffusion(prior: Prior, n: int, n_states: int, directed_share: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """Mean K and mean alpha of each state, each (W, S)."""
    k = prior.k.sample(rng, (n, n_states))
    if prior.k_ratio is not None:
        k[:, 1:] = k[:, :1] * prior.k_ratio.sample(rng, (n, n_states - 1))
        close = rng.random((n, n_states - 1)) < 0.4  # difficult cases: states whose K differ by a factor of 2 to 5
        k[:, 1:] = np.where(close, k[:, :1] * 10 ** rng.normal(0, 0.5, close.shape), k[:, 1:])
    if prior.k_shift:
        k = np.maximum(k - prior.k_shift, 0.01)
    alpha = prior.alpha.sample(rng, (n, n_states))
    near_one = np.clip(rng.normal(1, 0.1, alpha.shape), prior.alpha.low, prior.alpha.high)
    alpha = np.where(rng.random(alpha.shape) < prior.normal_alpha, near_one, alpha)
    directed = rng.random(n) < directed_share
    state = rng.integers(n_states, size=n)
    alpha[directed, state[directed]] = rng.uniform(1.91, 1.99, directed.sum())
    return k, alpha


def _equalise_states(prior: Prior, k: np.ndarray, alpha: np.ndarray, rng) -> np.ndarray:
    """Make K or alpha equal in all states of some worlds, in place; returns which worlds, (W,) bool."""
    draw = rng.random(len(k))
    k_fixed, alpha_fixed = draw < prior.one_fixed / 2, (draw >= prior.one_fixed / 2) & (draw < prior.one_fixed)
    k[k_fixed] = k[k_fixed, :1]
    alpha[alpha_fixed] = alpha[alpha_fixed, :1]
    return k_fixed | alpha_fixed


def _sample_transition(prior: Prior, n: int, n_states: int, rng) -> np.ndarray:
    """Transition matrices per frame, (W, S, S)."""
    leave = prior.leave.sample(rng, (n, n_states))
    transition = np.zeros((n, n_states, n_states))
    for i in range(n_states):
        others = [j for j in range(n_states) if j != i]
        transition[:, i, others] = leave[:, i, None] * rng.dirichlet(np.ones(n_states - 1), n)
        transition[:, i, i] = 1 - leave[:, i]
    return transition


def _sample_geometry(prior: Prior, model: str, n: int, unit, box, rng) -> tuple[dict, np.ndarray]:
    """Fields of `Worlds` for traps, dimers or compartments, and the side of the box, (W,) px."""
    if model == "immobile_traps":
        radius = prior.trap_radius.sample(rng, n) * unit
        count = _sample_count(prior.trap_count, prior.trap_area, radius, box, rng)
    elif model == "dimerization":
        radius = prior.particle_radius.sample(rng, n) * unit
        if prior.particle_area is not None:
            box = np.sqrt(prior.n_dimerizing * np.pi * radius**2 / prior.particle_area.sample(rng, n))
        count = np.zeros(n)
    elif model == "confinement":
        radius = np.minimum(prior.compartment_radius.sample(rng, n) * unit, box / 4)
        count = _sample_count(prior.compartment_count, prior.compartment_area, radius, box, rng)
    else:
        return {}, box
    extra = {"radius": radius, "count": np.clip(np.rint(count), 1, _MAX_COUNT).astype(int)}
    if model == "confinement":
        extra["transmittance"] = prior.transmittance.sample(rng, n)
    else:
        extra["p_bind"] = np.where(rng.random(n) < 0.5, 1.0, prior.p_bind.sample(rng, n))
        extra["p_unbind"] = prior.p_unbind.sample(rng, n)
    return extra, box


def _sample_count(count: Range | None, area: Range, radius, box, rng) -> np.ndarray:
    """Number of discs per world, (W,): drawn from `count`, or such that they cover a fraction drawn from `area`."""
    if count is not None:
        return count.sample(rng, len(box))
    return area.sample(rng, len(box)) * box**2 / (np.pi * radius**2)
