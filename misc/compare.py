"""Designs side by side at one budget: features, noise input, scale, loss, width, depth, body.

    python misc/compare.py --steps 800 --out runs/compare       (finished designs are kept; names choose some)

Every design trains the combined network on the same stream (prior `challenge`, the same tracks in the same order) and
is scored on the same held-out tracks, localisation error given. Budgets are equal in tracks; the processor time
stands beside them. Small budgets favour small networks: read the table as such.
"""

import argparse
import json
import time
from itertools import islice
from pathlib import Path
from unittest import mock

import torch

from main.models.layers import flip_valid
from main.tracks.features import features
from main.tracks.learning.losses import LOG10_K_FLOOR, losses, valid_frames
from main.utils import training
from simulations.stream import TrackStream

PRIOR, SEED, HELD_OUT_SEED = "challenge", 7, 20_261_121
BASE = {"body": "lstm", "hidden": 32, "lr": 2e-3, "bf16": True, "val_every": 10**9}
FEATURES, LOSSES, N_FEATURES = training.features, training.losses, training.N_FEATURES


class Reversed:
    """A stream in which every second batch runs backwards in time (labels reversed; off by a frame, see augment)."""

    def __init__(self, stream):
        self.stream = stream

    def __iter__(self):
        for i, batch in enumerate(self.stream):
            yield reverse(batch) if i % 2 else batch


def reverse(batch: dict) -> dict:
    """Each track of a padded batch from its last frame to its first."""
    length = batch["length"]
    flipped = {n: flip_valid(batch[n][..., None], length)[..., 0] for n in ("k", "alpha", "state")}
    return batch | flipped | {"xy": flip_valid(batch["xy"], length)}


def with_scale(xy, length, sigma=None, kind="default"):
    """The default features and log10 of the track's scale; K is then predicted in px, not relative to the scale."""
    feats, log10_scale = features(xy, length, sigma)
    valid = valid_frames({"xy": xy, "length": length})
    return torch.cat([feats, (log10_scale[:, None] * valid)[..., None]], -1), torch.zeros_like(log10_scale)


def log10_k_plus_one(out, batch, log10_scale, class_weights=None, focal=0.0):
    """The original's loss of K: L1 of log10(K + 1)."""
    target = torch.log10(batch["k"] + 1)
    moving = valid_frames(batch) & (batch["state"] != 0)
    parts = losses(out, batch, log10_scale, class_weights, focal)
    return parts | {"k": ((out["k"].float() - target).abs() * moving).sum() / moving.sum()}


DESIGNS = {  # options of the training; what to put in the place of features and losses; how the stream is changed
    "base": {},
    "m3 features": {"options": {"features": "m3"}},
    "noise unknown": {"unknown_sigma": 1.0},
    "noise always known": {"unknown_sigma": 0.0},
    "scale as a feature": {"features": with_scale},
    "scale as a feature, loss log10(K+1)": {"features": with_scale, "losses": log10_k_plus_one},
    "time reversal": {"wrap": Reversed},
    "width 64": {"options": {"hidden": 64}},
    "depth 1,1,1": {"options": {"layers": "1,1,1"}},
    "depth 2,2,2": {"options": {"layers": "2,2,2"}},
    "conv_lstm, width 48": {"options": {"body": "conv_lstm", "hidden": 48}},
    "conv_lstm, width 64": {"options": {"body": "conv_lstm", "hidden": 64}},
}


def run(name: str, steps: int, folder: Path) -> dict:
    """Train and score one design."""
    design = DESIGNS[name]
    options = training.Options(**(BASE | design.get("options", {}) | {"steps": steps, "seed": SEED}))
    stream = TrackStream(PRIOR, 64, "cpu", SEED, 8192, unknown_sigma=design.get("unknown_sigma", 0.4))
    held_out = list(islice(TrackStream(PRIOR, 256, "cpu", HELD_OUT_SEED, 4096, unknown_sigma=0.0), 12))
    sizes = N_FEATURES | {"default": N_FEATURES["default"] + (design.get("features") is with_scale)}
    with mock.patch.multiple(
        training, features=design.get("features", FEATURES), losses=design.get("losses", LOSSES), N_FEATURES=sizes
    ):
        started = time.process_time()
        net = training.fit(design.get("wrap", iter_of)(stream), [], options, folder / name.replace(" ", "_"))
        seconds = time.process_time() - started
        if design.get("unknown_sigma") == 1.0:
            held_out = [b | {"sigma": torch.full_like(b["sigma"], torch.nan)} for b in held_out]
        result = scores(net.eval(), held_out, options.features, "losses" in design)
    return {"parameters": sum(p.numel() for p in net.parameters()), "cpu_seconds": round(seconds), **result}


def iter_of(stream):
    """The stream as it is."""
    return stream


@torch.no_grad()
def scores(net, batches: list[dict], kind: str, plus_one: bool) -> dict:
    """Frame-wise errors over moving frames: mean |log10 K|, MSLE of K, mean |alpha|; accuracy; entropy of changes."""
    sums = torch.zeros(7, dtype=torch.float64)
    for batch in batches:
        feats, log10_scale = training.features(batch["xy"], batch["length"], batch["sigma"], kind)
        out = net(feats, batch["length"])
        valid = valid_frames(batch)
        moving = valid & (batch["state"] != 0)
        log10_k = out["k"] + 2 * log10_scale[:, None]
        if plus_one:
            log10_k = (10**log10_k - 1).clamp_min(10**LOG10_K_FLOOR).log10()
        true = batch["k"].clamp_min(10**LOG10_K_FLOOR)
        right = out["state"].argmax(-1) == batch["state"]
        change = losses(out, batch, log10_scale)["change"] * valid.sum()
        sums += torch.stack(
            [
                moving.sum(),
                valid.sum(),
                (log10_k - true.log10()).abs()[moving].sum(),
                (torch.log1p(10**log10_k) - torch.log1p(true)).square()[moving].sum(),
                (out["alpha"] - batch["alpha"]).abs()[moving].sum(),
                right[valid].sum(),
                change,
            ]
        ).double()
    moving, valid, *rest = sums.tolist()
    names = ("mae_log10_k", "msle_k", "mae_alpha", "accuracy", "change_entropy")
    return {n: round(v / d, 5) for n, v, d in zip(names, rest, (moving, moving, moving, valid, valid), strict=True)}


def main(arguments=None) -> None:
    """Run the named designs (all by default) that have not run yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("designs", nargs="*", help="some of: " + "; ".join(DESIGNS))
    parser.add_argument("--steps", type=int, default=800, help="of 64 tracks")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / f"scores_{args.steps}.json"
    table = json.loads(file.read_text()) if file.exists() else {}
    for name in args.designs or DESIGNS:
        if name not in table:
            table[name] = run(name, args.steps, args.out)
            file.write_text(json.dumps(table, indent=1) + "\n")
    for name, row in table.items():
        print(f"{name:36s}", "  ".join(f"{n} {v}" for n, v in row.items()))


if __name__ == "__main__":
    main()
