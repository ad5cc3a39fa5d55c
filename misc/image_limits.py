"""How well D is read from image sequences: every method on the same simulated ones, in tables.

    python misc/image_limits.py --set wide --n 1000 --seed 41
    python misc/image_limits.py --set blur dim --weights runs/blur_net_weights --out runs/image_limits.md
    python misc/image_limits.py --set as_published

Errors are root mean squares of log10 D ("dex") with 90 % bootstrap intervals over sequences; coverage is the share of
90 % intervals that hold the truth. The set as_published is scored on the terms of the original method.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from main.images.estimators import (
    CLASSICAL,
    LADDER,
    POSTERIORS,
    estimate_all,
    find_windows,
    fit_through_origin,
    refit,
)
from main.images.features import make_features, measure_windows
from main.images.task import NORMAL_90, scale_images, true_log10_d
from main.models.images.networks import ORIGINALS
from main.utils.bootstrap import bootstrap_interval, resample_totals
from main.utils.files import write_atomically
from main.utils.weights import load_weights
from simulations.image_sets import FIELD_PX, LABEL_OF_PX, SETS, make_image_set

PHOTON_CLASSES = (50, 200, 700, 2000)  # edges, photons of a frame
MIN_CELL = 10  # sequences of a row
FIELD_EDGE_PX = FIELD_PX / 2
DESCRIPTIONS = {
    "msd_origin": "MSD, line through the origin (the original's)",
    "msd_line": "MSD, line through lags 1 to 4",
    "cve": "CVE",
    "mle": "MLE with blur",
    "path": "path posterior",
    "path_spread": "path + spread posterior",
    "path_shape": "path + shape within frames",
    "path_fitted": "path + fitted shape within frames",
    "known_positions": "known: mean positions",
    "known_scatter": "known: also scatter within frames",
    "known_subpositions": "known: ten positions a frame",
}


def score_set(name: str, n: int | None, seed: int | None, networks: dict) -> dict[str, np.ndarray]:
    """Estimate D of all sequences of a set by all methods, part by part.

    Parameters
    ----------
    name : str
        Key of `SETS`.
    n, seed : int, optional
    networks : dict
        Name to (network, its configuration), as `load_networks` returns.

    Returns
    -------
    dict
        truth and d, log10 D in px^2/frame and D in um^2/s, and photons of a frame, (N,); and by method (N, 2): log10 D
        and its standard error.
    """
    rows: dict[str, list] = {}
    for part in make_image_set(name, n, seed):
        told = find_windows(part)
        measured = measure_windows(told)
        found = estimate_all(part, measured)
        found |= {key: predict(net, config, told, measured, part) for key, (net, config) in networks.items()}
        found |= {"truth": true_log10_d(part), "d": part["d"], "photons": part["photons"].mean(1)}
        for key, value in found.items():
            rows.setdefault(key, []).append(value.numpy())
    return {key: np.concatenate(values) for key, values in rows.items()}


@torch.no_grad()
def predict(net, config: dict, told: dict, measured: dict, part: dict) -> torch.Tensor:
    """Log10 D, px^2/frame, and its standard error, (B, 2), from a network."""
    if config["body"] in ORIGINALS:
        out = net(scale_images(part["images"]))
    else:
        out = net(*make_features(told, measured).values())
        out = out + torch.stack([2 * told["psf_px"].log10(), torch.zeros(len(out))], dim=1)
    return torch.stack([out[:, 0], out[:, 1].exp()], dim=1)


def load_networks(names: list[str]) -> dict[str, tuple]:
    """Load networks that read D, by the name of their weights."""
    loaded = {}
    for name in names:
        nets, config = load_weights(name)
        if "d" not in nets or config["nets"]["d"].get("n_outputs", 2) != 2:
            raise ValueError(f"--weights {name}: holds no network that gives mean and standard error of log10 D")
        loaded[Path(name).name] = (nets["d"], config["nets"]["d"])
    return loaded


def make_cells(scores: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Rows of a table: all, decades of D, photon classes, and both together; name and rows of sequences."""
    decade = np.floor(np.log10(scores["d"]) + 1e-6).astype(int)
    group = np.clip(np.searchsorted(PHOTON_CLASSES, scores["photons"], "right") - 1, 0, len(PHOTON_CLASSES) - 2)
    decades = {f"D {10.0**k:g} to {10.0 ** (k + 1):g}": decade == k for k in np.unique(decade)}
    classes = {f"{PHOTON_CLASSES[i]} to {PHOTON_CLASSES[i + 1]} photons": group == i for i in np.unique(group)}
    cells = {"all": np.ones(len(decade), bool)} | decades | classes
    cells |= {f"{a}, {b}": x & y for a, x in decades.items() for b, y in classes.items()}
    distinct = {}
    for name, rows in cells.items():
        if rows.sum() >= MIN_CELL:
            distinct.setdefault(rows.tobytes(), (name, rows))
    return list(distinct.values())


def rmse_interval(miss: np.ndarray) -> tuple[float, float, float]:
    """Root mean square of errors (N,), and its 90 % bootstrap interval."""
    value = np.sqrt(np.mean(miss**2))
    resampled = np.sqrt(resample_totals(miss**2) / len(miss))
    return value, *bootstrap_interval(value, resampled, len(miss), "log")


def list_methods(scores: dict[str, np.ndarray]) -> list[str]:
    """Names of the methods in the order of the tables."""
    networks = [name for name in scores if name not in (*DESCRIPTIONS, "truth", "d", "photons")]
    return [*CLASSICAL, *POSTERIORS, *networks, *LADDER]


def tabulate(scores: dict[str, np.ndarray]) -> str:
    """Tabulate error, bias and coverage of every method over all, and error and coverage of every cell; Markdown."""
    methods = list_methods(scores)
    lines = ["| method | dex [90 % interval] | bias | coverage |", "|---|---|---|---|"]
    for name in methods:
        miss, error = scores[name][:, 0] - scores["truth"], scores[name][:, 1]
        low_high = "{:.3f} [{:.3f}, {:.3f}]".format(*rmse_interval(miss))
        cells = [DESCRIPTIONS.get(name, name), low_high, f"{miss.mean():+.3f}", describe_coverage(miss, error)]
        lines.append(f"| {' | '.join(cells)} |")
    cells = make_cells(scores)[1:]
    if cells:
        heads = ["sequences (D in um^2/s)", "n", *methods]
        lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for title, rows in cells:
            miss = {name: (scores[name][:, 0] - scores["truth"])[rows] for name in methods}
            values = ["{:.3f} [{:.3f}, {:.3f}]".format(*rmse_interval(miss[name])) for name in methods]
            lines.append(f"| {title} | {rows.sum():,} | {' | '.join(values)} |")
        heads = ["coverage of 90 % intervals", "n", *(name for name in methods if name not in CLASSICAL)]
        lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for title, rows in cells:
            shares = [describe_coverage(*((scores[m][rows].T) - [[1], [0]] * scores["truth"][rows])) for m in heads[2:]]
            lines.append(f"| {title} | {rows.sum():,} | {' | '.join(shares)} |")
    return "\n".join(lines)


def describe_coverage(miss: np.ndarray, error: np.ndarray) -> str:
    """Share of 90 % intervals that hold the truth, as text; empty for methods without intervals."""
    return "" if np.isnan(error).any() else f"{np.mean(np.abs(miss) < NORMAL_90 * error):.3f}"


def score_published(n: int | None, seed: int | None) -> str:
    """Score on the terms of the original method: mean squared error against its label, (1e3 nm^2/s)^2; Markdown.

    The label is the D that a line through the origin gives one track: all tracks have the same D.
    """
    names = ("our fit, line through the origin", "true frame means", "true frame means of frames in the field")
    found: dict[str, list] = {name: [] for name in (*names, "label", "inside")}
    for part in make_image_set("as_published", n, seed):
        told = find_windows(part)
        _, seen, position = refit(told, measure_windows(told))
        truth, label = part["position"].double().numpy(), part["label"].numpy()
        there = (np.abs(truth) < FIELD_EDGE_PX).all(-1)
        ours = fit_through_origin(position.double().numpy(), seen.numpy())
        means = fit_through_origin(truth, np.ones_like(there)), fit_through_origin(truth, there)
        values = [*(LABEL_OF_PX * d for d in (ours, *means)), label]
        whole = (np.abs(part["subpositions"].numpy()) < FIELD_EDGE_PX).all((1, 2, 3))
        for name, value in zip(found, [*values, whole], strict=True):
            found[name].append(value)
    values = {name: np.concatenate(value) for name, value in found.items()}
    label, inside = values["label"], values["inside"]
    values = {name: values[name] for name in names} | {"20 for all": np.full(len(label), 20.0)}
    lines = [
        "All tracks have one D; the label is the luck of a fit to each of them. Mean squared error against it, "
        "(1e3 nm^2/s)^2:",
        "",
        f"| method | in the field ({inside.sum()}) | all ({len(inside)}) |",
        "|---|---|---|",
    ]
    for name, value in values.items():
        square = (value - label) ** 2
        lines.append(f"| {name} | {square[inside].mean():.2f} | {square.mean():.2f} |")
    return "\n".join(lines)


def make_section(name: str, n: int | None, seed: int | None, networks: dict) -> str:
    """Make the Markdown section of one set."""
    chosen = SETS[name]
    seed = chosen.seed if seed is None else seed
    if name == "as_published":
        return f"## Set {name}, seed {seed}\n\n{score_published(n, seed)}"
    scores = score_set(name, n, seed, networks)
    return f"## Set {name}, seed {seed}: {len(scores['d']):,} sequences\n\n{tabulate(scores)}"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables of the sets, and write them to --out; 2 with one sentence if an option cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="+", default=["wide"], choices=list(SETS), help="Sets (default: wide).")
    parser.add_argument("--n", type=int, help="Sequences of each set (default: that of the set; by rule always 250).")
    parser.add_argument("--seed", type=int, help="Seed (default: that of the set).")
    parser.add_argument("--weights", nargs="+", default=[], help="Names or folders of weights of networks of images.")
    parser.add_argument("--out", type=Path, help="Markdown file to write the tables to (default: none).")
    args = parser.parse_args(arguments)
    started, sections = time.perf_counter(), []
    try:
        if args.n is not None and args.n < MIN_CELL:
            raise ValueError(f"--n {args.n}: expected {MIN_CELL} or more")
        if args.seed is not None and args.seed < 0:
            raise ValueError(f"--seed {args.seed}: expected 0 or more")
        networks = load_networks(args.weights)
        for name in args.set:
            sections.append(make_section(name, args.n, args.seed, networks))
            print(f"{sections[-1]}\n", flush=True)
        if args.out:
            text = "\n\n".join(sections) + "\n"
            write_atomically(args.out, lambda part: part.write_text(text, encoding="utf-8"))
    except (ValueError, OSError) as error:
        print(f"image_limits.py: {error}", file=sys.stderr)
        return 2
    print(f"{time.perf_counter() - started:.0f} s" + (f", written to {args.out}" if args.out else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
