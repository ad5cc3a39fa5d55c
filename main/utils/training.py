"""The training loop that all families of networks share: read `fit` from top to bottom.

The loop knows steps, learning rate, clipping, validation, clock, precision, seeds, resuming and several processes. What
is learnt it asks of a task (`Task`); `main.tracks.learning.task.TrackTask` is the one of tracks.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from tqdm import tqdm

from main.utils import distributed
from main.utils.config import check_options, option
from main.utils.runs import PoliteStop, RunFolder

SCHEDULES = ("onecycle", "trapezoid", "plateau")


@dataclass(frozen=True)
class Options:
    """How to train, whatever is learnt. Every field is also an option of `train.py`.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """

    steps: int = option(2000, "Number of steps, each on one batch.", within=(1, 10**9))
    lr: float = option(2e-3, "Highest learning rate of AdamW.", within=(1e-9, 10))
    weight_decay: float = option(1e-4, "Weight decay of AdamW.", within=(0, 10))
    schedule: str = option(
        "onecycle",
        "Learning rate over the steps. onecycle: up, then down to 0, cannot be prolonged; trapezoid: level, then down "
        "over the last quarter, and level again if it is resumed with more steps; plateau: down tenfold when the "
        "validation loss stalls.",
        SCHEDULES,
    )
    clip: float = option(1.0, "Largest norm of the gradient of each group of parameters.", within=(1e-9, 1e9))
    val_every: int = option(500, "Steps between validations.", within=(1, 10**9))
    minutes: float = option(0.0, "Stop cleanly after so many minutes; 0: never.", within=(0, 10**6))
    bf16: bool = option(False, "Run the network in bfloat16; losses and weights stay in float32.")
    seed: int = option(0, "Seed of the first weights, of dropout and of the training data.", within=(0, 2**32 - 1))

    def __post_init__(self):
        check_options(self)


class DivergedError(ValueError):
    """The loss or a weight is not a finite number any more."""


class Task(Protocol):
    """What `fit` asks of that which is learnt. A batch is a dictionary of tensors."""

    def network(self) -> torch.nn.Module:
        """Make the network to train, on the CPU; its first weights may draw from torch's global random numbers."""

    def losses(self, net, batch: dict) -> dict[str, torch.Tensor]:
        """Losses of one batch, scalar tensors by name; "loss" is the one that is minimised.

        `net` is called as the network is; it may run in bfloat16 or average gradients over processes.
        """

    def validate(self, net: torch.nn.Module, batches: list[dict]) -> dict[str, float]:
        """Figures over held-out batches by name; "loss" decides which weights are the best."""

    def parameter_groups(self, net: torch.nn.Module) -> list[list[torch.nn.Parameter]]:
        """Parameters whose gradients are clipped together; one list of all, unless some must not disturb others."""

    def settings(self) -> dict:
        """What defines the task, as plain values for params.json; a run is resumed only if they are equal."""


def fit(
    task: Task, train, val: list[dict], options: Options, run: Path, resume=False, device="cpu", overwrite=False
) -> torch.nn.Module:
    """Train one network until `options.steps`, the time limit or Ctrl-C.

    Parameters
    ----------
    task : Task
        Network, losses, validation, parameter groups and settings.
    train : iterable of batch dicts
        Endless, or a list, which is cycled through. Where it has `state_dict` and `settings`, these are saved with the
        run. Of processes that train together, each gives its share of every batch.
    val : list of batch dicts
        Held-out batches, scored every `val_every` steps and at the end; empty for none.
    options : Options
    run : path
        Run folder: params_given.json, params.json (as run), metrics.csv, TensorBoard events, last.pt,
        best.safetensors.
    resume : bool
        Continue from `run`/last.pt, exactly where it stopped.
    device : str
    overwrite : bool
        Replace the run that the folder holds.

    Returns
    -------
    torch.nn.Module
        With the weights of the last step; the best by validation loss are in best.safetensors.

    Raises
    ------
    ValueError
        If the folder holds a run and neither `resume` nor `overwrite` is set, or is in use; if a resumed run was
        started with other options, settings or data; or if training diverges (`DivergedError`).
    """
    folder, first = RunFolder(run), distributed.rank() == 0
    with folder.claim(resume, overwrite), PoliteStop(options.minutes) as stop, one_thread(device):
        net, optimizer, schedule = prepare(task, options, device)
        groups, parts = task.parameter_groups(net), {"net": net, "optimizer": optimizer, "schedule": schedule}
        given, state = describe_run(task, train, options), {"step": 0, "best": float("inf")}
        if resume:
            state = folder.restore(folder.read_resumable(given), parts, train)
            set_rate(optimizer, options, state["step"])
        if state["step"] == options.steps:
            say_done(folder, options)
            return net
        folder.open(given, {"device": str(device), "torch": torch.__version__}, resume)
        model, running, since = in_precision(distributed.wrap(net), device, options.bf16), {}, time.monotonic()
        with progress_bar(options.steps, state["step"], first) as bar:
            for batch in islice(cycle(train), options.steps - state["step"]):
                net.train()
                losses = task.losses(model, to_device(batch, device))
                update(optimizer, losses["loss"], groups, options.clip)
                if options.schedule != "plateau":
                    schedule.step()
                state["step"] += 1
                bar.update()
                for name, value in losses.items():
                    running.setdefault(name, []).append(value.detach())
                due = state["step"] % options.val_every == 0
                stopped = distributed.any_rank(stop.due())
                if due or stopped or state["step"] == options.steps:
                    row = score(task, net, val if first else [], running)
                    current = distributed.from_first(row.get("val_loss", row["train_loss"]))
                    check_finite(net, [row["train_loss"], current], folder, state["step"])
                    clock = {"step": state["step"], "lr": optimizer.param_groups[0]["lr"]}
                    folder.write(clock | {"seconds": time.monotonic() - since} | row)
                    running, since = {}, time.monotonic()
                    bar.set_postfix({n: f"{v:.4f}" for n, v in row.items() if n.endswith("_loss")})
                    if options.schedule == "plateau" and due:
                        schedule.step(current)
                    if current < state["best"]:
                        state["best"] = current
                        folder.save_best(net)
                    folder.save(parts, train, state, given)
                if stopped:
                    bar.set_description(f"stopped at step {state['step']}; continue with resume")
                    break
        folder.close()
    return net


def prepare(task: Task, options: Options, device: str):
    """Network on its device, its optimiser and the schedule of the learning rate, as the seed determines them."""
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    torch.manual_seed(options.seed + distributed.rank())  # dropout differs by rank; the weights are those of rank 0
    net = task.network().to(device)
    learning = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=options.lr, weight_decay=options.weight_decay)
    return net, optimizer, make_schedule(optimizer, options)


def describe_run(task: Task, train, options: Options) -> dict:
    """Parameters of a run: its options, the settings of its task and those of its training data."""
    return {**asdict(options), **task.settings(), "data": getattr(train, "settings", {})}


def score(task: Task, net, val: list[dict], running: dict[str, list[torch.Tensor]]) -> dict[str, float]:
    """Mean training losses since the last validation, over all ranks, and the figures of the held-out batches."""
    row = distributed.mean({f"train_{n}": float(torch.stack(v).mean()) for n, v in running.items()})
    return row | {f"val_{n}": v for n, v in validation(task, net, val).items()}


def check_finite(net: torch.nn.Module, losses: list[float], folder: RunFolder, step: int) -> None:
    """Check that losses and weights are finite numbers, before they are written.

    Raises
    ------
    DivergedError
        If one is not; the message says which checkpoint is kept.
    """
    if all(map(math.isfinite, losses)) and all(bool(p.isfinite().all()) for p in net.parameters()):
        return
    kept = "no checkpoint was written" if folder.saved is None else f"last.pt keeps step {folder.saved}"
    losses = ", ".join(f"{loss:.3g}" for loss in losses)
    raise DivergedError(
        f"{folder.path}: training diverged before step {step} (losses {losses}), {kept}; try a lower --lr or --clip"
    )


def say_done(folder: RunFolder, options: Options) -> None:
    """Say that a run that was to be resumed is complete."""
    prolong = "" if options.schedule == "onecycle" else "; to prolong the run give more steps"
    if folder.writes:
        print(f"{folder.path}: all {options.steps} steps are done, nothing is left to train{prolong}")


def progress_bar(steps: int, done: int, shown: bool) -> tqdm:
    """Bar of the steps, with the time that is left."""
    return tqdm(total=steps, initial=done, desc="train", unit="step", mininterval=2, disable=None if shown else True)


def validation(task: Task, net: torch.nn.Module, batches: list[dict]) -> dict[str, float]:
    """Figures of the task over held-out batches, without gradients; empty without batches."""
    if not batches:
        return {}
    net.eval()
    device = next(net.parameters()).device
    with torch.no_grad():
        return task.validate(net, [to_device(batch, device) for batch in batches])


def to_device(batch: dict, device) -> dict:
    """A batch on the device of the network."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def in_precision(net, device, bf16: bool):
    """`net` as a function that runs in bfloat16 where `bf16` is set; what is computed from its outputs is not."""

    def forward(*inputs):
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            return net(*inputs)

    return forward


def update(optimizer, loss: torch.Tensor, groups: list[list[torch.nn.Parameter]], clip: float) -> None:
    """One step of the optimiser; the gradients of each group are clipped apart."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for group in groups:
        torch.nn.utils.clip_grad_norm_(group, clip)
    optimizer.step()


def make_schedule(optimizer, options: Options):
    """Schedule of the learning rate.

    Raises
    ------
    ValueError
        If it has an unknown name.
    """
    if options.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=3)
    if options.schedule == "trapezoid":  # can be prolonged: resume with more steps
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: trapezoid(step, options.steps))
    if options.schedule != "onecycle":
        raise ValueError(f"unknown schedule {options.schedule!r}: expected onecycle, trapezoid or plateau")
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.lr, total_steps=options.steps + 1, pct_start=0.05, cycle_momentum=False
    )


def set_rate(optimizer, options: Options, step: int) -> None:
    """Set the learning rate of a resumed run; with more steps than before, a trapezoid is level again."""
    if options.schedule == "trapezoid":
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * trapezoid(step, options.steps)


def trapezoid(step: int, steps: int) -> float:
    """Share of the full rate: up over 200 steps, level, linearly down over the last quarter."""
    return max(0.0, min(1.0, (step + 1) / 200, (steps - step) / (0.25 * steps)))


@contextmanager
def one_thread(device: str):
    """One torch thread on a CPU.

    A frame's share of an LSTM is too small to split: two threads train half as fast as one. Other cores make the next
    batches, or train along under `torchrun`.
    """
    before = torch.get_num_threads()
    if str(device) == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cycle(batches):
    """Batches again and again."""
    while True:
        yield from batches
