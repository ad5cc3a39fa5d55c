"""What `test_equivalence.py` compares: fifteen parameter sets, statistics of simulated worlds, and their differences.

`python tests/equivalence.py` simulates the sets with andi_datasets (seeded, 9 minutes on one core) and writes
their statistics to `reference_statistics.json`; needed again only if a set, a statistic or the library changes.

Every statistic is a ratio of two sums over a world. Particles of one world share traps, compartments or partners, so
the world is the unit: the standard error of a ratio is that of its linearised residuals over independent worlds.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from andi_datasets.models_phenom import models_phenom
from scipy import stats
from tqdm import tqdm

from main.tracks.learning.augment import STEP_ENDS_AT_LABEL
from simulations import batched
from simulations.andi import library_arguments, seeded
from simulations.experiments import EXPERIMENTS
from simulations.labels import label_filter
from simulations.parameters import MODELS, STATES, sample_worlds
from simulations.worlds import Worlds

REFERENCE = Path(__file__).with_name("reference_statistics.json")
SEED = 2024
MSD_LAGS, RUN_LAGS, COVARIANCE_LAGS = (1, 2, 5, 10, 20, 50), (2, 5, 10, 20, 40), range(11)  # frames
DWELLS = (1, 2, 4, 8, 16, 32, 64)  # frames
ROUNDING = 1e-6  # relative, of float32 and of the stored values
MIN_EVENTS = 100  # in the reference: what is rarer is not normal enough to compare


class Sample(NamedTuple):
    """W simulated worlds of N particles, raw positions and codes, filtered labels."""

    model: str
    box: float  # px
    xy: np.ndarray  # (W, N, T, 2) px
    codes: np.ndarray  # (W, N, T) int, the unfiltered index of the particle's state
    k: np.ndarray  # (W, N, T) px^2/frame^alpha, after the label filter
    alpha: np.ndarray  # (W, N, T), after the label filter
    state: np.ndarray  # (W, N, T) index into STATES, after the label filter


class ParameterSet(NamedTuple):
    """One world, and how many copies of it each engine simulates."""

    world: Worlds
    n_library: int
    n_batched: int


def _scaled(world: Worlds, n_particles: int, factor: float) -> Worlds:
    """The same densities of particles, traps and compartments in a box `factor` times as wide, seen entirely."""
    box = world.box * factor
    count = None if world.count is None else np.rint(world.count * factor**2).astype(int)
    return replace(world, n_particles=n_particles, box=box, fov=20 * box, sigma=np.zeros(1), count=count)


def _andi2(model: str, n_particles: int, factor: float = 1.0) -> Worlds:
    return _scaled(sample_worlds("andi2", model, 1, np.random.default_rng(3)), n_particles, factor)


def _stress(model: str, k, alpha, box: float, n_particles: int, n_frames=100, **extra) -> Worlds:
    """Frequent events, no spread between particles: the sets in which a small error shows best."""
    k, alpha = np.array([k], float), np.array([alpha], float)
    extra = {name: np.array([value]) for name, value in extra.items()}
    side = np.array([float(box)])
    return Worlds(model, n_particles, n_frames, k, 0 * k, alpha, 0 * alpha, side, 20 * side, np.zeros(1), **extra)


_LEAVE = [[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.02, 0.13, 0.85]]
SETS = {  # a published experiment, the defaults of andi_datasets, a stress case
    "single_state published": ParameterSet(_scaled(EXPERIMENTS[7], 20, 1), 400, 300),
    "single_state andi2": ParameterSet(_andi2("single_state", 20), 400, 300),
    "single_state stress": ParameterSet(_stress("single_state", [1], [1.8], 30, 20), 400, 300),
    "multi_state published": ParameterSet(_scaled(EXPERIMENTS[0], 20, 1), 300, 400),
    "multi_state andi2": ParameterSet(_andi2("multi_state", 20), 400, 400),
    "multi_state stress": ParameterSet(
        _stress("multi_state", [1, 0.2, 0.05], [1.8, 1.2, 0.7], 20, 20, transition=_LEAVE), 500, 400
    ),
    "immobile_traps published": ParameterSet(_scaled(EXPERIMENTS[2], 25, 0.5), 1000, 400),
    "immobile_traps andi2": ParameterSet(_andi2("immobile_traps", 25, 0.5), 1000, 400),
    "immobile_traps stress": ParameterSet(
        _stress("immobile_traps", [0.5], [1.4], 30, 25, radius=1.0, count=45, p_bind=0.6, p_unbind=0.1), 1000, 400
    ),
    "dimerization published": ParameterSet(_scaled(EXPERIMENTS[1], 50, (50 / 750) ** 0.5), 300, 200),
    "dimerization andi2": ParameterSet(_andi2("dimerization", 50), 400, 200),
    "dimerization stress": ParameterSet(
        _stress("dimerization", [0.5, 0.1], [1.3, 0.7], 30, 40, radius=0.6, count=0, p_bind=0.5, p_unbind=0.1), 800, 400
    ),
    "confinement published": ParameterSet(_scaled(EXPERIMENTS[3], 20, 1), 300, 400),
    "confinement andi2": ParameterSet(_andi2("confinement", 20), 400, 400),
    "confinement stress": ParameterSet(
        _stress("confinement", [1, 0.5], [1.2, 0.8], 40, 20, radius=3.0, count=17, transmittance=0.5), 400, 400
    ),
}


def library_sample(world: Worlds, n_worlds: int, seed: int) -> Sample:
    """`n_worlds` copies of a world by andi_datasets, each seeded on its own."""
    samples = [_library_world(world, child) for child in np.random.SeedSequence(seed).spawn(n_worlds)]
    return Sample(world.model, float(world.box[0]), *(np.stack(arrays) for arrays in zip(*samples, strict=True)))


def _library_world(world: Worlds, seed: np.random.SeedSequence) -> tuple[np.ndarray, ...]:
    numbered = {"return_state_num": True} if world.model in ("multi_state", "dimerization") else {}
    with seeded(seed):
        xy, labels = getattr(models_phenom(), world.model)(**library_arguments(world), **numbered)
    xy, labels = xy.transpose(1, 0, 2), labels.transpose(1, 0, 2)  # particles first
    if numbered:
        codes = labels[..., 3]
    elif world.model == "immobile_traps":
        codes = labels[..., 1] == 0
    else:
        codes = labels[..., 2] == STATES.index("confined")
    filtered = np.array([[label_filter(row) for row in labels[..., i]] for i in range(3)])
    return xy, codes.astype(int), filtered[1], filtered[0], filtered[2].astype(int)


def batched_sample(worlds: Worlds, seed: int) -> Sample:
    """All tracks of worlds that are seen entirely, with the unfiltered codes of the simulator inside the engine."""
    simulator, raw = batched._SIMULATORS[worlds.model], []

    def record(*arguments):
        raw.extend(simulator(*arguments))
        return tuple(raw)

    with mock.patch.dict(batched._SIMULATORS, {worlds.model: record}):
        tracks = batched.simulate_batched(worlds, torch.Generator().manual_seed(seed))
    shape = (len(worlds), worlds.n_particles, worlds.n_frames)
    arrays = [raw[0], raw[1], tracks["k"], tracks["alpha"], tracks["state"]]
    xy, *labels = (a.numpy().reshape(*shape, *a.shape[2:]) for a in arrays)
    assert np.array_equal(xy, tracks["xy"].numpy().reshape(xy.shape))
    return Sample(worlds.model, float(worlds.box[0]), xy.astype(float), *labels)


def copies(world: Worlds, n: int) -> Worlds:
    """`n` worlds of the same parameters."""
    return world[np.zeros(n, int)]


def statistics(sample: Sample) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Numerator (W,) and denominator (W,) of every statistic; their sums over the worlds form the ratio."""
    steps = np.diff(sample.xy, axis=2)
    ends = sample.model in STEP_ENDS_AT_LABEL
    governing = sample.codes[..., 1:] if ends else sample.codes[..., :-1]  # the code that rules each step
    found = _ensemble(sample, steps) | _labels(sample, steps)
    found |= _steps_by_state(sample.xy, steps, governing)
    if sample.codes.any():
        found |= _switches(sample.codes) | _dwells(sample.codes) | _steps_at_changes(steps, sample.codes)
    return found


def _ensemble(sample: Sample, steps: np.ndarray) -> dict:
    """MSD, where in the box the particles are, and (dimers) how far all particles move together."""
    xy = sample.xy
    found = {f"msd @{lag}": _mean(((xy[:, :, lag:] - xy[:, :, :-lag]) ** 2).sum(-1)) for lag in MSD_LAGS}
    found["step x*y"] = _mean(steps[..., 0] * steps[..., 1])
    found["position"] = _mean(xy / sample.box)
    found["position squared"] = _mean((xy / sample.box - 0.5) ** 2)
    if sample.model == "dimerization":
        found["collective step"] = _mean((steps.sum(1) ** 2).sum(-1) / steps.shape[1])
    return found


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = values.reshape(len(values), -1)
    return flat.sum(1, dtype=float), np.full(len(flat), float(flat.shape[1]))


def _labels(sample: Sample, steps: np.ndarray) -> dict:
    """Filtered labels: share of each state, changes per track, K and alpha by state, steps that follow and precede."""
    found = {f"state {name}": _mean(sample.state == i) for i, name in enumerate(STATES)}
    found["filtered changepoints"] = _per_track(np.diff(sample.k, axis=-1) != 0)
    square = (steps**2).sum(-1)
    found["step after label k"] = _mean(sample.k[..., :-1] * square)
    found["step before label k"] = _mean(sample.k[..., 1:] * square)
    for name, values in (("k", sample.k), ("alpha", sample.alpha)):
        for power in (1, 2):
            found |= _by_code(f"label {name}^{power}", values**power, sample.state)
    return found


def _per_track(events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return events.sum((1, 2)).astype(float), np.full(len(events), float(events.shape[1]))


def _by_code(name: str, values: np.ndarray, codes: np.ndarray, mask=None, names=None) -> dict:
    """Mean of `values` where `mask` holds, for every code by itself; arrays (W, N, t)."""
    names = range(int(codes.max()) + 1) if names is None else names
    n_worlds, n_codes = len(codes), len(names)
    index = np.arange(n_worlds)[:, None, None] * n_codes + codes
    mask = np.ones(codes.shape, bool) if mask is None else mask
    index, size = index[mask], n_worlds * n_codes
    sums = np.bincount(index, values[mask], size).reshape(n_worlds, n_codes)
    counts = np.bincount(index, minlength=size).reshape(n_worlds, n_codes).astype(float)
    return {f"{name} in {code}": (sums[:, i], counts[:, i]) for i, code in enumerate(names)}


def _steps_by_state(xy: np.ndarray, steps: np.ndarray, governing: np.ndarray) -> dict:
    """Covariance of displacements and MSD of stretches that one state governs throughout."""
    run = np.cumsum(governing[..., 1:] != governing[..., :-1], axis=-1)
    run = np.concatenate([np.zeros_like(run[..., :1]), run], -1)
    found = _by_code("|step|^4", (steps**2).sum(-1) ** 2, governing)
    n = steps.shape[2]
    for lag in COVARIANCE_LAGS:
        product = (steps[:, :, : n - lag] * steps[:, :, lag:]).sum(-1) / 2
        found |= _by_code(f"covariance @{lag}", product, governing[..., lag:], run[..., lag:] == run[..., : n - lag])
    for lag in RUN_LAGS:
        square = ((xy[:, :, lag:] - xy[:, :, :-lag]) ** 2).sum(-1)
        same = run[..., lag - 1 :] == run[..., : n - lag + 1]
        found |= _by_code(f"msd @{lag}", square, governing[..., lag - 1 :], same)
    return found


def _switches(codes: np.ndarray) -> dict:
    """Occupancy, changepoints per track, and the rate of every transition (binding, unbinding, crossing)."""
    n_codes = int(codes.max()) + 1
    before, after = codes[..., :-1], codes[..., 1:]
    found = {"changepoints": _per_track(before != after), "unchanged": _mean((before == after).all(-1))}
    for code in range(n_codes):
        found[f"occupancy {code}"] = _mean(codes == code)
        found[f"early occupancy {code}"] = _mean(codes[..., : codes.shape[-1] // 10] == code)
        for other in set(range(n_codes)) - {code}:
            moved = (before == code) & (after == other)
            found[f"rate {code}>{other}"] = (
                moved.sum((1, 2)).astype(float),
                (before == code).sum((1, 2)).astype(float),
            )
    return found


def _dwells(codes: np.ndarray) -> dict:
    """Duration of the visits to each state that begin and end within the track: mean, and share longer than d."""
    n_worlds, n_frames = len(codes), codes.shape[-1]
    rows = codes.reshape(-1, n_frames)
    track, frame = np.nonzero(rows[:, 1:] != rows[:, :-1])
    (whole,) = np.nonzero(track[1:] == track[:-1])  # between two changes of one track
    duration, code = frame[whole + 1] - frame[whole], rows[track[whole], frame[whole] + 1]
    world = track[whole] // codes.shape[1]
    found = {}
    for c in range(int(codes.max()) + 1):
        here = code == c
        count = np.bincount(world[here], minlength=n_worlds).astype(float)
        found[f"dwell in {c}"] = np.bincount(world[here], duration[here], n_worlds), count
        for d in DWELLS:
            found[f"dwell in {c} >{d}"] = np.bincount(world[here], duration[here] > d, n_worlds), count
    return found


def _steps_at_changes(steps: np.ndarray, codes: np.ndarray) -> dict:
    """Squared steps around every change of label and the products of consecutive ones, by transition.

    Offset 0 is the step that ends at the first frame of the new label.
    """
    n_codes = int(codes.max()) + 1
    change = (codes[..., 1:] != codes[..., :-1])[..., 1:-2]  # at frames 2..T-3, where all steps around it exist
    transition = (codes[..., :-1] * n_codes + codes[..., 1:])[..., 1:-2]
    names = [f"{a}>{b}" for a in range(n_codes) for b in range(n_codes)]
    n = change.shape[-1]
    square = (steps**2).sum(-1)
    product = (steps[:, :, 1:] * steps[:, :, :-1]).sum(-1)
    found = {}
    for offset in (-1, 0, 1, 2):
        found |= _by_code(f"step {offset:+d}", square[..., 1 + offset : 1 + offset + n], transition, change, names)
    for offset in (0, 1):  # of the later step
        found |= _by_code(f"turn {offset:+d}", product[..., offset : offset + n], transition, change, names)
    return found


def summarise(sample: Sample, min_events: int = 1) -> dict[str, tuple[float, float]]:
    """Value and standard error of every statistic; of dwell times those with so many longer and shorter ones."""
    found = {}
    for name, (numerator, denominator) in statistics(sample).items():
        total, events = denominator.sum(), numerator.sum()
        rare = name.startswith("dwell") and ">" in name and min(events, total - events) < min_events
        if total < min_events or rare:
            continue
        value = events / total
        residual = (numerator - value * denominator) / denominator.mean()
        found[name] = value, residual.std(ddof=1) / len(residual) ** 0.5
    return found


def p_values(reference: dict, n_reference: int, other: dict, n_other: int) -> dict[str, float]:
    """Two-sided p of Welch's t test for every statistic of the reference; a statistic missing in `other` has p 0."""
    found = {}
    for name, (value, error) in reference.items():
        if name not in other:
            found[name] = 0.0
            continue
        difference = other[name][0] - value
        a, b = error**2 + (ROUNDING * value) ** 2, other[name][1] ** 2
        if a + b == 0:
            found[name] = float(difference == 0)
            continue
        freedom = (a + b) ** 2 / (a**2 / (n_reference - 1) + b**2 / (n_other - 1))
        found[name] = float(2 * stats.t.sf(abs(difference) / (a + b) ** 0.5, freedom))
    return found


def described(world: Worlds) -> dict:
    """The parameters of a world as JSON stores them."""
    values = {f.name: getattr(world, f.name) for f in fields(world)}
    return {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in values.items() if v is not None}


def write_reference(names: list[str]) -> None:
    """Simulate the named sets with the library and store their statistics, one set after the other."""
    stored = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {"sets": {}}
    for name in tqdm(names):
        world, n_library, _ = SETS[name]
        sample = library_sample(world, n_library, SEED + list(SETS).index(name))
        values = {n: [float(f"{x:.7g}") for x in pair] for n, pair in summarise(sample, MIN_EVENTS).items()}
        stored["sets"][name] = {"world": described(world), "n_worlds": n_library, "statistics": values}
        stored["andi_datasets"] = version("andi-datasets")
        REFERENCE.write_text(json.dumps(stored, separators=(",", ":")).replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    write_reference([n for n in SETS if n.split()[0] in (sys.argv[1:] or MODELS)])
