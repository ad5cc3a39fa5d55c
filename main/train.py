"""Train one network of tracks from the shell, as the training notebooks do.

python main/train.py --target alpha --steps 2000 --run runs/alpha
python main/train.py --target alpha --steps 2000 --run runs/alpha --resume
python main/train.py --data data/broad --target k            (pickled data sets instead of the simulated stream)
python main/train.py --init fast --body conv_bilstm --gaps 1 --only gaps --steps 1500 --run runs/gaps
torchrun --nproc-per-node 4 -- main/train.py --batch 1024    (4 GPUs of this machine, 256 tracks of a batch each)
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from main.tracks.learning.data import make_batches
from main.tracks.learning.task import TrackOptions, TrackTask
from main.utils import distributed
from main.utils.config import add_options, read_options
from main.utils.runs import RunFolder
from main.utils.training import Options, fit
from simulations.arguments import Parser


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Parse the options and train; an option or a file that cannot be used gives one sentence and exit code 2."""
    args = parse(arguments, prog)
    try:
        options, track_options = read_options(Options, args), read_options(TrackOptions, args)
        device = distributed.join(choose_device(args.device))
        check_run(args, options, track_options)
        train, val = make_batches(
            args.data,
            args.prior,
            args.batch,
            device,
            options.seed,
            args.val_batches,
            args.chunk,
            samples=track_options.body == "sample",
            gaps=track_options.gaps,
        )
        train.split(distributed.rank(), distributed.world(), distributed.fewest)
        task = TrackTask(track_options, val)
        fit(task, train, val, options, args.run, args.resume, device, args.overwrite)
        if distributed.rank() == 0:
            print(f"run folder: {args.run}")
    except (ValueError, OSError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    finally:
        distributed.leave()
    return 0


def choose_device(name: str) -> str:
    """Device of a name: that itself, or for "auto" a GPU if there is one.

    Raises
    ------
    ValueError
        If it is not known or not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d{1,4})?", name):
        raise ValueError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if name.startswith("cuda") and int(name[5:] or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs that torch can use")
    return name


def check_run(args: argparse.Namespace, options: Options, track_options: TrackOptions) -> None:
    """Check the run folder and its checkpoint before data are made.

    Raises
    ------
    ValueError
        If the run may not start, or not continue with these options.
    """
    folder = RunFolder(args.run)
    with distributed.all_or_none():
        if not folder.writes:
            return
        folder.check(args.resume, args.overwrite)
        if args.resume:
            folder.read_resumable(asdict(options) | asdict(track_options))
        elif options.schedule == "onecycle":
            print(f"this run ends at step {options.steps}: one with --schedule trapezoid or plateau can be prolonged")


def parse(arguments: list[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_argument_group("data and run")
    data.add_argument("--run", type=Path, default=Path("runs/train"), help="Run folder (default: %(default)s).")
    data.add_argument("--data", type=Path, help="Folder of data sets; without it tracks are simulated.")
    data.add_argument(
        "--prior",
        nargs="+",
        default=["broad", "challenge"],
        help="Priors of the simulated tracks: names, or JSON files of your own; or brownian alone (default: broad "
        "challenge).",
    )
    data.add_argument("--batch", type=int, default=64, help="Tracks per step, over all processes (default: 64).")
    data.add_argument("--chunk", type=int, default=4096, help="Tracks that each process simulates at once (4096).")
    data.add_argument("--val-batches", type=int, default=8, help="Held-out batches of 256 tracks (default: 8).")
    data.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto, a GPU if there is one).")
    again = data.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="Continue from the run folder's last.pt.")
    again.add_argument("--overwrite", action="store_true", help="Replace the run that the run folder holds.")
    add_options(parser.add_argument_group("network and losses"), TrackOptions)
    add_options(parser.add_argument_group("training"), Options)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
