"""The five phenomenological models of andi_datasets, many worlds at once in torch, on CPU or GPU.

The physics is that of `andi.py` and is tested against it: new fractional noise after every switch, a reflecting box,
traps and compartments in space, cropping to the field of view, the label filter, localisation error last. As in the
library, the step that a label describes differs by model (`STEP_ENDS_AT_LABEL`).
"""

from __future__ import annotations

import numpy as np
import torch

from simulations.crop import filter_codes, take_runs, visible_runs
from simulations.fgn import noise_series
from simulations.grid import DiscGrid
from simulations.interactions import compartment_centres, pair_up, reflect_inside, switch_dimers
from simulations.parameters import ALPHA_DIRECTED, CONFINED, DIRECTED, FREE, MIN_FRAMES, MODELS, TRAPPED
from simulations.worlds import Worlds


def simulate_batched(worlds: Worlds, generator: torch.Generator, min_frames: int = MIN_FRAMES) -> dict:
    """Simulate worlds and return the tracks of all particles inside one field of view per world.

    Parameters
    ----------
    worlds : Worlds
        W experiments of one model.
    generator : torch.Generator
        Everything is computed on its device; the same seed gives the same tracks on the same type of device.
    min_frames : int
        Shorter stretches inside the field of view are dropped.

    Returns
    -------
    dict
        `xy` (B, T, 2) float32 px, padded with zeros at the end; `length` (B,); `sigma` (B,) px; `k` (B, T)
        px^2/frame^alpha and `alpha` (B, T), zero where trapped and in the padding; `state` (B, T), an index into
        `STATES`; `model` (B,), an index into `MODELS`; `world` (B,).
    """
    device = generator.device
    n_worlds, n_particles = len(worlds), worlds.n_particles
    world = torch.arange(n_worlds, device=device).repeat_interleave(n_particles)  # (P,)
    k = _truncated_normal(worlds.k_mean, worlds.k_var, 1e-12, 1e6, world, generator)  # (P, S)
    alpha = _truncated_normal(worlds.alpha_mean, worlds.alpha_var, 0.0, 1.999, world, generator)
    box = _tensor(worlds.box, device)
    pos, codes = _SIMULATORS[worlds.model](worlds, k, alpha, box, world, generator)  # (P, T, 2), (P, T)
    k, alpha, state = _values_of_codes(worlds.model, k, alpha)
    fov = _tensor(worlds.fov, device)
    low, high = 0.05 * box, 0.95 * box - fov  # andi_datasets keeps the field of view 5 % away from the walls
    origin = low[:, None] + (high - low).clamp_min(0)[:, None] * _rand(n_worlds, 2, generator)
    origin = torch.where((fov >= box)[:, None], -fov[:, None] / 4, origin)
    particle, start, length = visible_runs(pos, origin[world], fov[world], min_frames)
    frames = int(length.max()) if len(length) else min_frames
    valid = torch.arange(frames, device=device) < length[:, None]
    codes = take_runs(codes, particle, start, frames)
    xy = take_runs(pos, particle, start, frames)
    sigma = _tensor(worlds.sigma, device)[world[particle]]
    xy = xy + sigma[:, None, None] * torch.randn(xy.shape, device=device, generator=generator)
    by_state = filter_codes(state[particle].gather(1, codes), length)
    codes = filter_codes(codes, length)
    return {
        "xy": xy * valid[..., None],
        "length": length,
        "sigma": sigma,
        "k": k[particle].gather(1, codes) * valid,
        "alpha": alpha[particle].gather(1, codes) * valid,
        "state": by_state * valid,
        "model": torch.full_like(length, MODELS.index(worlds.model)),
        "world": world[particle],
    }


def _values_of_codes(model: str, k: torch.Tensor, alpha: torch.Tensor):
    """K, alpha and diffusive state of each code a particle can have, each (P, C)."""
    state = torch.where(alpha >= ALPHA_DIRECTED, DIRECTED, FREE)
    if model == "immobile_traps":
        zero = torch.zeros_like(k[:, :1])
        trapped = torch.full_like(state[:, :1], TRAPPED)
        return torch.cat([k, zero], 1), torch.cat([alpha, zero], 1), torch.cat([state, trapped], 1)
    if model == "confinement":
        state[:, 1] = CONFINED
    return k, alpha, state


def _single_state(worlds, k, alpha, box, world, generator):
    codes = torch.zeros(len(world), worlds.n_frames, dtype=torch.long, device=box.device)
    steps = noise_series(alpha[:, 0], worlds.n_frames, generator) * (2 * k[:, 0]).sqrt()[:, None, None]
    return _reflected_walk(steps, box[world], generator), codes


def _multi_state(worlds, k, alpha, box, world, generator):
    codes = _markov_chain(worlds, world, generator)
    return _reflected_walk(_switching_steps(codes, k, alpha, generator), box[world], generator), codes


def _markov_chain(worlds: Worlds, world: torch.Tensor, generator) -> torch.Tensor:
    cumulative = _tensor(np.cumsum(worlds.transition, -1), world.device)[world]  # (P, S, S)
    n, n_states = cumulative.shape[:2]
    thresholds = cumulative[..., :-1].reshape(n * n_states, n_states - 1)
    draws = _rand(worlds.n_frames, n, generator)
    codes = torch.empty(worlds.n_frames, n, dtype=torch.long, device=world.device)
    codes[0] = (draws[0] * n_states).long().clamp_max(n_states - 1)
    first_row = torch.arange(n, device=world.device) * n_states
    for t in range(1, worlds.n_frames):
        codes[t] = (draws[t, :, None] > thresholds[first_row + codes[t - 1]]).sum(1)
    return codes.T.contiguous()


def _switching_steps(codes: torch.Tensor, k: torch.Tensor, alpha: torch.Tensor, generator) -> torch.Tensor:
    """Steps (P, 2, T) with a fresh series of fractional noise in every run of one code; step t is t-1 -> t."""
    n, frames = codes.shape
    governing = torch.cat([codes[:, :1], codes[:, :-1]], 1)  # the label of frame t-1 governs the step into t
    change = torch.ones_like(governing, dtype=torch.bool)
    change[:, 1:] = governing[:, 1:] != governing[:, :-1]
    particle, start = change.nonzero(as_tuple=True)
    nxt = torch.cat([particle[1:] * frames + start[1:], particle.new_tensor([n * frames])])
    run_length = nxt - (particle * frames + start)
    code = governing[particle, start]
    run_alpha, scale = alpha[particle, code], (2 * k[particle, code]).sqrt()
    pool, offset, span = [], torch.empty_like(run_length), torch.empty_like(run_length)
    low = used = 0
    for high in (8, 32, 64, 128, max(frames, 129)):  # series of similar length share one transform
        (idx,) = ((run_length > low) & (run_length <= high)).nonzero(as_tuple=True)
        low, length = high, min(high, frames)
        if len(idx) == 0:
            continue
        noise = noise_series(run_alpha[idx], length, generator) * scale[idx, None, None]  # (runs, 2, length)
        pool.append(noise.flatten())
        span[idx] = length
        offset[idx] = used + 2 * length * torch.arange(len(idx), device=codes.device)
        used += noise.numel()
    first = particle * frames + start
    where = torch.arange(n * frames, device=codes.device) + (offset - first).repeat_interleave(run_length)
    other = where + span.repeat_interleave(run_length)
    return torch.cat(pool)[torch.stack([where.view(n, frames), other.view(n, frames)], 1)]


def _reflected_walk(steps: torch.Tensor, box: torch.Tensor, generator) -> torch.Tensor:
    """Positions (P, T, 2) of a walk with steps (P, 2, T) in a reflecting box, from a uniform start."""
    steps[:, :, 0] = _rand(len(steps), 2, generator) * box[:, None]
    pos = steps.cumsum(2)
    low, high = pos.flatten(1).aminmax(dim=1)
    (hit,) = ((low < 0) | (high > box)).nonzero(as_tuple=True)  # only these meet a wall
    if len(hit):
        steps, wall = steps[hit].permute(2, 0, 1).contiguous(), box[hit, None]
        for t in range(1, len(steps)):
            steps[t] = _reflect_at_box(steps[t - 1] + steps[t], wall)
        pos[hit] = steps.permute(1, 2, 0)
    return pos.transpose(1, 2)


def _immobile_traps(worlds, k, alpha, box, world, generator):
    n, frames, device = len(world), worlds.n_frames, box.device
    traps = _rand(len(worlds), int(worlds.count.max()), 2, generator=generator) * box[:, None, None]
    absent = torch.arange(traps.shape[1], device=device) >= torch.as_tensor(worlds.count, device=device)[:, None]
    traps[absent] = float("inf")
    p_bind, p_unbind = (_tensor(p, device)[world] for p in (worlds.p_bind, worlds.p_unbind))
    grid = DiscGrid(traps, _tensor(worlds.radius, device), box)
    scale, wall = (2 * k[:, 0]).sqrt(), box[world, None]
    pos = _time_first_noise(alpha[:, 0], scale, frames, generator)  # holds steps; positions replace them frame by frame
    pos[0] = _rand(n, 2, generator) * wall
    codes = torch.zeros(frames, n, dtype=torch.long, device=device)
    bound = torch.zeros(n, dtype=torch.bool, device=device)
    draws = _rand(frames, 2, n, generator=generator)
    for t in range(1, frames):
        released = bound & (draws[t, 0] < p_unbind)
        near = grid.covering(pos[t - 1], world)[0]
        binds = torch.zeros_like(bound)
        binds[near] = True
        bound = (bound | (binds & (draws[t, 1] < p_bind))) & ~released
        _redraw_steps(pos, released, t, alpha[:, 0], scale, generator)
        moved = torch.where(bound[:, None], 0.0, pos[t])
        pos[t] = _reflect_at_box(pos[t - 1] + moved, wall)
        codes[t] = bound
    return pos.transpose(0, 1).contiguous(), codes.T.contiguous()


def _confinement(worlds, k, alpha, box, world, generator):
    n, frames, device = len(world), worlds.n_frames, box.device
    grid = DiscGrid(compartment_centres(worlds, generator), _tensor(worlds.radius, device), box)
    radius, transmittance = (_tensor(v, device)[world] for v in (worlds.radius, worlds.transmittance))
    scale, wall = (2 * k).sqrt(), box[world, None]
    centre = torch.zeros(n, 2, device=device)  # of the compartment that each particle is in
    inside = torch.zeros(n, dtype=torch.bool, device=device)

    def enter(position, candidates):
        """Mark those of `candidates` (indices of particles) that are in a compartment as inside it."""
        found, where = grid.covering(position[candidates], world[candidates])
        inside[candidates[found]] = True
        centre[candidates[found]] = where

    start = _rand(n, 2, generator) * wall
    rows = torch.arange(n, device=device)
    enter(start, rows)
    pos = _time_first_noise(alpha[rows, inside.long()], scale[rows, inside.long()], frames, generator)
    pos[0] = start
    codes = torch.zeros(frames, n, dtype=torch.long, device=device)
    codes[0] = inside
    draws = _rand(frames, n, generator)
    for t in range(1, frames):
        new = pos[t - 1] + pos[t]
        was_inside = inside.clone()
        (hits,) = (was_inside & ((new - centre).square().sum(1) > radius.square())).nonzero(as_tuple=True)
        if len(hits):
            leaves = draws[t, hits] < transmittance[hits]
            back = hits[~leaves]
            new[back] = reflect_inside(pos[t - 1, back], new[back], centre[back], radius[back])
            inside[hits[leaves]] = False
        enter(new, (~inside).nonzero()[:, 0])
        codes[t] = inside
        pos[t] = _reflect_at_box(new, wall)
        if t + 1 < frames:
            code = codes[t]
            _redraw_steps(pos, inside != was_inside, t + 1, alpha[rows, code], scale[rows, code], generator)
    return pos.transpose(0, 1).contiguous(), codes.T.contiguous()


def _dimerization(worlds, k, alpha, box, world, generator):
    n, frames, device = len(world), worlds.n_frames, box.device
    shape = (len(worlds), worlds.n_particles)
    p_bind, p_unbind = (_tensor(p, device) for p in (worlds.p_bind, worlds.p_unbind))
    reach = 2 * _tensor(worlds.radius, device)
    scale, wall = (2 * k).sqrt(), box[world, None]
    pos = _time_first_noise(alpha[:, 0], scale[:, 0], frames, generator)
    pos[0] = _rand(n, 2, generator) * wall
    codes = torch.zeros(frames, n, dtype=torch.long, device=device)
    partner = torch.full((n,), -1, device=device)
    p_unbind = p_unbind[world]
    for t in range(1, frames):
        released = switch_dimers(partner, p_unbind, generator)
        pairs = pair_up(pos[t - 1].view(*shape, 2), partner, released, reach, p_bind, generator)
        partner[released] = -1
        _redraw_steps(pos, released, t, alpha[:, 0], scale[:, 0], generator)
        if len(pairs):
            first, second = pairs.unbind(1)
            partner[first], partner[second] = second, first
            fresh = torch.zeros_like(released)
            fresh[first] = True
            _redraw_steps(pos, fresh, t, alpha[:, 1], scale[:, 1], generator)
            pos[t:, second] = pos[t:, first]  # dimers move together, as the partner of lower index would
        codes[t] = partner >= 0
        pos[t] = _reflect_at_box(pos[t - 1] + pos[t], wall)
    return pos.transpose(0, 1).contiguous(), codes.T.contiguous()


def _time_first_noise(alpha, scale, frames: int, generator) -> torch.Tensor:
    """Draw steps (T, P, 2); the steps of one frame lie together in memory, since a walk reads frame after frame."""
    return (noise_series(alpha, frames, generator) * scale[:, None, None]).permute(2, 0, 1).contiguous()


def _redraw_steps(steps, which, t: int, alpha, scale, generator) -> None:
    """Draw new steps from frame `t` on for the particles `which` (P,) that switched; changes `steps` (T, P, 2)."""
    (idx,) = which.nonzero(as_tuple=True)
    if len(idx):
        steps[t:, idx] = _time_first_noise(alpha[idx], scale[idx], len(steps) - t, generator)


def _reflect_at_box(pos: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """Positions after any number of reflections at 0 and `box`."""
    period = 2 * box
    wrapped = pos - period * (pos / period).floor()  # twice as fast as torch.remainder
    return torch.minimum(wrapped, period - wrapped)


def _truncated_normal(mean, variance, low: float, high: float, world, generator) -> torch.Tensor:
    """Per-particle draws (P, S) from the world's normal distribution truncated to [low, high]."""
    mean, sd = (torch.as_tensor(v, dtype=torch.float64, device=world.device)[world] for v in (mean, variance**0.5))
    safe = sd.clamp_min(1e-12)
    lower, upper = (torch.special.ndtr((b - mean) / safe) for b in (low, high))
    draw = torch.rand(mean.shape, generator=generator, device=world.device, dtype=torch.float64)
    value = mean + sd * torch.special.ndtri(lower + (upper - lower) * draw)
    return torch.where(sd > 0, value, mean).clamp(low, high).float()


def _tensor(array: np.ndarray, device) -> torch.Tensor:
    return torch.as_tensor(array, dtype=torch.float32, device=device)


def _rand(*shape, generator=None) -> torch.Tensor:
    if generator is None:
        *shape, generator = shape
    return torch.rand(*shape, generator=generator, device=generator.device)


_SIMULATORS = {
    "single_state": _single_state,
    "multi_state": _multi_state,
    "immobile_traps": _immobile_traps,
    "dimerization": _dimerization,
    "confinement": _confinement,
}
