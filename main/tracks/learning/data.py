"""Training data of tracks: batches from data sets or from the simulated stream, and held-out batches."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import torch

from main.tracks.learning.augment import augment
from main.utils.config import check_number
from simulations.brownian import BrownianStream
from simulations.dataset import LazyTrackDataset, TrackDataset, collate, load_dataset
from simulations.parameters import read_prior
from simulations.resumable import ResumableBatches
from simulations.stream import SAMPLE_SIZES, SampleStream, TrackStream

POOL = 16  # number of batches whose tracks are sorted by length together, so that there is little padding
BATCH, CHUNK, VAL_BATCHES = (1, 100_000), (1, 1_000_000), (0, 1000)  # smallest and largest that fit into memory
VALIDATION_SEED = 987_654_321  # of the held-out tracks, the same for every run


class DatasetBatches(ResumableBatches):
    """Endless batches of a labelled data set, in an order and with augmentations that the seed determines.

    Like the simulated stream it can save its position and resume there exactly. An epoch ends with the last whole
    batch.

    Parameters
    ----------
    dataset : TrackDataset or LazyTrackDataset
    batch : int
        Tracks per batch; a data set with fewer tracks gives one batch of all of them.
    seed : int
    augmented : bool
        Crop, rotate, add noise, mirror and reverse tracks at random (`main.tracks.learning.augment`).
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
            "n_frames": [int(dataset.length.min()), int(dataset.length.max())],
        }

    def _batches(self, epoch: int) -> list:
        """Functions that make the batches of one epoch."""
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


def make_batches(
    data, prior, batch: int, device: str, seed: int, n_val: int, chunk: int = 4096, samples=False, gaps=0.0
):
    """Training batches, and the same held-out batches for every run.

    Parameters
    ----------
    data : path or None
        Folder of pickled data sets (train.pt, validation.pt); a folder of Parquet files without them is streamed
        from disk and validated on the simulated stream; None simulates.
    prior : list of str or Prior
        Priors of the simulated stream: names, `Prior` objects, or JSON files (see `read_prior`); or
        "brownian" alone (`BrownianStream`).
    batch, chunk : int
        Tracks per batch; tracks simulated at once.
    n_val : int
        Held-out batches of 256 tracks.
    samples : bool
        Batches of whole samples (`SampleStream`), for a network that reads them; simulated ones only.
    gaps : float
        Share of simulated tracks with missing frames.

    Raises
    ------
    ValueError
        If a number is outside its range, a prior is unknown or its file wrong, the folder holds no data set that can be
        read, or options contradict.
    """
    for name, value, limits in (("batch", batch, BATCH), ("val_batches", n_val, VAL_BATCHES), ("chunk", chunk, CHUNK)):
        check_number(name, value, *limits)
    if gaps and data is not None:
        raise ValueError("--gaps are simulated: they cannot be had with --data")
    if list(prior) == ["brownian"]:
        if data is not None or samples or gaps:
            raise ValueError("--prior brownian gives whole tracks, one by one: no --data, --gaps or --body sample")
        held_out = BrownianStream(256, device, VALIDATION_SEED, max(256 * n_val, 512))
        return BrownianStream(batch, device, seed, chunk), list(islice(held_out, n_val))
    if samples and batch % max(SAMPLE_SIZES):
        raise ValueError(f"--batch is {batch}: whole samples need a multiple of {max(SAMPLE_SIZES)} tracks")
    prior = [read_prior(p) if str(p).endswith(".json") else p for p in prior]
    stream = SampleStream if samples else TrackStream
    held_out = stream(prior, 256, device, VALIDATION_SEED, max(256 * n_val, 512), gaps=gaps)
    if data is None:
        return stream(prior, batch, device, seed, chunk, gaps=gaps), list(islice(held_out, n_val))
    return read_batches(Path(data), batch, seed, n_val, held_out)


def read_batches(folder: Path, batch: int, seed: int, n_val: int, simulated):
    """Training batches and held-out batches from a folder, as `make_batches` describes them.

    Raises
    ------
    ValueError
        If it holds no data set, or one that cannot be used.
    """
    if not (folder / "train.pt").exists():
        files = sorted(folder.glob("*.parquet"))
        if not files:
            raise ValueError(f"--data {folder}: holds neither train.pt nor Parquet files, see simulations/README.md")
        tracks = require_tracks(LazyTrackDataset(files), folder)
        return DatasetBatches(tracks, batch, seed), list(islice(simulated, n_val))
    tracks, held_out = (require_tracks(load_dataset(folder / n), folder / n) for n in ("train.pt", "validation.pt"))
    val = DatasetBatches(held_out, 256, VALIDATION_SEED, augmented=False)
    return DatasetBatches(tracks, batch, seed), list(islice(val, n_val))


def require_tracks(dataset: TrackDataset | LazyTrackDataset, path: Path) -> TrackDataset | LazyTrackDataset:
    """The data set itself.

    Raises
    ------
    ValueError
        If it is empty.
    """
    if not len(dataset):
        raise ValueError(f"{path}: holds no tracks")
    return dataset
