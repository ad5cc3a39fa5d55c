"""Turn training runs into a set of weights that `infer.py` can load.

    python main/ship.py --name mine runs/mine                                  (into weights/mine)
    python main/ship.py --name weights/new runs/k runs/alpha runs/state
    python main/infer.py TRACKS --weights weights/mine --out DIR

The last step of each run is taken. `benchmark.py --fit-penalty` then fits the segmentation and `calibrate.py` the
intervals. The card (README.md in the folder) is written by hand from what `benchmark.py` prints.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from main.models import build
from main.utils.files import claim_folder
from main.utils.runs import read_checkpoint
from main.utils.weights import WEIGHTS_DIR, new_weights_folder, read_config, save_weights, weights_folder
from simulations.arguments import Parser


def ship(runs: list[Path], folder: Path) -> dict:
    """Write the networks of some runs as one set of weights; a set that is there is replaced.

    Parameters
    ----------
    runs : list of paths
        One run of target "combined"; or one run each of "k", "alpha" and "state"; or one run of "k" alone, for
        `main.tracks.diffusion.network`.
    folder : path
        Folder of the set. The segmentation of an earlier set there is kept; without one, that of the weights from
        which the runs were fine-tuned is taken.

    Returns
    -------
    dict
        The configuration written.

    Raises
    ------
    ValueError
        If the runs do not give K, or K, alpha and state, once each; differ in their features; were trained on tracks
        of lengths that do not overlap; or have no checkpoint that can be read.
    """
    checkpoints = {run: read_checkpoint(run) for run in runs}
    params = {run: checkpoint["given"] for run, checkpoint in checkpoints.items()}
    foreign = [str(run) for run, given in params.items() if not {"target", "features", "net", "data"} <= given.keys()]
    if foreign:
        raise ValueError(f"{', '.join(foreign)}: not a run of networks of tracks")
    targets = sorted(str(p["target"]) for p in params.values())
    if targets not in (["combined"], ["alpha", "k", "state"], ["k"]):
        raise ValueError(
            f"runs of {', '.join(targets)}: expected one combined run, one each of k, alpha, state, or "
            "one of k for D(t) of Brownian motion"
        )
    kinds = {str(p["features"]) for p in params.values()}
    if len(kinds) > 1:
        raise ValueError(f"runs with different features ({', '.join(sorted(kinds))}) do not make one set")
    nets, training = {}, {}
    for run, options in params.items():
        nets[options["target"]] = restore_network(run, options["net"], checkpoints[run]["net"])
        training[options["target"]] = {n: options.get(n) for n in ("lr", "schedule", "seed", "data")} | {
            "steps": checkpoints[run]["step"],
            "init": Path(options.get("init") or "").name,
        }
    config = {
        "features": kinds.pop(),
        "nets": {p["target"]: p["net"] for p in params.values()},
        "training": training,
        "training_range": {"n_frames": trained_lengths(params.values())},
    }
    inits = [p["init"] for p in params.values() if p.get("init")]
    if {p.get("only") for p in params.values()} == {"gaps"}:  # nothing else is new
        source = read_config(weights_folder(inits[0]))
        if len(set(inits)) > 1 or set(training) != set(source["training"]):
            raise ValueError("gap fillers of one set of weights go together: all its networks, from the same --init")
        for target, trained in training.items():
            source["training"][target]["gaps"] = trained
        replace_weights(folder, nets, source | {"nets": config["nets"]})
        return source
    for source in (folder, *(WEIGHTS_DIR / init for init in inits), *map(Path, inits)):
        if (source / "config.json").exists():
            config["segmentation"] = read_config(source).get("segmentation", {})
            break
    replace_weights(folder, nets, config)
    return config


def restore_network(run: Path, config: dict, weights: dict) -> torch.nn.Module:
    """Make the network of a run with its weights.

    Raises
    ------
    ValueError
        If they do not fit together.
    """
    try:
        net = build(config)
        net.load_state_dict(weights)
    except (AttributeError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ValueError(f"{run}: the weights do not fit the network that last.pt describes ({reason})") from None
    return net


def replace_weights(folder: Path, nets: dict[str, torch.nn.Module], config: dict) -> None:
    """Write a set of weights; networks of an earlier set that the new one lacks are removed."""
    with claim_folder(folder):
        save_weights(folder, nets, config)
        for path in Path(folder).glob("*.safetensors"):
            if path.stem not in nets:
                path.unlink()


def trained_lengths(params) -> list[int]:
    """Fewest and most frames of the tracks that all runs of a set were trained on.

    Parameters
    ----------
    params : iterable of dict
        Parameters of the runs. Their "data" holds n_frames.

    Returns
    -------
    list of int
        The range that every network of the set has seen.

    Raises
    ------
    ValueError
        If a run does not tell the lengths of its tracks, or the runs have none in common.
    """
    ranges = [p["data"].get("n_frames") for p in params]
    if None in ranges:
        raise ValueError("a run does not say how long the tracks were that it was trained on")
    lengths = [max(low for low, _ in ranges), min(high for _, high in ranges)]
    if lengths[0] > lengths[1]:
        raise ValueError(f"the runs were trained on tracks of different lengths ({ranges}), they do not make one set")
    return lengths


def main(arguments: list[str] | None = None) -> int:
    """Write the set; returns 0, or 2 with one sentence if the runs do not make a set."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders that train.py wrote")
    parser.add_argument(
        "--name", required=True, help="name of a folder in weights of this directory, or a path with a slash (required)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the set of weights that is there")
    args = parser.parse_args(arguments)
    try:
        folder = new_weights_folder(args.name, args.overwrite)
        ship(args.runs, folder)
    except (OSError, ValueError) as error:
        print(f"ship.py: {error}", file=sys.stderr)
        return 2
    print(f"weights of {', '.join(map(str, args.runs))} in {folder}: infer.py --weights {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
