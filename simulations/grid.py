"""Find the disc (trap, compartment) that covers a position with a table of cells, not with all distances."""

from __future__ import annotations

import torch

MAX_CELLS = 64  # per side of a world


class DiscGrid:
    """Discs of one radius per world, listed by the cells that they touch.

    A cell is at least as wide as a disc, so a disc touches at most two cells per axis. Each cell lists the centres
    of the discs that may reach into it.

    Parameters
    ----------
    centres : Tensor, shape (W, M, 2), px
        Centres of the discs; infinity where a world has fewer than M.
    radius, box : Tensor, shape (W,), px
        Radius of the discs and side of the box they lie in.
    """

    def __init__(self, centres: torch.Tensor, radius: torch.Tensor, box: torch.Tensor):
        n_worlds = len(box)
        side = (box / (2 * radius)).floor().clamp(1, MAX_CELLS)  # cells per side of each world, (W,)
        self.cell, self.last = box / side, (side - 1).long()
        self.n = int(side.max())
        present = torch.isfinite(centres[..., 0])
        world = torch.arange(n_worlds, device=box.device)[:, None].expand_as(present)
        known = torch.nan_to_num(centres, posinf=0.0)
        ends = [self._cell(known + d * radius[:, None, None], world) for d in (-1, 1)]  # two of (W, M, 2)
        cells, discs = [], []
        for i in (0, 1):
            for j in (0, 1):
                new = present & ~((i == 1) & (ends[0][..., 0] == ends[1][..., 0]))
                new &= ~((j == 1) & (ends[0][..., 1] == ends[1][..., 1]))
                cells.append(((world * self.n + ends[i][..., 0]) * self.n + ends[j][..., 1])[new])
                discs.append(centres[new])
        self.table = _list_by_cell(torch.cat(cells), torch.cat(discs), n_worlds * self.n**2)  # (cells, m, 2)
        self.occupied = torch.isfinite(self.table[:, 0, 0])
        self.radius = radius

    def _cell(self, pos: torch.Tensor, world: torch.Tensor) -> torch.Tensor:
        index = (pos / self.cell[world][..., None]).long().clamp_min_(0)
        return torch.minimum(index, self.last[world][..., None])

    def covering(self, pos: torch.Tensor, world: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Find the positions that a disc covers, and the centre of the nearest disc.

        Parameters
        ----------
        pos : Tensor, shape (P, 2), px; world : Tensor, shape (P,)

        Returns
        -------
        index : Tensor, shape (M,)
            Indices of the positions that are nearer to a centre than the radius, increasing.
        centre : Tensor, shape (M, 2)
        """
        cell = self._cell(pos, world)
        cell = (world * self.n + cell[:, 0]) * self.n + cell[:, 1]
        (index,) = self.occupied[cell].nonzero(as_tuple=True)  # most cells hold no disc
        candidates = self.table[cell[index]]  # (M', m, 2)
        distance = (candidates - pos[index, None]).square().sum(-1)
        nearest = distance.min(1)
        (hit,) = (nearest.values < self.radius[world[index]].square()).nonzero(as_tuple=True)
        return index[hit], candidates[hit, nearest.indices[hit]]


def _list_by_cell(cells: torch.Tensor, discs: torch.Tensor, n_cells: int) -> torch.Tensor:
    """Table of the discs in each cell, (n_cells, m, 2); unused places are infinity."""
    order = cells.argsort()
    cells, discs = cells[order], discs[order]
    counts = torch.bincount(cells, minlength=n_cells)
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(cells), device=cells.device) - first[cells]
    table = torch.full((n_cells, max(int(counts.max()), 1), 2), float("inf"), device=discs.device)
    table[cells, rank] = discs
    return table
