"""Contacts of particles with each other and with the walls of compartments, many worlds at once."""

from __future__ import annotations

import torch

from simulations.worlds import Worlds

_MARGIN = 1e-4  # px: a reflected position stays this far inside its wall, as in andi_datasets


def switch_dimers(partner: torch.Tensor, p_unbind: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Which particles leave their dimer in this frame, (P,) bool; one random draw for each dimer."""
    index = torch.arange(len(partner), device=partner.device)
    coin = torch.rand(len(partner), generator=generator, device=partner.device) < p_unbind
    leader = torch.minimum(index, torch.where(partner >= 0, partner, index))
    return (partner >= 0) & coin[leader]


def pair_up(pos: torch.Tensor, partner, released, reach: torch.Tensor, p_bind: torch.Tensor, generator) -> torch.Tensor:
    """Find the new dimers of this frame. As in andi_datasets, particles try to bind their neighbours one by one.

    Particles and neighbours come in the order of their index. A free pair within reach therefore has two chances to
    bind: one when its first particle is treated and, if that fails, one when its second particle is treated. A particle
    that was released in this frame does not bind again in it.

    Parameters
    ----------
    pos : Tensor, shape (W, N, 2), px
    partner : Tensor, shape (P,) with P = W N
        Index of the particle to which each is bound, -1 if it is free.
    released : Tensor, shape (P,), bool
    reach : Tensor, shape (W,), px; p_bind : Tensor, shape (W,)

    Returns
    -------
    Tensor, shape (M, 2), int64
        Particle indices, the lower one first.
    """
    n_worlds, n = pos.shape[:2]
    (free,) = ((partner < 0) & ~released).nonzero(as_tuple=True)
    near = _pairs_in_reach(pos.view(-1, 2)[free], free // n, reach)
    i, j = free[torch.cat([near, near.flip(0)], 1)]
    order = (i * (n_worlds * n) + j).argsort()
    order = order[torch.rand(len(i), generator=generator, device=pos.device) < p_bind[i[order] // n]]
    return _greedy_matching(i[order], j[order], n_worlds * n)


def _pairs_in_reach(pos: torch.Tensor, world: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    """Pairs (2, M) of rows of `pos` (P, 2) in the same `world` (P,) and closer than its `reach` (W,), each pair once.

    Particles are sorted along x, one world after the other, and each is compared only with those less than its reach
    ahead of it.
    """
    x = pos[:, 0].double()
    x, order = (x + world * (x.amax() + reach.amax()) if len(x) else x).sort()
    y, reach = pos[order, 1], reach[world[order]]
    pairs, ahead = [pos.new_empty(2, 0, dtype=torch.long)], 0
    left = torch.arange(len(x), device=pos.device)
    while len(left):
        ahead += 1
        left = left[: (left < len(x) - ahead).sum()]
        dx = x[left + ahead] - x[left]
        close = dx < reach[left]
        left, dx = left[close], dx[close]
        square = dx.square() + (y[left + ahead] - y[left]).square()
        found = left[(square < reach[left].square()) & (square > 0)]
        pairs.append(torch.stack([order[found], order[found + ahead]]))
    return torch.cat(pairs, 1)


def _greedy_matching(i: torch.Tensor, j: torch.Tensor, n: int) -> torch.Tensor:
    """Pairs that are accepted if one takes them in the given order and uses each particle once."""
    accepted = []
    rank = torch.arange(len(i), device=i.device)
    while len(i):
        best = torch.full((n,), len(rank) + 1, device=i.device, dtype=torch.long)
        best.scatter_reduce_(0, i, rank, "amin")
        best.scatter_reduce_(0, j, rank, "amin")
        take = (best[i] == rank) & (best[j] == rank)
        accepted.append(torch.stack([torch.minimum(i, j), torch.maximum(i, j)], 1)[take])
        used = torch.zeros(n, dtype=torch.bool, device=i.device)
        used[i[take]] = True
        used[j[take]] = True
        left = ~(used[i] | used[j])
        i, j, rank = i[left], j[left], torch.arange(int(left.sum()), device=i.device)
    return torch.cat(accepted) if accepted else i.new_empty(0, 2)


def compartment_centres(worlds: Worlds, generator: torch.Generator) -> torch.Tensor:
    """Place compartments one after the other at random so that they do not overlap.

    As in andi_datasets, a world stops after 100 tries per compartment in total. It then holds fewer compartments; the
    centres of the missing ones are at infinity.

    Returns
    -------
    Tensor, shape (W, max count, 2), px
    """
    device = generator.device
    radius = torch.as_tensor(worlds.radius, dtype=torch.float32, device=device)
    box = torch.as_tensor(worlds.box, dtype=torch.float32, device=device)
    count = torch.as_tensor(worlds.count, device=device)
    centres = torch.full((len(worlds), int(count.max()), 2), float("inf"), device=device)
    placed = torch.zeros_like(count)
    for tries in range(100 * int(count.max())):
        (open_,) = ((placed < count) & (tries < 100 * count)).nonzero(as_tuple=True)
        if len(open_) == 0:
            break
        radii = radius[open_, None]
        trial = torch.rand(len(open_), 2, generator=generator, device=device) * (box[open_, None] - 2 * radii) + radii
        gap = (centres[open_] - trial[:, None]).square().sum(-1)
        clear = (gap > 4 * radii.square()).all(1)
        world = open_[clear]
        centres[world, placed[world]] = trial[clear]
        placed[world] += 1
    return centres


def reflect_inside(start, end, centre, radius) -> torch.Tensor:
    """Reflect the end points of steps at the walls of circles, as a mirror reflects light.

    Parameters
    ----------
    start, end, centre : Tensors, shape (P, 2), px
        Start and end of the steps, centre of the circles; `start` is inside its circle, `end` outside.
    radius : Tensor, shape (P,), px

    Returns
    -------
    Tensor, shape (P, 2)
    """
    end = end.clone()
    idx = torch.arange(len(end), device=end.device)
    start, radius_i = start - centre, radius
    for _ in range(50):
        if len(idx) == 0:
            return end
        distance = start.norm(dim=1, keepdim=True)
        limit = (radius_i - _MARGIN).clamp_min(0)[:, None]
        start = torch.where(distance > limit, start * (limit / distance.clamp_min(1e-12)), start)
        target = end[idx] - centre[idx]
        step = target - start
        a, b = step.square().sum(1), (start * step).sum(1)
        c = start.square().sum(1) - radius_i.square()
        s = (-b + (b * b - a * c).clamp_min(0).sqrt()) / a.clamp_min(1e-24)
        hit = start + s.clamp(0, 1)[:, None] * step
        normal = hit / radius_i[:, None]
        rest = target - hit
        target = hit + rest - 2 * (rest * normal).sum(1, keepdim=True) * normal
        end[idx] = target + centre[idx]
        out = target.norm(dim=1) > radius_i
        idx, start, radius_i = idx[out], hit[out], radius_i[out]
    pulled = (
        start * ((radius_i - _MARGIN) / radius_i)[:, None]
    )  # after 50 reflections of one step: leave the particle at the wall
    end[idx] = pulled + centre[idx]
    return end
