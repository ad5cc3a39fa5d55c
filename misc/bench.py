"""Measure the speed of the main steps; prints a table and writes runs/bench.json.

    python misc/bench.py                                       # all rows, as `make bench` does
    python misc/bench.py train_tracks_per_s infer_tracks_per_s

Tracks have 200 frames. The numbers depend on the machine and on what else runs there. A row with "over" in its
name is a ratio of two speeds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from main.models import build
from main.tracks.analysis import analyse
from main.tracks.features import N_FEATURES, features
from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import Predictor
from main.tracks.learning.task import TrackOptions, TrackTask
from main.tracks.samples.decode import MAX_FIT_TRACKS, decode_with_mixture
from main.tracks.samples.fit import fit_sample
from main.utils.training import Options, in_precision, update
from main.utils.weights import load_weights
from simulations.andi import seeded, simulate_world
from simulations.batched import simulate_batched
from simulations.experiments import EXPERIMENTS
from simulations.parameters import MODELS, SIGMA_PX, sample_worlds
from simulations.stream import TrackStream

FRAMES = 200
BATCHED_WORLDS = 256  # of 50 particles, simulated at once
OUT = Path(__file__).parents[1] / "runs" / "bench.json"
FILES = {  # of tracks for infer.py: (what the file holds, tracks, points of each, weights)
    "1m_points": ("file of 1 million points", 5000, FRAMES, "fast"),
    "10m_points": ("file of 10 million points", 50_000, FRAMES, "fast"),
    "two_point_tracks": ("300,000 tracks of two points", 300_000, 2, "default"),
    "long_track": ("one track of 1 million points", 1, 1_000_000, "default"),
}
# A process between: the peak memory that Linux counts for a child begins with that of the process that started it.
IN_CHILD = """import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
status, usage = os.wait4(child.pid, 0)[1:]
print(status, usage.ru_maxrss)"""


def measure_rate(work, seconds: float = 4.0) -> float:
    """Measure how many items per second `work` does; each call returns its number of items, the first is not timed."""
    work()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        done += work()
    return done / elapsed


def on_one_thread(part):
    """Make a part run with one torch thread: its number is per core."""

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
    """Measure tracks/s of the batched engine and of andi_datasets for each model, prior `andi2`."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)

    def batched(model):
        worlds = sample_worlds("andi2", model, BATCHED_WORLDS, rng)
        return len(simulate_batched(worlds, generator)["length"])

    def reference(model):
        return len(simulate_world(sample_worlds("andi2", model, 1, rng)))

    with seeded(np.random.SeedSequence(0)):
        return {m: (measure_rate(lambda m=m: batched(m), 2), measure_rate(lambda m=m: reference(m), 2)) for m in MODELS}


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
    """Speed of the batched engine over that of andi_datasets, equal numbers of the five models."""
    return seconds_for_all_models(1) / seconds_for_all_models(0)


def simulate_brownian_tracks(n: int, frames: int = FRAMES) -> np.ndarray:
    """Simulate Brownian tracks (n, frames, 2), px, with K = 1 px^2/frame; the same ones at each call."""
    return np.cumsum(np.random.default_rng(0).normal(0, np.sqrt(2), (n, frames, 2)), axis=1)


def make_table(tracks: np.ndarray) -> pd.DataFrame:
    """Make the track table of tracks (n, frames, 2)."""
    number, frame = (part.ravel() for part in np.indices(tracks.shape[:2]))
    x, y = tracks.reshape(-1, 2).T
    return pd.DataFrame({"track_id": number, "frame": frame, "x": x, "y": y})


def make_training(body="lstm", bf16=False) -> tuple:
    """Make the task, the network in its precision, the network and its optimiser, as `train.py` does."""
    task, options = TrackTask(TrackOptions(body=body)), Options()
    net = task.network()
    return task, in_precision(net, "cpu", bf16), net, torch.optim.AdamW(net.parameters(), lr=options.lr)


def train_step(task, model, net, optimizer, batch: dict) -> int:
    """Do one step of training; returns its number of tracks."""
    update(optimizer, task.losses(model, batch)["loss"], task.parameter_groups(net), Options.clip)
    return len(batch["length"])


def train_tracks_per_s(body="lstm", bf16=False, batch=64) -> float:
    """Tracks/s of training one network on the stream; simulation, in another thread, is included."""
    stream, parts = iter(TrackStream(["broad", "challenge"], batch, "cpu", 0, 4096)), make_training(body, bf16)
    found = measure_rate(lambda: train_step(*parts, next(stream)), seconds=20)
    stream.close()
    return found


def make_batches(sort: bool = True) -> list[dict]:
    """Simulate batches of 64 tracks, of similar length (sorted) or of any length (in random order)."""
    stream = TrackStream(["broad", "challenge"], 64, "cpu", 0, 2048)
    tracks = stream.simulate_chunk(0)
    order = tracks["length"].argsort() if sort else torch.randperm(len(tracks["length"]))
    groups = order[: 64 * 24].view(-1, 64)
    return [
        {n: v[g] if v.dim() == 1 else v[g, : int(tracks["length"][g].max())] for n, v in tracks.items()} for g in groups
    ]


def seconds_per_track(batches: list[dict], bf16=False, packed=False) -> float:
    """Seconds of training per track of the lstm body, without simulation."""
    task, model, net, optimizer = make_training(bf16=bf16)
    if packed:
        for block in net.body.blocks:
            block.layers = torch.nn.ModuleList(PackedBiLSTM(layer) for layer in block.layers)
    return 1 / measure_rate(lambda: sum(train_step(task, model, net, optimizer, b) for b in batches[::6]), seconds=8)


class PackedBiLSTM(torch.nn.Module):
    """One bidirectional LSTM on packed sequences, to compare with `main.models.layers.BiLSTM`."""

    def __init__(self, layer):
        super().__init__()
        ahead = layer.ahead
        self.lstm = torch.nn.LSTM(ahead.input_size, ahead.hidden_size, batch_first=True, bidirectional=True)

    def forward(self, x, length):
        """Outputs (B, T, 2 H) of x (B, T, F) with `length` (B,) frames."""
        packed = pack_padded_sequence(x, length.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]


def train_bf16_over_fp32() -> float:
    """Speed with bfloat16 autocast over that with float32, on the CPU."""
    return seconds_per_track(make_batches()) / seconds_per_track(make_batches(), bf16=True)


def train_one_thread_over_all() -> float:
    """Speed of one thread over that of one thread per core, bf16."""
    return on_one_thread(lambda: train_tracks_per_s(bf16=True))() / train_tracks_per_s(bf16=True)


def train_sorted_over_mixed() -> float:
    """Speed with batches of similar length over that with batches of any length."""
    return seconds_per_track(make_batches(sort=False)) / seconds_per_track(make_batches())


def train_flipped_over_packed() -> float:
    """Speed of two LSTMs, one of which reads the flipped track, over that of packed sequences."""
    return seconds_per_track(make_batches(), packed=True) / seconds_per_track(make_batches())


@cache
def train_shares() -> dict[str, float]:
    """Measure seconds per track of simulation, features, network (forward, backward) and optimiser; lstm, bf16."""
    stream = TrackStream(["broad", "challenge"], 64, "cpu", 0, 4096)
    parts, batches = make_training(bf16=True), make_batches()
    train_step(*parts, batches[0])  # the optimiser needs gradients
    chunks, optimizer = iter(range(10**6)), parts[-1]
    seconds = {
        "simulation": 1 / measure_rate(lambda: len(stream.simulate_chunk(next(chunks))["length"])),
        "features": 1 / measure_rate(lambda: sum(len(features(b["xy"], b["length"], b["sigma"])[0]) for b in batches)),
        "optimiser": 1 / measure_rate(lambda: [optimizer.step() for _ in range(10)] and 640),
    }
    whole = 1 / measure_rate(lambda: sum(train_step(*parts, b) for b in batches[::6]), seconds=8)
    return seconds | {"network": whole - seconds["features"] - seconds["optimiser"]}


def train_share(name: str) -> float:
    """Percentage of the training time that one part takes."""
    return 100 * train_shares()[name] / sum(train_shares().values())


@cache
def untrained_predictor() -> Predictor:
    """Make three networks, one for each target, with random weights; they are as fast as trained ones."""
    torch.manual_seed(0)
    targets = ("k", "alpha", "state")
    config = {"body": "lstm", "in_features": N_FEATURES["default"]}
    return Predictor({t: build(config | {"target": t}) for t in targets}, {"features": "default"})


def infer_tracks_per_s() -> float:
    """Tracks/s of three networks and segmentation, all cores."""
    tracks, predictor = list(simulate_brownian_tracks(128)), untrained_predictor()
    return measure_rate(lambda: len(segment_many(predictor.predict(tracks), {})))


def infer_onnx_over_torch(weights="default", rounds=15) -> float:
    """Speed of shipped networks in ONNX Runtime over that in torch, all cores; features included.

    Both predict in turns, so that another load of the machine slows both; the result is the median ratio.
    """
    from export_onnx import OnnxNet, to_onnx  # the other parts need no onnx

    nets, config = load_weights(weights)
    exported = {name: OnnxNet(to_onnx(net)) for name, net in nets.items()}
    tracks, ratios = list(simulate_brownian_tracks(256)), []
    predictors = Predictor(nets, config), Predictor(exported, config)
    for _ in range(rounds + 1):
        times = [time.perf_counter()]
        for predictor in predictors:
            predictor.predict(tracks)
            times.append(time.perf_counter())
        ratios.append((times[1] - times[0]) / (times[2] - times[1]))
    return float(np.median(ratios[1:]))


def analyse_tracks_per_s(weights: str) -> float:
    """Tracks/s from a table of 512 tracks to the result tables with shipped weights, all cores."""
    table = make_table(simulate_brownian_tracks(512))
    return measure_rate(lambda: len(analyse(table, weights=weights).tracks))


def segment_tracks_per_s() -> float:
    """Tracks/s of changepoints and segment values from predictions, one core."""
    predictions = untrained_predictor().predict(list(simulate_brownian_tracks(128)))
    for i, prediction in enumerate(predictions):  # one changepoint in K in each track
        prediction.log10_k[20 + i :] += 1.0
    return measure_rate(lambda: len(segment_many(predictions, {})))


@cache
def make_sample() -> tuple:
    """Make 600 tracks of one benchmark experiment with predictions: the arguments of `decode_with_mixture`."""
    world = replace(EXPERIMENTS[6], n_particles=1200, n_frames=FRAMES)
    data = simulate_batched(world, torch.Generator().manual_seed(0), min_frames=FRAMES)
    tracks = list(data["xy"][data["length"] == FRAMES][:600].double().numpy())
    nets, config = load_weights("fast")
    preds = Predictor(nets, config).predict(tracks, SIGMA_PX)
    single, sigma = segment_many(preds, config), np.full(len(tracks), SIGMA_PX)
    return tracks, preds, sigma, fit_sample(*(v[:MAX_FIT_TRACKS] for v in (tracks, sigma, single, preds))), single


def sample_fit_seconds() -> float:
    """Seconds of fitting the components of a sample, all cores."""
    tracks, preds, sigma, _, single = make_sample()
    start = time.perf_counter()
    fit_sample(*(v[:MAX_FIT_TRACKS] for v in (tracks, sigma, single, preds)))
    return time.perf_counter() - start


def sample_decode_tracks_per_s() -> float:
    """Tracks/s of decoding a sample with given components, all cores."""
    return measure_rate(lambda: len(decode_with_mixture(*make_sample())[0]))


@cache
def run_infer(file: str) -> tuple[float, float]:
    """Measure peak memory (GiB) and seconds of `infer.py` on a CSV file of Brownian tracks, see `FILES`."""
    _, *shape, weights = FILES[file]
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "tracks.csv"), Path(folder, "out")
        make_table(simulate_brownian_tracks(*shape).round(4)).to_csv(path, index=False)
        infer = Path(__file__).parents[1] / "main" / "infer.py"
        command = [infer, path, "--out", out, "--weights", weights]
        started = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, "-c", IN_CHILD, sys.executable, *command], check=True, capture_output=True
        )
        seconds, (status, kib) = time.perf_counter() - started, map(int, ran.stdout.split())
    if status:
        raise RuntimeError(f"infer.py ended with status {status}: {ran.stderr.decode()}")
    return kib / 2**20, seconds


PARTS = {  # row: (what its number is, how it is measured)
    "simulate_andi_tracks_per_s": ("tracks/s that andi_datasets simulates", on_one_thread(simulate_andi_tracks_per_s)),
    "simulate_batched_tracks_per_s": (
        "tracks/s that the batched simulator makes of the same models",
        on_one_thread(simulate_batched_tracks_per_s),
    ),
    "simulate_batched_over_andi": ("ratio of these two speeds", on_one_thread(simulate_batched_over_andi)),
    "train_tracks_per_s": (
        "tracks/s of training the lstm body, simulation included",
        on_one_thread(train_tracks_per_s),
    ),
    "train_bf16_tracks_per_s": (
        "tracks/s of training the lstm body in bfloat16",
        on_one_thread(lambda: train_tracks_per_s(bf16=True)),
    ),
    "train_conv_bilstm_bf16_tracks_per_s": (
        "tracks/s of training the conv_bilstm body in bfloat16",
        on_one_thread(lambda: train_tracks_per_s("conv_bilstm", bf16=True)),
    ),
    "train_one_thread_over_all": ("speed of training with one thread over that with all", train_one_thread_over_all),
    "train_bf16_over_fp32": ("speed of training in bfloat16 over that in float32", on_one_thread(train_bf16_over_fp32)),
    "train_sorted_over_mixed": (
        "speed of training on batches of similar lengths over that on batches of any lengths",
        on_one_thread(train_sorted_over_mixed),
    ),
    "train_flipped_over_packed": (
        "speed of training with two one-directional LSTMs over that with packed sequences",
        on_one_thread(train_flipped_over_packed),
    ),
    **{
        f"train_percent_{n}": (f"% of the training time: {n}", on_one_thread(lambda n=n: train_share(n)))
        for n in ("simulation", "features", "network", "optimiser")
    },
    "segment_tracks_per_s": (
        "tracks/s from predictions to segments, one core",
        on_one_thread(segment_tracks_per_s),
    ),
    "infer_tracks_per_s": ("tracks/s through three networks to segments, all cores", infer_tracks_per_s),
    "infer_onnx_over_torch": ("speed of prediction in ONNX Runtime over that in torch", infer_onnx_over_torch),
    "analyse_default_tracks_per_s": (
        "tracks/s from a table to the results, weights default",
        lambda: analyse_tracks_per_s("default"),
    ),
    "analyse_fast_tracks_per_s": (
        "tracks/s from a table to the results, weights fast",
        lambda: analyse_tracks_per_s("fast"),
    ),
    "sample_fit_seconds": ("seconds to fit the components of a sample, to 80 tracks, all cores", sample_fit_seconds),
    "sample_decode_tracks_per_s": (
        "tracks/s of decoding a sample with given components, all cores",
        sample_decode_tracks_per_s,
    ),
    **{
        f"infer_{file}_{unit}": (f"{what} of infer.py, {FILES[file][0]}", lambda file=file, i=i: run_infer(file)[i])
        for file in FILES
        for i, (unit, what) in enumerate((("peak_gib", "peak memory (GiB)"), ("s", "seconds")))
    },
}


def main(arguments=None) -> None:
    """Measure the named rows, print the table and write it."""
    width = max(map(len, PARTS))
    rows = "\n".join(f"  {name:{width}s}  {meaning}" for name, (meaning, _) in PARTS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\nRows:\n{rows}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="rows of the list above to measure (default: all)")
    names = parser.parse_args(arguments).parts or list(PARTS)
    unknown = set(names) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    results = {}
    for name in names:
        meaning, measure = PARTS[name]
        results[name] = round(measure(), 2)
        print(f"{name:{width}s} {results[name]:12,.2f}  {meaning}", flush=True)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(results, indent=2) + "\n")
    print(f"{torch.get_num_threads()} threads; written to {OUT}")


if __name__ == "__main__":
    main()
