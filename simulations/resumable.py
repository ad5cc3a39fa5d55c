"""Endless batches that resume exactly where they stopped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed as dist


class ResumableBatches:
    """Endless batches in numbered chunks, each a function of its number alone, so that it resumes where it stopped.

    A thread makes the next chunk while the batches of this one are used. A subclass gives `_batches(chunk)`, a list
    of functions that make the chunk's batches, and may give `_ordered`.
    """

    position = (0, 0)  # chunk, batch within it; the same on every rank
    rank, world = 0, 1

    def state_dict(self) -> dict:
        """Where it stands: the place of the last batch handed out, whatever is made ahead."""
        return {"position": list(self.position)}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state; the settings must be those of the batches that saved it."""
        self.position = tuple(state["position"])

    def split(self, rank: int, world: int) -> None:
        """Become the share of one of `world` processes: every `world`-th chunk, in batches of `batch / world` tracks.

        Where another number of processes goes on from a saved place, a part of a chunk may be seen a second time.

        Raises
        ------
        ValueError
            If the tracks of a batch cannot be shared out equally.
        """
        if self.batch % world:
            raise ValueError(f"a batch of {self.batch} tracks cannot be shared out equally to {world} processes")
        self.batch //= world
        self.rank, self.world = rank, world

    def __iter__(self):
        chunk, done = self.position
        thread = ThreadPoolExecutor(1)
        try:
            coming = thread.submit(self._batches, chunk + self.rank)
            while True:
                batches = coming.result()
                coming = thread.submit(self._batches, chunk + self.world + self.rank)
                n = len(batches) if self.world == 1 else _fewest(len(batches))
                batches = self._ordered(batches, n, chunk)
                for i in range(done, n):
                    self.position = (chunk, i + 1)
                    yield batches[i]()
                chunk, done = chunk + self.world, 0
        finally:
            thread.shutdown(cancel_futures=True)

    def _ordered(self, batches: list, n: int, chunk: int) -> list:
        """The first `n` batches of a chunk, n being what every rank has; `chunk` is that of rank 0."""
        return batches[:n]


def _fewest(n: int) -> int:
    """The smallest n of all processes that train together, so that all begin their next chunk at the same step."""
    smallest = torch.tensor(n)
    dist.all_reduce(smallest, dist.ReduceOp.MIN)
    return int(smallest)
