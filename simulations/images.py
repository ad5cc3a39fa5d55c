"""Simulate image sequences of one diffusing molecule each, in several processes, and write them as TIFF files.

    python simulations/images.py --set wide --sequences 200 --workers 2 --out data/images

Every sequence is one 16-bit TIFF file of 16 frames of 64x64 pixels (100 nm, 10 ms); truth.json holds the parameters of
each by file name. The bytes depend on the set, the seed and the number of a sequence. A killed run continues with
--resume.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import torch
from tqdm import tqdm

from simulations.arguments import Parser
from simulations.claims import claim_folder
from simulations.files import write_atomically
from simulations.image_sets import SEQUENCES_AT_ONCE, SETS, find_set, make_part
from simulations.image_stream import FRAME_INTERVAL_S, PIXEL_UM

UNITS = {
    "d": "um^2/s",
    "label": "1e3 nm^2/s",
    "photons": "mean of a frame",
    "background": "photons of a pixel and frame",
    "psf_sigma": "um",
    "exposure": "share of the frame interval",
    "gain": "counts per photoelectron",
    "offset": "counts",
    "read_noise": "photoelectrons",
    "excess": "variance over mean of shot noise",
}


def write_part(folder: Path, name: str, seed: int, n: int, first: int) -> dict[str, dict]:
    """Write the sequences of a part that are missing; returns the truth of each by file name.

    Parameters
    ----------
    folder : Path
    name : str
        Key of `SETS`.
    seed, n : int
        Of the whole data set.
    first : int
        Number of the first sequence of the part.
    """
    torch.set_num_threads(1)
    part = make_part(name, first, min(SEQUENCES_AT_ONCE, n - first), seed)
    truths = {}
    for i, images in enumerate(part["images"].numpy().astype(np.uint16)):
        path = folder / f"{name}-{first + i:05d}.tif"
        if not path.exists():
            write_atomically(path, partial(write_tiff, images=images))
        truths[path.name] = {key: np.round(part[key][i].double().mean().item(), 6) for key in UNITS if key in part}
    return truths


def write_tiff(path: Path, images: np.ndarray) -> None:
    """Write a sequence (F, H, W) as an ImageJ TIFF with pixel size and frame interval."""
    tifffile.imwrite(
        path,
        images,
        imagej=True,
        resolution=(1 / PIXEL_UM, 1 / PIXEL_UM),
        metadata={"axes": "TYX", "unit": "um", "finterval": FRAME_INTERVAL_S},
    )


def simulate(folder: Path, name: str, n: int, seed: int, workers: int, resume: bool) -> int:
    """Write a data set; returns its number of sequences.

    Raises
    ------
    ValueError
        If an option cannot be used, or the folder exists without `resume` or holds another data set.
    """
    chosen = find_set(name)
    for option, value, low in (("--sequences", n, 1), ("--workers", workers, 1), ("--seed", seed, 0)):
        if value < low:
            raise ValueError(f"{option} is {value}, expected {low} or more")
    n = n if chosen.prior else chosen.n
    settings = {
        "set": name,
        "sequences": n,
        "seed": seed,
        "pixel_size_um": PIXEL_UM,
        "frame_interval_s": FRAME_INTERVAL_S,
    }
    record = folder / "simulation.json"
    if folder.exists() and not resume:
        raise ValueError(f"{folder} exists: continue its data set with --resume, or give another --out")
    if resume and (not record.is_file() or json.loads(record.read_text()) != settings):
        raise ValueError(
            f"{folder} holds no data set of these options: give those it was started with, or another --out"
        )
    with claim_folder(folder):
        write_atomically(record, lambda part: part.write_text(json.dumps(settings, indent=1) + "\n"))
        truths = {}
        work = partial(write_part, folder, name, seed, n)
        starts = range(0, n, SEQUENCES_AT_ONCE)
        with ExitStack() as stack:
            run = map
            if workers > 1:
                context = multiprocessing.get_context("spawn")
                run = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context)).map
            for made in tqdm(run(work, starts), total=len(starts), desc="simulate", unit="part", disable=None):
                truths |= made
        truth = {"units": UNITS, "sequences": truths}
        write_atomically(folder / "truth.json", lambda part: part.write_text(json.dumps(truth, indent=1) + "\n"))
    return len(truths)


def main(arguments: list[str] | None = None) -> int:
    """Write the data set; returns 0, or 2 with one sentence if an option cannot be used."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="Folder for the data set (required).")
    parser.add_argument(
        "--set",
        default="wide",
        choices=list(SETS),
        help="Which sequences, see simulations/image_sets.py (default: wide).",
    )
    parser.add_argument(
        "--sequences", type=int, default=100, help="Number of sequences; sets by rule have 250 (default: %(default)s)."
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the sequences (default: %(default)s).")
    parser.add_argument("--workers", type=int, default=1, help="Number of processes (default: %(default)s).")
    parser.add_argument("--resume", action="store_true", help="Continue a data set that was interrupted.")
    args = parser.parse_args(arguments)
    try:
        n = simulate(args.out, args.set, args.sequences, args.seed, args.workers, args.resume)
    except (ValueError, OSError) as error:
        print(f"images.py: {error}", file=sys.stderr)
        return 2
    print(f"{n} sequences of set {args.set} in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
