"""Score weights on the prior of the original system, to compare with its published scores (Haidari and Kapanidis 2025).

    python misc/m3_scores.py --weights default --tracks 1000

Scores are frame-wise, as in the paper: mean absolute errors (L1) of alpha and of log10(K + 1) over all frames, with
K = alpha = 0 where a frame is predicted to be trapped, and the share of the frames of each state with the right state.
K spans 0.01 to 10^6 px^2/frame^alpha in a box of 230 px with reflecting walls. Above K = 10^4 a step crosses the whole
box and carries little information on K or alpha; therefore errors are also given by K. Each model has the same number
of tracks.
"""

import argparse
from itertools import pairwise

import numpy as np
import torch

from main.tracks.evaluation.errors import frame_scores
from main.tracks.inference.predictor import Predictor
from main.utils.weights import load_weights
from simulations.batched import simulate_batched
from simulations.parameters import MODELS, STATES, sample_worlds

SEED = 20_261_121
K_EDGES = (0.01, 1, 10, 100, 1e3, 1e4, 1e6)  # px^2/frame^alpha
ORIGINAL = {  # as published; states: share of their frames with the right state
    "L1 of alpha": 0.1104,
    "L1 of log10(K+1)": 0.0751,
    "trapped": 1.0,
    "confined": 0.91,
    "free": 0.82,
    "directed": 0.94,
}


def simulate_held_out(n_per_model: int) -> list[dict]:
    """Simulate `n_per_model` labelled tracks of each model.

    Returns
    -------
    list of dict
        xy (T, 2), px; k (T,), px^2/frame^alpha; alpha, state (T,); sigma, px. T is at most 200 frames.
    """
    rng, generator = np.random.default_rng(SEED), torch.Generator().manual_seed(SEED)
    tracks = []
    for model in MODELS:
        model_tracks, n_particles = [], sample_worlds("m3", model, 1, rng).n_particles
        spread = -(-n_per_model // min(n_particles, 10))  # many worlds, at most 10 tracks of each
        for _ in range(4 if model == "multi_state" else 1):  # each draws its own number of states
            worlds = sample_worlds("m3", model, -(-spread // (4 if model == "multi_state" else 1)), rng)
            batch = simulate_batched(worlds, generator)
            chosen = np.random.default_rng(SEED).permutation(len(batch["length"]))[:n_per_model]
            model_tracks += [
                {n: batch[n][i, : batch["length"][i]].double().numpy() for n in ("xy", "k", "alpha", "state")}
                | {"sigma": float(batch["sigma"][i])}
                for i in chosen
            ]
        tracks += model_tracks[:n_per_model]
    return tracks


def compute_scores(predictor: Predictor, tracks: list[dict]) -> tuple[dict[str, float], np.ndarray, list[str]]:
    """Compute the scores of `ORIGINAL`, the confusion of states (true, predicted) in frames, and errors by true K."""
    predictions = predictor.predict([t["xy"] for t in tracks], [t["sigma"] for t in tracks], progress=True)
    true = {n: np.concatenate([t[n] for t in tracks]) for n in ("k", "alpha")}
    moving = np.concatenate([p.state_probs.argmax(1) for p in predictions]) != 0
    alpha = np.where(moving, np.concatenate([p.alpha for p in predictions]), 0)
    k = np.where(moving, 10.0 ** np.concatenate([p.log10_k for p in predictions]), 0)
    truths = [t | {"state": t["state"].astype(int)} for t in tracks]
    confusion = frame_scores(truths, predictions)["confusion"]
    right = confusion.diagonal() / confusion.sum(1)
    errors = np.abs(alpha - true["alpha"]), np.abs(np.log10(k + 1) - np.log10(true["k"] + 1))
    by_k = []
    for low, high in pairwise(K_EDGES):
        here = (true["k"] >= low) & (true["k"] < high)
        means = [e[here].mean() for e in errors]
        by_k.append(
            f"K {low:g} to {high:g}: {here.mean():.2f} of the frames, L1 of alpha {means[0]:.3f}, "
            f"of log10(K+1) {means[1]:.3f}"
        )
    return dict(zip(ORIGINAL, [*(e.mean() for e in errors), *right], strict=True)), confusion, by_k


def main(arguments=None) -> None:
    """Print the scores of each set of weights, its confusion of states and its errors by K."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights",
        nargs="+",
        default=["default"],
        metavar="NAME",
        help="shipped names or folders of the weights to score (default: default)",
    )
    parser.add_argument(
        "--tracks", type=int, default=1000, metavar="N", help="tracks to simulate of each model (default: %(default)s)"
    )
    args = parser.parse_args(arguments)
    tracks = simulate_held_out(args.tracks)
    rows = {"original, as published": (ORIGINAL, None, [])}
    rows |= {name: compute_scores(Predictor(*load_weights(name)), tracks) for name in args.weights}
    print(f"\n| weights | {' | '.join(ORIGINAL)} |\n|---|{'---|' * len(ORIGINAL)}")
    for name, (row, *_) in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in row.values()) + " |")
    for name, (_, confusion, by_k) in rows.items():
        if confusion is not None:
            share = (100 * confusion / confusion.sum(1, keepdims=True)).round().astype(int)
            print(f"\n{name}, % of frames (rows true: {', '.join(STATES)}; columns predicted)\n{share}")
            print("\n".join(by_k))


if __name__ == "__main__":
    main()
