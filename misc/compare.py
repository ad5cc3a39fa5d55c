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

import torch

from main.models.layers import flip_valid
from main.tracks.features import features
from main.tracks.learning.losses import LOG10_K_FLOOR, losses, valid_frames
from main.tracks.learning.task import TrackOptions, TrackTask
from main.utils.training import Options, fit
from simulations.parameters import TRAPPED
from simulations.stream import TrackStream

PRIOR, SEED, HELD_OUT_SEED = "challenge", 7, 20_261_121
BASE_NETWORK = {"body": "lstm", "hidden": 32}
BASE_TRAINING = {"lr": 2e-3, "bf16": True, "val_every": 10**9}


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


class ScaleTask(TrackTask):
    """Reads log10 of the track's scale as one more feature; K is predicted in px, not relative to the scale."""

    def __init__(self, options, val=()):
        super().__init__(options, val)
        self.config = self.config | {"in_features": self.config["in_features"] + 1}

    def forward(self, net, batch):
        """Heads in px: the scale that is handed on is 1."""
        feats, log10_scale = features(batch["xy"], batch["length"], batch["sigma"])
        column = (log10_scale[:, None] * valid_frames(batch))[..., None]
        none = torch.zeros_like(log10_scale)
        return net(torch.cat([feats, column], -1), batch["length"], none), none


class PlusOneTask(ScaleTask):
    """Also takes the original's loss of K: L1 of log10(K + 1)."""

    def head_losses(self, heads, log10_scale, batch):
        """As in TrackTask, but for K."""
        target = torch.log10(batch["k"] + 1)
        moving = valid_frames(batch) & (batch["state"] != TRAPPED)
        error = ((heads["k"].float() - target).abs() * moving).sum() / moving.sum()
        return super().head_losses(heads, log10_scale, batch) | {"k": error}


DESIGNS = {  # options of network and training; task in the place of TrackTask; how the stream is changed
    "base": {},
    "m3 features": {"options": {"features": "m3"}},
    "noise unknown": {"unknown_sigma": 1.0},
    "noise always known": {"unknown_sigma": 0.0},
    "scale as a feature": {"task": ScaleTask},
    "scale as a feature, loss log10(K+1)": {"task": PlusOneTask},
    "time reversal": {"wrap": Reversed},
    "width 64": {"options": {"hidden": 64}},
    "depth 1,1,1": {"options": {"layers": "1,1,1"}},
    "depth 2,2,2": {"options": {"layers": "2,2,2"}},
    "conv_bilstm, width 48": {"options": {"body": "conv_bilstm", "hidden": 48}},
    "conv_bilstm, width 64": {"options": {"body": "conv_bilstm", "hidden": 64}},
}


def run(name: str, steps: int, folder: Path) -> dict:
    """Train and score one design."""
    design = DESIGNS[name]
    task = design.get("task", TrackTask)(TrackOptions(**(BASE_NETWORK | design.get("options", {}))))
    options = Options(**BASE_TRAINING, steps=steps, seed=SEED)
    stream = TrackStream(PRIOR, 64, "cpu", SEED, 8192, unknown_sigma=design.get("unknown_sigma", 0.4))
    held_out = list(islice(TrackStream(PRIOR, 256, "cpu", HELD_OUT_SEED, 4096, unknown_sigma=0.0), 12))
    started = time.process_time()
    net = fit(task, design.get("wrap", iter_of)(stream), [], options, folder / name.replace(" ", "_"))
    seconds = time.process_time() - started
    if design.get("unknown_sigma") == 1.0:
        held_out = [b | {"sigma": torch.full_like(b["sigma"], torch.nan)} for b in held_out]
    parameters = sum(p.numel() for p in net.parameters())
    return {"parameters": parameters, "cpu_seconds": round(seconds), **scores(task, net.eval(), held_out)}


def iter_of(stream):
    """The stream as it is."""
    return stream


@torch.no_grad()
def scores(task, net, batches: list[dict]) -> dict:
    """Frame-wise errors over moving frames: mean |log10 K|, MSLE of K, mean |alpha|; accuracy; entropy of changes."""
    sums = torch.zeros(7, dtype=torch.float64)
    for batch in batches:
        out, log10_scale = task.forward(net, batch)
        valid = valid_frames(batch)
        moving = valid & (batch["state"] != TRAPPED)
        log10_k = out["k"] + 2 * log10_scale[:, None]
        if isinstance(task, PlusOneTask):
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
