"""Train one network from the shell: the twin of the training notebooks.

python main/train.py --target alpha --steps 2000 --run runs/alpha
python main/train.py --target alpha --steps 2000 --run runs/alpha --resume
python main/train.py --data data/broad --target k          # on pickled data sets instead of the stream
python main/train.py --init fast --body conv_lstm --gaps 1 --only gaps --steps 1500 --run runs/gaps
torchrun --nproc-per-node 4 -- main/train.py --batch 1024  # on 4 GPUs of this machine, 256 tracks of a batch each
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import torch

from main.tracks.learning.data import batches
from main.utils import distributed
from main.utils.training import Options, fit


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Parse the options and train; an option or a file that cannot be used gives one sentence and exit code 2."""
    args = _parser(prog).parse_args(arguments)
    options = Options(**{f.name: getattr(args, f.name) for f in fields(Options)})
    device = args.device if args.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = distributed.join(device)
        train, val = batches(
            args.data,
            args.prior,
            args.batch,
            device,
            options.seed,
            args.val_batches,
            args.chunk,
            options.body == "sample",
            options.gaps,
        )
        train.split(distributed.rank(), distributed.world(), distributed.fewest)
        fit(train, val, options, args.run, args.resume, device)
        if distributed.rank() == 0:
            print(f"run folder: {args.run}")
    except (ValueError, OSError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    finally:
        distributed.leave()
    return 0


def _parser(prog: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/train"), help="run folder")
    parser.add_argument("--data", type=Path, help="folder of data sets; without it tracks are simulated")
    parser.add_argument(
        "--prior",
        nargs="+",
        default=["broad", "challenge"],
        help="priors of the stream: names, or JSON files of your own; or brownian alone",
    )
    parser.add_argument("--batch", type=int, default=64, help="tracks per step, over all processes")
    parser.add_argument("--chunk", type=int, default=4096, help="tracks simulated at once, by each process")
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
    sys.exit(main())
