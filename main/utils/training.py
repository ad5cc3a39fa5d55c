"""The training loop: read `fit` from top to bottom."""

from __future__ import annotations

import csv
import json
import signal
import threading
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm

from main.models import TrackNet, build
from main.utils.features import N_FEATURES, features
from main.utils.losses import LOSS_WEIGHTS, losses, valid_frames
from main.utils.weights import load_weights


@dataclass
class Options:
    """How to train. Every field is also an option of `train.py`."""

    target: str = "combined"  # k, alpha, state or combined
    body: str = "lstm"  # lstm, conv_lstm or transformer
    hidden: int = 64
    layers: str = "2,2,1"  # BiLSTM layers of each block of the lstm body
    dropout: float = 0.1
    features: str = "default"  # default or m3
    steps: int = 2000
    lr: float = 2e-3
    weight_decay: float = 1e-4
    schedule: str = "onecycle"  # onecycle; trapezoid: level, then down over the last quarter; plateau: on stalling
    clip: float = 1.0
    balanced: bool = False  # weight the states by inverse frequency
    focal: float = 0.0  # exponent of the focal loss; 0 is cross-entropy
    val_every: int = 500
    minutes: float = 0.0  # stop cleanly after so long; 0: never
    bf16: bool = False
    seed: int = 0
    init: str = ""  # fine-tune: start from these weights (a shipped name or a folder) instead of random ones


def network(options: Options) -> TrackNet:
    """The network that `options` describe, with weights drawn from its seed or taken from `options.init`.

    Raises
    ------
    ValueError
        If the weights of `options.init` are of another architecture.
    """
    torch.manual_seed(options.seed)
    net = build(net_config(options))
    if options.init:
        nets, _ = load_weights(options.init)
        source = nets.get(options.target, nets.get("combined"))
        try:
            known = source.state_dict()
            net.load_state_dict({name: known[name] for name in net.state_dict()})
        except (AttributeError, KeyError, RuntimeError):
            message = f"weights {options.init!r} do not fit a {options.body} network of {options.target}"
            raise ValueError(message) from None
    return net


def net_config(options: Options) -> dict:
    """What `models.build` needs."""
    config = {"body": options.body, "target": options.target, "in_features": N_FEATURES[options.features],
              "hidden": options.hidden, "dropout": options.dropout}  # fmt: skip
    if options.body == "lstm":
        config["layers"] = [int(depth) for depth in options.layers.split(",")]
        config["norm_input"] = options.features == "m3"
    return config


def fit(train, val: list[dict], options: Options, run: Path, resume: bool = False, device: str = "cpu") -> TrackNet:
    """Train one network on padded batches until `options.steps`, the time limit or Ctrl-C.

    Parameters
    ----------
    train : iterable of batch dicts
        A `TrackStream`, `DatasetBatches` of a data set, or a list, which is cycled through. If it has a
        `state_dict` it is saved and restored with the run.
    val : list of batch dicts
        Held-out batches, scored every `val_every` steps; empty for none.
    options : Options
    run : path
        Run folder: params.json, metrics.csv, TensorBoard events, last.pt, best.safetensors.
    resume : bool
        Continue from `run`/last.pt, exactly where it stopped.
    device : str

    Returns
    -------
    TrackNet
        With the weights of the last step; the best by validation loss are in best.safetensors.
    """
    run.mkdir(parents=True, exist_ok=True)
    net = network(options).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    schedule = _schedule(optimizer, options)
    state = {"step": 0, "best": float("inf")}
    if resume:
        state = _load(run, net, optimizer, schedule, train)
    (run / "params.json").write_text(json.dumps({**asdict(options), "net": net_config(options)}, indent=1) + "\n")
    log = _Log(run, resume)
    weights = _class_weights(options, val, device)
    started, since = time.monotonic(), time.monotonic()
    running: dict[str, list] = {}
    bar = tqdm(total=options.steps, initial=state["step"], desc=f"train {options.target}", unit="step", mininterval=2)
    with _PoliteStop() as stop:
        for batch in islice(_cycle(train), max(options.steps - state["step"], 0)):
            batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
            net.train()
            parts = _forward(net, batch, options, weights)
            total = sum(LOSS_WEIGHTS[name] * value for name, value in parts.items())
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), options.clip)
            optimizer.step()
            if options.schedule != "plateau":
                schedule.step()
            state["step"] += 1
            bar.update()
            for name, value in {**parts, "loss": total}.items():
                running.setdefault(name, []).append(value.detach())
            last = state["step"] == options.steps
            if state["step"] % options.val_every == 0 or last:
                row = {f"train_{n}": float(torch.stack(v).mean()) for n, v in running.items()}
                row |= {f"val_{n}": v for n, v in validate(net, val, options, weights).items()}
                running, seconds = {}, time.monotonic() - since
                since = time.monotonic()
                log.write({"step": state["step"], "lr": optimizer.param_groups[0]["lr"], "seconds": seconds, **row})
                bar.set_postfix({n: f"{v:.4f}" for n, v in row.items() if n.endswith("_loss")})
                current = row.get("val_loss", row["train_loss"])
                if options.schedule == "plateau":
                    schedule.step(current)
                if current < state["best"]:
                    state["best"] = current
                    save_file({n: v.detach().cpu().contiguous() for n, v in net.state_dict().items()},
                              run / "best.safetensors")  # fmt: skip
                _save(run, net, optimizer, schedule, train, state)
            if stop.asked or (options.minutes and time.monotonic() - started > 60 * options.minutes):
                tqdm.write(f"stopped at step {state['step']}; continue with resume")
                break
    bar.close()
    log.close()
    _save(run, net, optimizer, schedule, train, state)
    return net


def _forward(net, batch: dict, options: Options, weights) -> dict:
    feats, log10_scale = features(batch["xy"], batch["length"], batch["sigma"], options.features)
    with torch.autocast(feats.device.type, torch.bfloat16, enabled=options.bf16):
        out = net(feats, batch["length"])
    return losses(out, batch, log10_scale, weights, options.focal)


@torch.no_grad()
def validate(net: TrackNet, batches: list[dict], options: Options, weights=None) -> dict[str, float]:
    """Mean losses, and the accuracy of the state (torchmetrics, micro), over held-out batches."""
    if not batches:
        return {}
    from torchmetrics.functional.classification import multiclass_accuracy

    net.eval()
    device = next(net.parameters()).device
    rows, right = [], []
    for batch in batches:
        batch = {name: value.to(device) for name, value in batch.items()}
        feats, log10_scale = features(batch["xy"], batch["length"], batch["sigma"], options.features)
        out = net(feats, batch["length"])
        rows.append(losses(out, batch, log10_scale, weights, options.focal))
        if "state" in out:
            valid = valid_frames(batch)
            guess = out["state"].argmax(-1)[valid]
            right.append(multiclass_accuracy(guess, batch["state"][valid], num_classes=4, average="micro"))
    result = {n: float(torch.stack([r[n] for r in rows]).mean()) for n in rows[0]}
    result["loss"] = sum(LOSS_WEIGHTS[n] * v for n, v in result.items())
    if right:
        result["accuracy"] = float(torch.stack(right).mean())
    return result


def _schedule(optimizer, options: Options):
    if options.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=3)
    if options.schedule == "trapezoid":  # can be prolonged: resume with more steps before it comes down
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _trapezoid(step, options.steps))
    if options.schedule != "onecycle":
        raise ValueError(f"unknown schedule {options.schedule!r}: expected onecycle, trapezoid or plateau")
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.lr, total_steps=options.steps + 1, pct_start=0.05, cycle_momentum=False
    )


def _trapezoid(step: int, steps: int) -> float:
    """Share of the full rate: up over 200 steps, level, linearly down over the last quarter."""
    return max(0.0, min(1.0, (step + 1) / 200, (steps - step) / (0.25 * steps)))


def _class_weights(options: Options, val: list[dict], device):
    if not options.balanced:
        return None
    from main.utils.losses import balanced_weights

    return balanced_weights(val).to(device)


def _cycle(batches):
    while True:
        yield from batches


def _save(run: Path, net, optimizer, schedule, train, state: dict) -> None:
    checkpoint = {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "stream": train.state_dict() if hasattr(train, "state_dict") else {},
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        **state,
    }
    torch.save(checkpoint, run / "last.pt.tmp")
    (run / "last.pt.tmp").replace(run / "last.pt")


def _load(run: Path, net, optimizer, schedule, train) -> dict:
    checkpoint = torch.load(run / "last.pt", weights_only=True, map_location="cpu")
    net.load_state_dict(checkpoint["net"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    schedule.load_state_dict(checkpoint["schedule"])
    if hasattr(train, "load_state_dict"):
        train.load_state_dict(checkpoint["stream"])
    torch.set_rng_state(checkpoint["rng"])
    if torch.cuda.is_available() and checkpoint["cuda_rng"] is not None:
        torch.cuda.set_rng_state(checkpoint["cuda_rng"])
    return {"step": checkpoint["step"], "best": checkpoint["best"]}


class _PoliteStop:
    """While it is open, Ctrl-C or a polite kill asks for a stop after the current step instead of breaking it off."""

    def __enter__(self):
        self.asked = False
        main = threading.current_thread() is threading.main_thread()
        self.old = {n: signal.signal(n, self._ask) for n in (signal.SIGINT, signal.SIGTERM)} if main else {}
        return self

    def _ask(self, number, frame):
        self.asked = True

    def __exit__(self, *error):
        for number, handler in self.old.items():
            signal.signal(number, handler)


class _Log:
    """metrics.csv, one row per validation, and the same as TensorBoard events where it is installed."""

    def __init__(self, run: Path, append: bool):
        self.path = run / "metrics.csv"
        self.append = append and self.path.exists()
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(run))
        except ImportError:
            self.board = None

    def write(self, row: dict) -> None:
        with self.path.open("a" if self.append else "w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if not self.append:
                writer.writeheader()
            writer.writerow(row)
        self.append = True
        if self.board:
            for name, value in row.items():
                self.board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        if self.board:
            self.board.close()
