"""Endless augmented batches from a labelled data set, the alternative to `simulations.stream.TrackStream`."""

from __future__ import annotations

import numpy as np
import torch

from main.utils.augment import augment
from main.utils.dataset import LazyTrackDataset, TrackDataset, collate
from simulations.stream import ResumableBatches

POOL = 16  # batches whose tracks are sorted by length together, so that little is padding


class DatasetBatches(ResumableBatches):
    """Batches of a data set, epoch after epoch, in an order and with augmentations that follow from the seed.

    Like a stream it can save where it stands and resume there exactly; an epoch ends with its last whole batch.

    Parameters
    ----------
    dataset : TrackDataset or LazyTrackDataset
    batch : int
        Tracks per batch; a data set with fewer gives one batch of all.
    seed : int
    augmented : bool
        Crop, rotate, add noise, mirror and reverse tracks at random (`main.utils.augment`).
    unknown_sigma : float
        Share of tracks whose localisation error is hidden (NaN).
    """

    def __init__(self, dataset: TrackDataset | LazyTrackDataset, batch=64, seed=0, augmented=True, unknown_sigma=0.4):
        self.dataset, self.batch, self.seed = dataset, min(batch, len(dataset)), seed
        self.augmented, self.unknown_sigma = augmented, unknown_sigma
        self.settings = {
            "tracks": len(dataset),
            "batch": self.batch,
            "seed": seed,
            "augmented": augmented,
            "unknown_sigma": unknown_sigma,
            "info": getattr(dataset, "info", {}),
        }

    def _batches(self, epoch: int) -> list:
        """The batches of one epoch, each made when called for."""
        groups = self._groups(np.random.default_rng([self.seed, epoch]))
        return [
            lambda i=i, group=group: self._make(group, np.random.default_rng([self.seed, epoch, i]))
            for i, group in enumerate(groups)
        ]

    def _groups(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Indices of the batches of one epoch."""
        lazy = isinstance(self.dataset, LazyTrackDataset)
        order = np.fromiter(self.dataset.order(rng), int) if lazy else rng.permutation(len(self.dataset))
        if not lazy:
            length = self.dataset.length.numpy()
            pools = np.array_split(order, range(POOL * self.batch, len(order), POOL * self.batch))
            order = np.concatenate([pool[np.argsort(length[pool], kind="stable")] for pool in pools])
        groups = [order[i : i + self.batch] for i in range(0, len(order) - self.batch + 1, self.batch)]
        return groups if lazy else [groups[i] for i in rng.permutation(len(groups))]

    def _make(self, indices: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        items = [self.dataset[int(i)] for i in indices]
        batch = collate([augment(item, rng) for item in items] if self.augmented else items)
        hidden = torch.as_tensor(rng.random(len(items)) < self.unknown_sigma)
        return batch | {"sigma": batch["sigma"].masked_fill(hidden, torch.nan)}
