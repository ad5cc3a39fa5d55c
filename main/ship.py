"""Turn training runs into a set of weights that `infer.py` can load.

    python main/ship.py --name default runs/k runs/alpha runs/state
    python main/ship.py --name runs/mine/weights runs/mine

The last step of each run is taken. `benchmark.py --fit-penalty` then fits the segmentation and `calibrate.py` the
intervals. The card (README.md in the folder) is written by hand from what `benchmark.py` prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from main.models import build
from main.utils.weights import WEIGHTS_DIR, read_config, save_weights, weights_folder
from simulations.brownian import FRAMES as BROWNIAN_FRAMES
from simulations.parameters import PRIORS
from simulations.worlds import FRAMES, MIN_FRAMES


def ship(runs: list[Path], folder: Path) -> dict:
    """Write the networks of some runs as one set of weights.

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
        If the runs do not give K, or K, alpha and state, once each; differ in their features; or were trained on tracks
        of lengths that do not overlap.
    """
    params = {run: json.loads((run / "params.json").read_text()) for run in runs}
    targets = sorted(p["target"] for p in params.values())
    if targets not in (["combined"], ["alpha", "k", "state"], ["k"]):
        raise ValueError(
            f"runs of {', '.join(targets)}: expected one combined run, one each of k, alpha, state, or "
            "one of k for D(t) of Brownian motion"
        )
    kinds = {p["features"] for p in params.values()}
    if len(kinds) > 1:
        raise ValueError(f"runs with different features ({', '.join(sorted(kinds))}) do not make one set")
    nets, training = {}, {}
    for run, options in params.items():
        checkpoint = torch.load(run / "last.pt", weights_only=True, map_location="cpu")
        net = build(options["net"])
        net.load_state_dict(checkpoint["net"])
        nets[options["target"]] = net
        training[options["target"]] = {n: options.get(n) for n in ("lr", "schedule", "seed", "data")} | {
            "steps": checkpoint["step"],
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
        save_weights(folder, nets, source | {"nets": config["nets"]})
        return source
    for source in (folder, *(WEIGHTS_DIR / init for init in inits), *map(Path, inits)):
        if (source / "config.json").exists():
            config["segmentation"] = read_config(source).get("segmentation", {})
            break
    save_weights(folder, nets, config)
    return config


def trained_lengths(params) -> list[int]:
    """Fewest and most frames of the tracks that all runs of a set were trained on.

    Parameters
    ----------
    params : iterable of dict
        params.json of the runs. Their "data" holds n_frames, or, in runs made before version 0.2, priors alone.

    Returns
    -------
    list of int
        The range that every network of the set has seen.

    Raises
    ------
    ValueError
        If a run does not tell the lengths of its tracks, or the runs have none in common.
    """
    ranges = [p["data"].get("n_frames") or prior_lengths(p["data"].get("priors", ())) for p in params]
    lengths = [max(low for low, _ in ranges), min(high for _, high in ranges)]
    if lengths[0] > lengths[1]:
        raise ValueError(f"the runs were trained on tracks of different lengths ({ranges}), they do not make one set")
    return lengths


def prior_lengths(priors) -> list[int]:
    """Fewest and most frames of the tracks of some priors, given by name or as dictionaries of their fields."""
    if list(priors) == ["brownian"]:
        return list(BROWNIAN_FRAMES)
    if not priors:
        raise ValueError("params.json does not say how long the tracks were that the run was trained on")
    longest = [p["n_frames"] if isinstance(p, dict) else getattr(PRIORS[p], "n_frames", FRAMES) for p in priors]
    return [MIN_FRAMES, max(longest)]


def main(arguments: list[str] | None = None) -> int:
    """Write the set; returns 0, or 2 with one sentence if the runs do not make a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders that train.py wrote")
    parser.add_argument(
        "--name", required=True, help="name of a folder in main/models/weights, or a path with a slash (required)"
    )
    args = parser.parse_args(arguments)
    folder = Path(args.name) if "/" in args.name else WEIGHTS_DIR / args.name
    try:
        ship(args.runs, folder)
    except (OSError, ValueError) as error:
        print(f"ship.py: {error}", file=sys.stderr)
        return 2
    print(f"weights of {', '.join(map(str, args.runs))} in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
