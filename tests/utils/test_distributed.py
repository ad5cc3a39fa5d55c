"""Processes that train together do what one does on the sum of their batches, and stop and resume together."""

import csv
import os
import signal
import socket
import subprocess
import sys
from itertools import count, islice

import pytest
import torch
from helpers import ROOT, fit_tracks
from safetensors.torch import load_file

from main.utils import distributed
from simulations.stream import TrackStream, _concatenate

BATCH, CHUNK = 16, 64
TINY = {"hidden": 8, "layers": "1,1,1", "dropout": 0.0, "steps": 14, "val_every": 1, "schedule": "trapezoid"}


def stream(rank=0, world=1):
    made = TrackStream("broad", BATCH, "cpu", seed=0, chunk=CHUNK)
    made.split(rank, world, distributed.fewest)
    return made


def summed_batches(world=2, batches_of=stream):
    """What `world` processes train on, a step of all of them as one batch."""
    shares = [batches_of(rank, world) for rank in range(world)]
    for chunk in count(0, world):
        made = [share._batches(chunk + share.rank) for share in shares]
        n = min(len(m) for m in made)
        ordered = [share._ordered(m, n, chunk) for share, m in zip(shares, made, strict=True)]
        for parts in zip(*ordered, strict=True):
            yield [part() for part in parts]


def losses_of(run):
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    return [{n: float(v) for n, v in r.items() if n.startswith("train_")} for r in rows]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Run folder of `torchrun` with two processes."""
    run = tmp_path_factory.mktemp("torchrun") / "run"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--",
        "main/train.py",
        "--prior",
        "broad",
        "--batch",
        str(BATCH),
        "--chunk",
        str(CHUNK),
        "--hidden",
        "8",
        "--layers",
        "1,1,1",
        "--dropout",
        "0",
        "--steps",
        "14",
        "--val-every",
        "1",
        "--val-batches",
        "1",
        "--schedule",
        "trapezoid",
        "--device",
        "cpu",
        "--run",
        str(run),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder") == 1
    return run


def test_two_processes_learn_like_one_on_the_summed_batch(two_processes, tmp_path):
    batches = (_concatenate(parts) for parts in summed_batches())
    fit_tracks(batches, [], TINY, tmp_path)
    together, alone = losses_of(two_processes), losses_of(tmp_path)
    assert "val_accuracy" in (two_processes / "metrics.csv").read_text()  # rank 0 validates, the other waits
    assert len(together) == len(alone) == 14
    for a, b in zip(together, alone, strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_one_process_writes_and_another_number_may_resume(two_processes, tmp_path):
    assert len(list(two_processes.glob("events*"))) == 1
    checkpoint = torch.load(two_processes / "last.pt", weights_only=True)
    net = fit_tracks(stream(), [], TINY | dict(steps=15), two_processes, resume=True)
    names = set(net.state_dict())
    assert set(checkpoint["net"]) == names == set(load_file(two_processes / "best.safetensors"))
    assert checkpoint["step"] == 14 and len(losses_of(two_processes)) == 15
    assert torch.load(two_processes / "last.pt", weights_only=True)["stream"]["position"][0] >= 2


def scenarios(rank, port, folder):
    """What each of two processes does: a whole run; one that rank 1 is asked to stop, resumed; one with a clock."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.join("cpu")
    options = TINY | dict(dropout=0.3, steps=8)
    fit_tracks(stream(rank, 2), [], options, folder / "whole")

    class Interrupted(TrackStream):
        def __iter__(self):
            for i, batch in enumerate(super().__iter__()):
                if i == 4 and rank == 1:
                    signal.raise_signal(signal.SIGTERM)
                yield batch

    interrupted = stream(rank, 2)
    interrupted.__class__ = Interrupted
    fit_tracks(interrupted, [], options, folder / "parts")
    (folder / f"stopped_{rank}").write_text(str(interrupted.position))
    torch.distributed.barrier()  # rank 0 has written last.pt
    fit_tracks(stream(rank, 2), [], options, folder / "parts", resume=True)
    minutes = 1e-5 if rank == 0 else 0.0  # the clock of rank 0 is up first
    fit_tracks(stream(rank, 2), [], options | dict(minutes=minutes, schedule="plateau"), folder / "clock")
    fit_tracks(stream(rank, 2), [], options | dict(steps=10), folder / "alone", resume=True)
    distributed.leave()


def test_processes_stop_together_and_resume_exactly(tmp_path):
    fit_tracks(stream(), [], TINY | dict(dropout=0.3, steps=8), tmp_path / "alone")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(scenarios, (port, tmp_path), nprocs=2)
    whole, parts, clock, alone = (
        torch.load(tmp_path / n / "last.pt", weights_only=True) for n in ("whole", "parts", "clock", "alone")
    )
    positions = [(tmp_path / f"stopped_{rank}").read_text() for rank in (0, 1)]
    assert positions[0] == positions[1] == "(0, 5)"
    assert all(torch.equal(v, parts["net"][n]) for n, v in whole["net"].items())
    assert torch.equal(whole["rng"], parts["rng"]) and whole["stream"] == parts["stream"]
    first, second = whole["rng"].view(2, -1)
    assert not torch.equal(first, second)  # each has dropout of its own
    assert clock["step"] < 8 and alone["step"] == 10


def test_shares_are_distinct_alike_in_length_and_equal_in_number():
    def longer(rank, world):
        made = TrackStream("broad", 32, "cpu", seed=1, chunk=512)
        made.split(rank, world)
        return made

    steps = list(islice(summed_batches(batches_of=longer), 20))
    assert all(len(a["xy"]) == len(b["xy"]) == 16 for a, b in steps)
    starts = torch.cat([part["xy"][:, 1, 0] for parts in steps for part in parts])
    assert len(starts.unique()) == len(starts)
    mean = torch.tensor([[part["length"].float().mean() for part in parts] for parts in steps])
    assert torch.corrcoef(mean.T)[0, 1] > 0.8  # each in its own order: .15 to .27
    assert stream().settings == stream(1, 2).settings  # one may resume the run of another number of processes
    with pytest.raises(ValueError, match="16 tracks cannot be shared out equally to 3"):
        stream(0, 3)
