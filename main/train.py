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
from itertools import islice
from pathlib import Path

import torch

from main.utils import distributed
from main.utils.training import Options, fit
from simulations.brownian import BrownianStream
from simulations.parameters import read_prior
from simulations.stream import SampleStream, TrackStream

VALIDATION_SEED = 987_654_321


def main(arguments: list[str] | None = None) -> int:
    """Parse the options and train; an option or a file that cannot be used gives one sentence and exit code 2."""
    args = _parser().parse_args(arguments)
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
        train.split(distributed.rank(), distributed.world())
        fit(train, val, options, args.run, args.resume, device)
        if distributed.rank() == 0:
            print(f"run folder: {args.run}")
    except (ValueError, OSError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    finally:
        distributed.leave()
    return 0


def batches(data, prior, batch: int, device: str, seed: int, n_val: int, chunk: int = 4096, samples=False, gaps=0.0):
    """Training batches, and the same held-out batches for every run.

    Parameters
    ----------
    data : path or None
        Folder of pickled data sets (train.pt, validation.pt); a folder of Parquet files without them is streamed
        from disk and validated on the simulated stream; None simulates.
    prior : list of str or Prior
        Priors of the simulated stream: names, `Prior` objects, or JSON files of one's own (see `read_prior`); or
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
        If a prior is unknown or its file wrong, the folder holds no data set that can be read, or options contradict.
    """
    if gaps and data is not None:
        raise ValueError("--gaps are simulated: they cannot be had with --data")
    if list(prior) == ["brownian"]:
        if data is not None or samples or gaps:
            raise ValueError("--prior brownian gives whole tracks, one by one: no --data, --gaps or --body sample")
        held_out = BrownianStream(256, device, VALIDATION_SEED, max(256 * n_val, 512))
        return BrownianStream(batch, device, seed, chunk), list(islice(held_out, n_val))
    prior = [read_prior(p) if str(p).endswith(".json") else p for p in prior]
    stream = SampleStream if samples else TrackStream
    held_out = stream(prior, 256, device, VALIDATION_SEED, max(256 * n_val, 512), gaps=gaps)
    if data is None:
        return stream(prior, batch, device, seed, chunk, gaps=gaps), list(islice(held_out, n_val))
    from main.utils.batches import DatasetBatches
    from main.utils.dataset import LazyTrackDataset, load_dataset

    if not (Path(data) / "train.pt").exists() and (files := sorted(Path(data).glob("*.parquet"))):
        return DatasetBatches(LazyTrackDataset(files), batch, seed), list(islice(held_out, n_val))
    train = DatasetBatches(load_dataset(Path(data) / "train.pt"), batch, seed)
    val = DatasetBatches(load_dataset(Path(data) / "validation.pt"), 256, VALIDATION_SEED, augmented=False)
    return train, list(islice(val, n_val))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
