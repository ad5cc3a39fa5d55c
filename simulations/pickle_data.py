"""Split simulated tracks into training, validation and test sets: 70, 15 and 15 % of the tracks of each model.

`simulations.dataset.load_dataset` reads and memory-maps the sets.

    python simulations/pickle_data.py data/broad
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from simulations.arguments import Parser
from simulations.concat import MANIFEST_FILE
from simulations.dataset import TrackDataset
from simulations.files import sha256
from simulations.jobs import LIMITS
from simulations.parameters import MODELS

MAX_SEED = LIMITS["seed"][1]
SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}


def split_tracks(model: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Split the tracks of each model at random into sets with the shares `SHARES`.

    Parameters
    ----------
    model : array (n,)
        Model of each track, an index into `MODELS`.
    seed : int
        Of the random split.

    Returns
    -------
    dict
        Name of each set -> sorted track indices.
    """
    parts = {name: [] for name in SHARES}
    borders = np.cumsum(list(SHARES.values()))[:-1]
    for i, code in enumerate(np.unique(model)):
        tracks = np.flatnonzero(model == code)
        shuffled = np.random.default_rng([seed, i]).permutation(tracks)
        cuts = np.rint(borders * len(tracks)).astype(int)
        for name, part in zip(SHARES, np.split(shuffled, cuts), strict=True):
            parts[name].append(part)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


def pickle_data(folder, seed: int = 0) -> dict[str, Path]:
    """Write `train.pt`, `validation.pt` and `test.pt` into the folder of the Parquet files of `concat.py`.

    Returns
    -------
    dict
        Name of each set -> its file.

    Raises
    ------
    ValueError
        If the seed is negative, the folder has no manifest, or the sha256 of a Parquet file is not the one in the
        manifest.
    """
    folder = Path(folder)
    if not (folder / MANIFEST_FILE).is_file():
        raise ValueError(f"{folder} has no {MANIFEST_FILE}: run concat.py first")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"--seed {seed}: expected a number from 0 to {MAX_SEED:,}")
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text())
        files = {folder / entry["file"]: entry["sha256"] for entry in manifest["models"].values()}
        parameters = manifest["parameters"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{folder / MANIFEST_FILE} is damaged: run concat.py again") from None
    for file, checksum in files.items():
        if not file.is_file() or sha256(file) != checksum:
            raise ValueError(f"{file} is not the file that the manifest lists: run concat.py again")
    dataset = TrackDataset.from_parquet(files)
    paths = {}
    for name, tracks in split_tracks(dataset.model.numpy(), seed).items():
        info = {"set": name, "split_seed": seed, "parameters": parameters, "models": list(MODELS)}
        paths[name] = folder / f"{name}.pt"
        dataset.subset(tracks, info=info).save(paths[name])
    return paths


def main(argv=None) -> int:
    """Run the command; returns 2 if the folder cannot be used."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder in which concat.py has run (required)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random split, 0 or more (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    try:
        paths = pickle_data(args.folder, args.seed)
    except (ValueError, OSError) as error:
        print(f"pickle_data.py: {error}", file=sys.stderr)
        return 2
    for path in paths.values():
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
