"""The one way from a padded batch of tracks through the networks, in training and in inference alike."""

from __future__ import annotations

import numpy as np
import torch

from main.tracks.features import features

VALUES = {"log10_k": 1, "alpha": 1, "state_probs": 4, "p_change": 1, "k_interval": 2, "alpha_interval": 2}


def forward(nets, batch: dict, kind: str = "default") -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Outputs of all heads of some networks for one padded batch.

    Parameters
    ----------
    nets : sequence of callable
        Networks that read the same features, on the device of the batch.
    batch : dict of tensors
        xy (B, T, 2) and sigma (B,) in one unit of length, length (B,) in frames; optionally seen (B, T) bool, False
        where the particle was not seen (xy is then on a straight line), and group (scalar), the number of tracks of
        one sample, which stand one after the other.
    kind : str
        Features that the networks read, see `features`.

    Returns
    -------
    heads : dict
        What `TrackNet.forward` returns, of all networks.
    log10_scale : Tensor, shape (B,)
        log10 of the length unit of each track, see `features`.
    """
    feats, log10_scale = features(batch["xy"], batch["length"], batch["sigma"], kind, batch.get("seen"))
    heads = {}
    for net in nets:
        heads |= net(feats, batch["length"], log10_scale, int(batch.get("group", 1)))
    return heads, log10_scale


def frame_values(heads: dict[str, torch.Tensor], log10_scale: torch.Tensor) -> dict[str, torch.Tensor]:
    """Values of every frame in the unit of the positions, from the outputs of `forward`; float64.

    Returns
    -------
    dict
        Keys of `VALUES`. (B, T): log10_k (log10 of unit^2/frame^alpha), alpha (not clipped), p_change. (B, T, 4):
        state_probs. (B, T, 2): k_interval and alpha_interval, widths of the 90 % interval below and above log10_k and
        alpha. NaN where the networks have no such head; p_change is 0 then.
    """
    heads = {name: value.double() for name, value in heads.items()}
    some = next(iter(heads.values()))
    missing = some.new_full((*some.shape[:2], max(VALUES.values())), torch.nan)
    values = {name: missing[..., 0] if size == 1 else missing[..., :size] for name, size in VALUES.items()}
    values["p_change"] = torch.zeros_like(missing[..., 0])
    if "k" in heads:
        values["log10_k"] = heads["k"] + 2.0 * log10_scale[:, None]
    if "state" in heads:
        values["state_probs"] = torch.softmax(heads["state"], dim=-1)
    if "change" in heads:
        values["p_change"] = torch.sigmoid(heads["change"])
    return values | {name: heads[name] for name in ("alpha", "k_interval", "alpha_interval") if name in heads}


def padded_batch(pieces, sigma, seen=None, group: int = 1, device="cpu") -> dict[str, torch.Tensor]:
    """Tracks as one padded batch for `forward`.

    Parameters
    ----------
    pieces : sequence of B arrays, each (T, 2)
        Positions at successive frames, any unit.
    sigma : array of float, shape (B,)
        Localisation error, unit of the positions; NaN where it is unknown.
    seen : sequence of B bool arrays, each (T,), optional
        False where the particle was not seen.
    group : int
        Tracks of one sample.
    device : str or torch.device

    Returns
    -------
    dict
        xy (B, T, 2), length, sigma (B,), group (); and seen (B, T) if some frames are missing.
    """
    length = np.array([len(piece) for piece in pieces])
    xy = np.zeros((len(pieces), length.max(), 2), dtype=np.float32)
    there = np.ones(xy.shape[:2], dtype=bool)
    for i, piece in enumerate(pieces):
        xy[i, : len(piece)] = piece - piece[0]  # in float64: float32 loses steps far from 0
        if seen is not None:
            there[i, : len(piece)] = seen[i]
    batch = {
        "xy": torch.as_tensor(xy, device=device),
        "length": torch.as_tensor(length, device=device),
        "sigma": torch.as_tensor(sigma, dtype=torch.float32, device=device),
        "group": torch.tensor(group),
    }
    return batch if there.all() else batch | {"seen": torch.as_tensor(there, device=device)}


def pack(values: dict[str, torch.Tensor]) -> torch.Tensor:
    """Values of `frame_values` side by side, (B, T, 11), in the order of `VALUES`."""
    shape = values["alpha"].shape
    return torch.cat([values[name].reshape(*shape, size) for name, size in VALUES.items()], dim=-1)


def unpack(packed) -> dict:
    """Values by name from an array (N, 11) that `pack` made: (N,), or (N, size)."""
    values, first = {}, 0
    for name, size in VALUES.items():
        values[name] = packed[:, first] if size == 1 else packed[:, first : first + size]
        first += size
    return values
