"""Train one network from the shell: the twin of the training notebooks.

    python main/train.py --target alpha --steps 2000 --run runs/alpha
    python main/train.py --target alpha --steps 2000 --run runs/alpha --resume
    python main/train.py --data data/broad --target k          # on pickled data sets instead of the stream
"""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields
from itertools import islice
from pathlib import Path

import torch

from main.utils.training import Options, fit, validate
from simulations.stream import TrackStream

VALIDATION_SEED = 987_654_321


def main(arguments: list[str] | None = None) -> None:
    """Parse the options, train, print the last scores."""
    args = _parser().parse_args(arguments)
    options = Options(**{f.name: getattr(args, f.name) for f in fields(Options)})
    device = args.device if args.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    train, val = batches(args.data, args.prior, args.batch, device, options.seed, args.val_batches, args.chunk)
    net = fit(train, val, options, args.run, args.resume, device)
    scores = validate(net, val, options)
    print(f"{args.run}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))


def batches(data, prior, batch: int, device: str, seed: int, n_val: int, chunk: int = 4096):
    """Training and validation batches, from pickled data sets in folder `data` or, without one, from the stream."""
    if data is None:
        train = TrackStream(prior, batch, device, seed, chunk)
        held_out = TrackStream(prior, min(batch, 256), device, VALIDATION_SEED, max(256 * n_val, 512))
        return train, list(islice(held_out, n_val))
    from main.utils.batches import DatasetBatches
    from main.utils.dataset import load_dataset

    train = DatasetBatches(load_dataset(Path(data) / "train.pt"), batch, seed)
    val = DatasetBatches(load_dataset(Path(data) / "validation.pt"), 256, VALIDATION_SEED, augmented=False)
    return train, list(islice(val, n_val))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/train"), help="run folder")
    parser.add_argument("--data", type=Path, help="folder of pickled data sets; without it tracks are simulated")
    parser.add_argument("--prior", nargs="+", default=["broad", "andi2"], help="priors of the stream")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--chunk", type=int, default=4096, help="tracks simulated at once")
    parser.add_argument("--val-batches", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--resume", action="store_true", help="continue from the run folder's last.pt")
    for field in fields(Options):
        default = field.default if field.default is not MISSING else None
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default)
        else:
            parser.add_argument(flag, type=type(default), default=default)
    return parser


if __name__ == "__main__":
    main()
