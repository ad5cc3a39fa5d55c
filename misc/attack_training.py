"""Cases of training: run folders, checkpoints and weights with damaged bytes, bad training data."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch
from attack_cases import Case, Plan, infer, join, make_rows, write
from attack_folders import run_before
from attack_races import train_command

from simulations.dataset import TrackDataset

FAMILY = "training"
ROOT = Path(__file__).resolve().parents[1]
TRAPEZOID = ("--steps", "4", "--schedule", "trapezoid")
PARAMETERS = ("params.json", "params_given.json", "metrics.csv", "last.pt")
DATA = {  # name: (tensor, value of its 21st element)
    "NaN position": ("xy", float("nan")),
    "infinite position": ("xy", float("inf")),
    "position of 1e30": ("xy", 1e30),
    "negative K": ("k", -1.0),
    "NaN K": ("k", float("nan")),
    "infinite K": ("k", float("inf")),
    "alpha 5": ("alpha", 5.0),
    "negative alpha": ("alpha", -0.5),
    "NaN alpha": ("alpha", float("nan")),
    "state 99": ("state", 99),
    "state -1": ("state", -1),
    "negative sigma": ("sigma", -1.0),
    "infinite sigma": ("sigma", float("inf")),
    "model 99": ("model", 99),
}


def make_data(rng) -> dict:
    """Tensors of 30 labelled tracks of 25 frames."""
    n, length = 30, 25
    steps = rng.normal(0, 1, (n, length, 2))
    return {
        "xy": torch.tensor(np.cumsum(steps, axis=1).reshape(-1, 2), dtype=torch.float32),
        "k": torch.full((n * length,), 0.5),
        "alpha": torch.ones(n * length),
        "state": torch.full((n * length,), 2, dtype=torch.int8),
        "offsets": torch.arange(0, n * length + 1, length),
        "sigma": torch.full((n,), 0.1),
        "model": torch.zeros(n, dtype=torch.int8),
    }


def spoil_data(which, folder, rng):
    """Pickled training data with a value that cannot be."""
    (folder / "data").mkdir()
    for name in ("train", "validation"):
        tensors = make_data(rng)
        path = folder / "data" / f"{name}.pt"
        if name == "train" and which in DATA:
            column, value = DATA[which]
            tensors[column].view(-1)[21] = value
        TrackDataset(**tensors).save(path)
        if name == "train" and which not in DATA:
            data = path.read_bytes()
            at = int(rng.integers(len(data)))
            path.write_bytes({"cut": data[:at], "empty": b"", "text": b"text", "missing": data}.get(which, data))
            if which == "missing":
                path.unlink()
    if which == "missing validation":
        (folder / "data" / "validation.pt").unlink()
    plan = Plan(train_command("run", "--data", "data", "--steps", "2"), ("data", "train.pt"), out="run")
    plan.check = (lambda _: "") if which == "whole" else None
    plan.refusal = None if which == "whole" else plan.refusal
    return plan


def train_again(options, folder, rng):
    """A run folder that exists is never replaced by a mere second call."""
    run_before(train_command("run", *TRAPEZOID), folder)
    plan = Plan(train_command("run", "--steps", "4", "--seed", "9", *options), ("run",), out="run")
    if options:
        plan.check, plan.may_write = (lambda _: ""), ("run",)
    return plan


def keep_folder(name, options, folder, rng):
    """A folder with files of the user is no run folder."""
    (folder / "run").mkdir()
    (folder / "run" / name).write_text("mine")
    return Plan(train_command("run", "--steps", "2", *options), ("run",), out="run", check=lambda _: "")


def prolong(schedule, folder, rng):
    """--resume with more steps works, or is refused."""
    run_before(train_command("run", "--steps", "4", "--schedule", schedule), folder)
    command = train_command("run", "--steps", "8", "--schedule", schedule, "--resume")
    return Plan(command, ("run", "--steps", "--schedule"), out="run", check=partial(count_steps, 8), may_write=("run",))


def count_steps(n: int, folder) -> str:
    """Say whether the last checkpoint is of another step."""
    step = torch.load(folder / "run" / "last.pt", weights_only=True)["step"]
    return "" if step == n else f"stopped at step {step} of {n}"


def spoil_run(name, how, folder, rng):
    """--resume with damaged files of the run."""
    run_before(train_command("run", *TRAPEZOID), folder)
    path = folder / "run" / name
    spoil_bytes(path, how, rng)
    command = train_command("run", "--steps", "8", "--schedule", "trapezoid", "--resume")
    plan = Plan(command, ("run", name), out="run", may_write=("run",))
    if name != "last.pt":
        plan.check = partial(count_steps, 8)
    return plan


def spoil_bytes(path: Path, how: str, rng) -> None:
    """Flip, cut or empty a file."""
    data = bytearray(path.read_bytes())
    at = int(rng.integers(len(data)))
    if how.startswith("flip"):
        data[at] ^= 1 << int(rng.integers(8))
    elif how == "cut":
        del data[at:]
    elif how == "empty":
        data.clear()
    else:
        data = bytearray(b"text\n")
    path.write_bytes(data)


def spoil_weights(name, how, folder, rng):
    """Weights folders that are damaged: a checksum tells."""
    source = ROOT / "main" / "models" / "weights" / "fast"
    shutil.copytree(source, folder / "mine")
    (folder / "mine").chmod(0o755)
    path = folder / "mine" / name
    path.chmod(0o644)
    if how == "missing":
        path.unlink()
    else:
        spoil_bytes(path, how, rng)
    rows = make_rows(rng)
    plan = Plan(infer(write(folder, join(rows))), ("mine", "weights"))
    plan.command[plan.command.index("fast")] = "mine"
    if name == "config.json" and how.startswith("flip"):
        plan.check = lambda _: ""  # a number of the calibration may change
    return plan


def change_config(which, folder, rng):
    """Weights whose configuration holds other values than it must."""
    shutil.copytree(ROOT / "main" / "models" / "weights" / "fast", folder / "mine")
    path = folder / "mine" / "config.json"
    path.chmod(0o644)
    config = json.loads(path.read_text())
    if which == "a list":
        config = [config]
    elif which == "without nets":
        config.pop("nets")
    elif which == "nets of text":
        config["nets"] = "text"
    elif which == "hidden huge":
        config["nets"] = {name: net | {"hidden": 10**7} for name, net in config["nets"].items()}
    elif which == "body unknown":
        config["nets"] = {name: net | {"body": "x"} for name, net in config["nets"].items()}
    elif which == "features unknown":
        config["features"] = "x"
    elif which == "without sha256":
        config.pop("sha256", None)
    elif which == "sha256 of others":
        config["sha256"] = {name: "0" * 64 for name in config.get("sha256", {"a": 1})}
    elif which == "path above":
        config["nets"] = {"../../" + name: net for name, net in config["nets"].items()}
    path.write_text(json.dumps(config))
    plan = Plan(infer(write(folder, join(make_rows(rng)))), ("mine", "weights"))
    plan.command[plan.command.index("fast")] = "mine"
    return plan


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values, quick=False):
        text = ", ".join((build.__name__.replace("_", " "), *map(str, values)))
        cases.append(Case(FAMILY, text, partial(build, *values), quick=quick))

    for which in (*DATA, "cut", "empty", "text", "missing", "missing validation", "whole"):
        add(spoil_data, which)
    for options in ((), ("--overwrite",)):
        add(train_again, options)
    for name in ("notes.txt", "last.pt", "metrics.csv", "params.json", "best.safetensors", "params_given.json"):
        for options in ((), ("--overwrite",), ("--resume",)):
            add(keep_folder, name, options)
    for schedule in ("onecycle", "trapezoid", "plateau"):
        add(prolong, schedule)
    for name in PARAMETERS:
        for how in ("cut", "empty", "text", *(f"flip {i}" for i in range(20 if name == "last.pt" else 2))):
            add(spoil_run, name, how)
    nets = sorted(path.name for path in (ROOT / "main" / "models" / "weights" / "fast").glob("*.safetensors"))
    for name in (*nets[:2], "config.json"):
        for how in ("missing", "cut", "empty", "text", "flip 0", "flip 1", "flip 2", "flip 3"):
            add(spoil_weights, name, how, quick=True)
    for which in """a list;without nets;nets of text;hidden huge;body unknown;features unknown;without sha256
            sha256 of others;path above""".replace("\n", ";").split(";"):
        add(change_config, which.strip(), quick="huge" not in which)
    return cases
