"""Speed table of the main steps, printed and written to runs/bench.json: `python misc/bench.py`.

Tracks of 200 frames; the numbers depend on the machine and on what else runs there. Keys are stated in PARTS.
"""

import argparse
import json
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch

from main.models import build
from main.utils.changepoints import segment_many
from main.utils.features import N_FEATURES, features
from main.utils.inference import Predictor
from simulations.andi import seeded, simulate_world
from simulations.batched import simulate_batched
from simulations.parameters import MODELS, sample_worlds

FRAMES = 200
OUT = Path(__file__).parents[1] / "runs" / "bench.json"


def rate(work, seconds: float = 4.0) -> float:
    """Things per second of `work`, which does some and returns how many; the first call is not timed."""
    work()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        done += work()
    return done / elapsed


def on_one_thread(part):
    """Run a part with one torch thread: its number is per core."""

    def limited():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return part()
        finally:
            torch.set_num_threads(threads)

    return limited


@cache
def simulator_rates() -> dict[str, tuple[float, float]]:
    """Tracks/s of the batched engine and of andi_datasets by model, default parameters of the library."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)

    def batched(model):
        worlds = sample_worlds("andi2", model, 64, rng)
        return len(simulate_batched(worlds, generator)["length"])

    def reference(model):
        return len(simulate_world(sample_worlds("andi2", model, 1, rng)))

    with seeded(np.random.SeedSequence(0)):
        return {m: (rate(lambda m=m: batched(m), 2), rate(lambda m=m: reference(m), 2)) for m in MODELS}


def seconds_for_all_models(engine: int) -> float:
    """Seconds for one track of each model, by the batched engine (0) or by andi_datasets (1)."""
    return sum(1 / rates[engine] for rates in simulator_rates().values())


def simulate_batched_tracks_per_s() -> float:
    """Batched engine, equal numbers of the five models."""
    return len(MODELS) / seconds_for_all_models(0)


def simulate_andi_tracks_per_s() -> float:
    """andi_datasets, equal numbers of the five models."""
    return len(MODELS) / seconds_for_all_models(1)


def simulate_batched_over_andi() -> float:
    """How many times faster the batched engine is, equal numbers of each model."""
    return seconds_for_all_models(1) / seconds_for_all_models(0)


def brownian_tracks(n: int) -> np.ndarray:
    """Seeded Brownian tracks (n, 200, 2) px with K = 1 px^2/frame."""
    return np.cumsum(np.random.default_rng(0).normal(0, np.sqrt(2), (n, FRAMES, 2)), axis=1)


def train_tracks_per_s(batch: int = 32) -> float:
    """Features, forward, backward and step of one 512k-parameter network, batches of 32, all cores."""
    net = build({"body": "lstm", "target": "alpha", "in_features": N_FEATURES["default"]})
    optimiser = torch.optim.AdamW(net.parameters())
    xy = torch.as_tensor(brownian_tracks(batch), dtype=torch.float32)
    length = torch.full((batch,), FRAMES)

    def step():
        feats, _ = features(xy, length)
        loss = (net(feats, length)["alpha"] - 1).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return batch

    return rate(step)


@cache
def untrained_predictor() -> Predictor:
    """The three networks of the default architecture with random weights: as fast as trained ones."""
    torch.manual_seed(0)
    targets = ("k", "alpha", "state")
    config = {"body": "lstm", "in_features": N_FEATURES["default"]}
    return Predictor({t: build(config | {"target": t}) for t in targets}, {"features": "default"})


def infer_tracks_per_s() -> float:
    """Three networks and segmentation, all cores."""
    tracks, predictor = list(brownian_tracks(128)), untrained_predictor()
    return rate(lambda: len(segment_many(predictor.predict(tracks), {})))


def segment_tracks_per_s() -> float:
    """Changepoints and segment values from predictions, one core."""
    predictions = untrained_predictor().predict(list(brownian_tracks(128)))
    for i, prediction in enumerate(predictions):  # a step in K somewhere, so that there is something to find
        prediction.log10_k[20 + i :] += 1.0
    return rate(lambda: len(segment_many(predictions, {})))


PARTS = {
    "simulate_andi_tracks_per_s": on_one_thread(simulate_andi_tracks_per_s),
    "simulate_batched_tracks_per_s": on_one_thread(simulate_batched_tracks_per_s),
    "simulate_batched_over_andi": on_one_thread(simulate_batched_over_andi),
    "train_tracks_per_s": train_tracks_per_s,
    "segment_tracks_per_s": on_one_thread(segment_tracks_per_s),
    "infer_tracks_per_s": infer_tracks_per_s,
}


def main(arguments=None) -> None:
    """Measure the named parts (all by default), print the table and write it."""
    parser = argparse.ArgumentParser(description="Speed of the main steps.")
    parser.add_argument("parts", nargs="*", help="some of: " + ", ".join(PARTS))
    names = parser.parse_args(arguments).parts or list(PARTS)
    unknown = set(names) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    results = {}
    for name in names:
        results[name] = round(PARTS[name](), 2)
        print(f"{name:32s} {results[name]:12,.1f}", flush=True)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(results, indent=2) + "\n")
    print(f"{torch.get_num_threads()} threads; written to {OUT}")


if __name__ == "__main__":
    main()
