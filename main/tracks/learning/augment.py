"""Augmentations of one labelled track. Every function returns a new item and does not change its argument.

An item is a dictionary as `TrackDataset` returns it: xy (T, 2) px, k, alpha, state (T,), sigma (), model ().
"""

from __future__ import annotations

import numpy as np
import torch

from simulations.labels import label_filter
from simulations.parameters import MODELS, STEP_ENDS_AT_LABEL

PROBABILITY = 0.3  # of each augmentation
MIN_CROP = 24  # frames; the shortest part that is cut out
NOISE = 0.1  # largest added localisation error, in units of the track's rms displacement
LABELS = ("k", "alpha", "state")
Item = dict[str, torch.Tensor]


def augment(item: Item, rng: np.random.Generator) -> Item:
    """Apply each augmentation with probability 0.3: crop, rotate, noise, flips, time reversal."""
    for change in (crop, rotate, add_noise, flip_x, flip_y, reverse_time):
        if rng.random() < PROBABILITY:
            item = change(item, rng)
    return item


def crop(item: Item, rng: np.random.Generator) -> Item:
    """Cut out a random part of 24 to T frames; segments with fewer than 3 frames left are filtered out."""
    n_frames = len(item["xy"])
    if n_frames <= MIN_CROP:
        return item
    length = rng.integers(MIN_CROP, n_frames + 1)
    start = rng.integers(n_frames - length + 1)
    cut = {name: item[name][start : start + length].clone() for name in ("xy", *LABELS)}
    return _filtered(item | cut)


def rotate(item: Item, rng: np.random.Generator) -> Item:
    """Rotate by a random angle about the first position."""
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = item["xy"].new_tensor([[cos, -sin], [sin, cos]])
    return item | {"xy": (item["xy"] - item["xy"][:1]) @ matrix.T + item["xy"][:1]}


def add_noise(item: Item, rng: np.random.Generator) -> Item:
    """Add localisation error of up to 0.1 rms displacements; `sigma` grows with it where it is known."""
    steps = item["xy"].diff(dim=0)
    scale = steps.square().mean().sqrt() if len(steps) else item["xy"].new_zeros(())
    added = float(scale) * rng.uniform(0, NOISE)
    noise = item["xy"].new_tensor(rng.normal(0, added, item["xy"].shape))
    return item | {"xy": item["xy"] + noise, "sigma": torch.sqrt(item["sigma"] ** 2 + added**2)}


def flip_x(item: Item, rng: np.random.Generator) -> Item:
    """Mirror the track: x -> -x."""
    return item | {"xy": item["xy"] * item["xy"].new_tensor([-1.0, 1.0])}


def flip_y(item: Item, rng: np.random.Generator) -> Item:
    """Mirror the track: y -> -y."""
    return item | {"xy": item["xy"] * item["xy"].new_tensor([1.0, -1.0])}


def reverse_time(item: Item, rng: np.random.Generator) -> Item:
    """Reverse the track in time, with labels aligned to the steps as in the model of the track.

    In multi-state, confinement and single-state tracks label[t] governs the step t -> t+1, in traps and
    dimerisation the step t-1 -> t. Backwards, step s -> s+1 is the old step T-2-s -> T-1-s, so
    reversing the labels alone would shift them by one frame. The label that governs no visible step (the last or
    the first one) is lost; its counterpart in the reversed track takes the label of the next step. Segments with
    fewer than 3 frames left are filtered out.
    """
    ends = MODELS[int(item["model"])] in STEP_ENDS_AT_LABEL
    order = _reversed_order(len(item["xy"]), ends)
    labels = {name: item[name][order] for name in LABELS}
    return _filtered(item | labels | {"xy": item["xy"].flip(0)})


def _reversed_order(n_frames: int, step_ends_at_label: bool) -> torch.Tensor:
    """Frame of the original track, (T,), whose label each frame of the reversed track takes."""
    frames = torch.arange(n_frames)
    old = n_frames - frames if step_ends_at_label else n_frames - 2 - frames
    return old.clamp(0, n_frames - 1)


def _filtered(item: Item) -> Item:
    """The item with its labels passed through the label filter of the challenge."""
    labels = {n: torch.from_numpy(label_filter(item[n].numpy())).to(item[n].dtype) for n in LABELS}
    return item | labels
