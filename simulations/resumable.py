"""Endless batches that resume exactly where they stopped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class ResumableBatches:
    """Base class of endless batches that come in numbered chunks. A chunk depends on its number and the settings alone.

    Iteration can therefore stop after any batch and go on there later. A thread makes the next chunk while the batches
    of this one are used. A subclass defines `batch` (tracks per batch) and `_batches(chunk)`, which returns a list of
    functions that make the batches of a chunk. It may define `_ordered`.
    """

    position = (0, 0)  # chunk, batch within it; the same in every process
    rank, world = 0, 1
    fewest: Callable[[int], int] = staticmethod(int)  # of one process: its number itself

    def state_dict(self) -> dict:
        """Position after the last batch that was handed out; chunks that are made ahead do not count."""
        return {"position": list(self.position)}

    def load_state_dict(self, state: dict) -> None:
        """Continue from a saved position; the settings must be those of the batches that saved it."""
        self.position = tuple(state["position"])

    def split(self, rank: int, world: int, fewest: Callable[[int], int] | None = None) -> None:
        """Keep the share of one of `world` processes: every `world`-th chunk, in batches of `batch / world` tracks.

        If another number of processes continues from a saved position, part of a chunk may be seen a second time.

        Parameters
        ----------
        rank : int
            Number of this process, from 0.
        world : int
            Number of processes.
        fewest : callable, optional
            Called in every process with the number of batches of its chunk; returns the smallest of these numbers
            (`main.utils.distributed.fewest`), so that all processes begin their next chunk at the same step. Without
            it a process uses all batches of its chunks, and may get out of step with the others.

        Raises
        ------
        ValueError
            If the tracks of a batch cannot be divided equally among the processes.
        """
        if self.batch % world:
            raise ValueError(f"a batch of {self.batch} tracks cannot be shared out equally to {world} processes")
        self.batch //= world
        self.rank, self.world = rank, world
        if fewest is not None:
            self.fewest = fewest

    def __iter__(self):
        chunk, done = self.position
        thread = ThreadPoolExecutor(1)
        try:
            coming = thread.submit(self._batches, chunk + self.rank)
            while True:
                batches = coming.result()
                coming = thread.submit(self._batches, chunk + self.world + self.rank)
                n = self.fewest(len(batches))
                batches = self._ordered(batches, n, chunk)
                for i in range(done, n):
                    self.position = (chunk, i + 1)
                    yield batches[i]()
                chunk, done = chunk + self.world, 0
        finally:
            thread.shutdown(cancel_futures=True)

    def _ordered(self, batches: list, n: int, chunk: int) -> list:
        """The `n` batches to use, in their order; every process has at least n. `chunk` is the chunk of rank 0."""
        return batches[:n]
