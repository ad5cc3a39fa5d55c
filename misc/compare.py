"""Compare designs of networks at one budget: features, noise input, scale, loss, width, depth, body.

    python misc/compare.py --steps 800 --out runs/compare               # all; finished designs are kept
    python misc/compare.py base "width 64" --steps 800 --out runs/compare

Every design trains the combined network on the same stream (prior `challenge`, the same tracks in the same order) and
is scored on the same held-out tracks with known localisation error. All designs see equally many tracks; the table also
has their processor time. A small budget favours small networks.
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
    """A stream in which every second batch runs backwards in time.

    Labels are reversed too and can be off by one frame, see `main.tracks.learning.augment.reverse_time`.
    """

    def __init__(self, stream):
        self.stream = stream

    def __iter__(self):
        for i, batch in enumerate(self.stream):
            yield reverse(batch) if i % 2 else batch


def reverse(batch: dict) -> dict:
    """Reverse each track of a padded batch in time."""
    length = batch["length"]
    flipped = {n: flip_valid(batch[n][..., None], length)[..., 0] for n in ("k", "alpha", "state")}
    return batch | flipped | {"xy": flip_valid(batch["xy"], length)}


class ScaleTask(TrackTask):
    """A task whose network reads log10 of the track's scale as one more feature and predicts K in px^2/frame^alpha."""

    def __init__(self, options, val=()):
        super().__init__(options, val)
        self.config = self.config | {"in_features": self.config["in_features"] + 1}

    def forward(self, net, batch):
        """Outputs of all heads in px, and a scale of 1 (log10: 0), so that the losses do not rescale K."""
        feats, log10_scale = features(batch["xy"], batch["length"], batch["sigma"])
        column = (log10_scale[:, None] * valid_frames(batch))[..., None]
        none = torch.zeros_like(log10_scale)
        return net(torch.cat([feats, column], -1), batch["length"], none), none


class PlusOneTask(ScaleTask):
    """A `ScaleTask` with the loss of K of the original system: L1 of log10(K + 1)."""

    def head_losses(self, heads, log10_scale, batch):
        """Losses as in `TrackTask`, except that of K."""
        target = torch.log10(batch["k"] + 1)
        moving = valid_frames(batch) & (batch["state"] != TRAPPED)
        error = ((heads["k"].float() - target).abs() * moving).sum() / moving.sum()
        return super().head_losses(heads, log10_scale, batch) | {"k": error}


DESIGNS = {  # options of the network; task instead of TrackTask; share of unknown noise; wrapper of the stream
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


def train_and_score(name: str, steps: int, folder: Path) -> dict:
    """Train and score one design."""
    design = DESIGNS[name]
    task = design.get("task", TrackTask)(TrackOptions(**(BASE_NETWORK | design.get("options", {}))))
    options = Options(**BASE_TRAINING, steps=steps, seed=SEED)
    stream = TrackStream(PRIOR, 64, "cpu", SEED, 8192, unknown_sigma=design.get("unknown_sigma", 0.4))
    held_out = list(islice(TrackStream(PRIOR, 256, "cpu", HELD_OUT_SEED, 4096, unknown_sigma=0.0), 12))
    started = time.process_time()
    net = fit(task, design.get("wrap", keep)(stream), [], options, folder / name.replace(" ", "_"), overwrite=True)
    seconds = time.process_time() - started
    if design.get("unknown_sigma") == 1.0:
        held_out = [b | {"sigma": torch.full_like(b["sigma"], torch.nan)} for b in held_out]
    parameters = sum(p.numel() for p in net.parameters())
    return {"parameters": parameters, "cpu_seconds": round(seconds), **compute_scores(task, net.eval(), held_out)}


def keep(stream):
    """Return the stream unchanged."""
    return stream


@torch.no_grad()
def compute_scores(task, net, batches: list[dict]) -> dict:
    """Compute frame-wise scores of a network on padded batches.

    Returns
    -------
    dict
        Over moving frames: mean absolute error of log10 K, mean squared error of log(K + 1), mean absolute error of
        alpha. Over all frames: accuracy of the state, cross-entropy of the changepoints.
    """
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
    """Train and score the named designs that are not in the table yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "designs", nargs="*", metavar="DESIGN", help="designs to run (default: all); some of " + "; ".join(DESIGNS)
    )
    parser.add_argument(
        "--steps", type=int, default=800, metavar="N", help="training steps of 64 tracks each (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/compare"),
        metavar="FOLDER",
        help="folder for runs and scores (default: %(default)s)",
    )
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / f"scores_{args.steps}.json"
    table = json.loads(file.read_text()) if file.exists() else {}
    for name in args.designs or DESIGNS:
        if name not in table:
            table[name] = train_and_score(name, args.steps, args.out)
            file.write_text(json.dumps(table, indent=1) + "\n")
    for name, row in table.items():
        print(f"{name:36s}", "  ".join(f"{n} {v}" for n, v in row.items()))


if __name__ == "__main__":
    main()
