"""Which discs (traps, compartments) may a position touch: a look-up table per world instead of all distances."""

from __future__ import annotations

import torch

MAX_CELLS = 64  # per side of a world


class DiscGrid:
    """Discs of one radius per world, found by the cell a position falls into.

    A cell is at least as wide as a disc, so a disc touches at most two cells per axis; each cell lists the centres
    of the discs that may reach into it.

    Parameters
    ----------
    centres : Tensor, shape (W, M, 2), px
        Absent discs at infinity.
    radius, box : Tensor, shape (W,), px
        Radius of the discs and side of the box they lie in.
    """

    def __init__(self, centres: torch.Tensor, radius: torch.Tensor, box: torch.Tensor):
        n_worlds = len(box)
        self.side = (box / (2 * radius)).floor().clamp(1, MAX_CELLS)  # cells per side of each world, (W,)
        self.cell = box / self.side
        self.n = int(self.side.max())
        present = torch.isfinite(centres[..., 0])
        world = torch.arange(n_worlds, device=box.device)[:, None].expand_as(present)
        ends = [self._cell(centres + d * radius[:, None, None], world) for d in (-1, 1)]  # two of (W, M, 2)
        cells, discs = [], []
        for i in (0, 1):
            for j in (0, 1):
                new = present & ~((i == 1) & (ends[0][..., 0] == ends[1][..., 0]))
                new &= ~((j == 1) & (ends[0][..., 1] == ends[1][..., 1]))
                cells.append(((world * self.n + ends[i][..., 0]) * self.n + ends[j][..., 1])[new])
                discs.append(centres[new])
        self.table = _group(torch.cat(cells), torch.cat(discs), n_worlds * self.n**2)  # (cells, m, 2)

    def _cell(self, pos: torch.Tensor, world: torch.Tensor) -> torch.Tensor:
        finite = torch.nan_to_num(pos, posinf=0.0)
        index = (finite / self.cell[world][..., None]).floor()
        return torch.minimum(index.clamp_min(0), self.side[world][..., None] - 1).long()

    def nearest(self, pos: torch.Tensor, world: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Nearest candidate disc of each position.

        Parameters
        ----------
        pos : Tensor, shape (P, 2), px; world : Tensor, shape (P,)

        Returns
        -------
        distance : Tensor, shape (P,), px
            To the centre of the nearest disc whose cell list holds it; exact wherever a disc covers the position,
            infinite or too large elsewhere.
        centre : Tensor, shape (P, 2)
        """
        cell = self._cell(pos, world)
        candidates = self.table[(world * self.n + cell[:, 0]) * self.n + cell[:, 1]]  # (P, m, 2)
        dx, dy = (candidates - pos[:, None]).unbind(-1)
        nearest = dx.square_().add_(dy.square_()).min(1)
        centre = candidates[torch.arange(len(pos), device=pos.device), nearest.indices]
        return nearest.values.sqrt(), centre


def _group(cells: torch.Tensor, discs: torch.Tensor, n_cells: int) -> torch.Tensor:
    """Discs by cell, (n_cells, m, 2), filled up with infinity."""
    order = cells.argsort()
    cells, discs = cells[order], discs[order]
    counts = torch.bincount(cells, minlength=n_cells)
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(cells), device=cells.device) - first[cells]
    table = torch.full((n_cells, max(int(counts.max()), 1), 2), float("inf"), device=discs.device)
    table[cells, rank] = discs
    return table
