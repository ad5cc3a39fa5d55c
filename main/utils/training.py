"""The training loop: read `fit` from top to bottom."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm

from main.models import build
from main.models.heads import INTERVAL_HEADS
from main.models.tracks.network import TrackNet
from main.tracks.features import N_FEATURES, features
from main.tracks.learning.losses import LOSS_WEIGHTS, balanced_weights, losses, valid_frames
from main.utils import distributed
from main.utils.runs import PoliteStop, RunFolder
from main.utils.weights import load_weights


@dataclass
class Options:
    """How to train. Every field is also an option of `train.py`."""

    target: str = "combined"  # k, alpha, state or combined
    body: str = "lstm"  # lstm, conv_lstm, transformer or attention; sample: conv_lstm that reads whole samples
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
    intervals: bool = True  # heads for the 90 % intervals of K and alpha; the other heads learn the same either way
    gaps: float = 0.0  # share of tracks with missing frames; above 0 the network gets a part that fills them
    only: str = ""  # a part to train alone: intervals, gaps, or sample (all but the net of one track)


def network(options: Options) -> TrackNet:
    """The network that `options` describe, with weights drawn from its seed or taken from `options.init`.

    Interval heads and gap fillers that `options.init` lacks start afresh. With `options.only` all else is frozen.

    Raises
    ------
    ValueError
        If the weights of `options.init` are of another architecture, or there is no such part as `options.only`.
    """
    torch.manual_seed(options.seed + distributed.rank())  # dropout of its own; all ranks start from the weights of 0
    net = build(net_config(options))
    if options.init:
        nets, _ = load_weights(options.init)
        source = nets.get(options.target, nets.get("combined"))
        try:
            into = net.single if hasattr(net, "single") and not hasattr(source, "single") else net
            own, known = into.state_dict(), source.state_dict()
            into.load_state_dict({n: known.get(n, own[n]) if is_part(n) else known[n] for n in own})
        except (AttributeError, KeyError, RuntimeError):
            message = f"weights {options.init!r} do not fit a {options.body} network of {options.target}"
            raise ValueError(message) from None
    if options.only not in ("", "intervals", "gaps", "sample"):
        raise ValueError(f"unknown part {options.only!r} to train alone: expected intervals, gaps or sample")
    if options.only == "sample":
        if options.body != "sample":
            raise ValueError(f"a {options.body} network has no part that reads the sample")
        net.single.requires_grad_(False)
    elif options.only:
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(is_part(name, options.only))
        if not any(p.requires_grad for p in net.parameters()):
            lacks = "interval heads" if options.only == "intervals" else "gap filler (gaps is 0)"
            raise ValueError(f"this network of {options.target} has no {lacks} to train")
    return net


def is_part(name: str, part: str = "") -> bool:
    """Whether a parameter of this name belongs to the interval heads or the gap filler, or to a given one of them."""
    parts = {"intervals": INTERVAL_HEADS, "gaps": ("gaps",)}
    wanted = parts[part] if part else sum(parts.values(), ())
    return any(module in name.split(".") for module in wanted)


def net_config(options: Options) -> dict:
    """What `models.build` needs.

    Raises
    ------
    ValueError
        If the features are not known, or layers are given for another body than lstm.
    """
    if options.features not in N_FEATURES:
        raise ValueError(f"unknown features {options.features!r}: expected one of {', '.join(N_FEATURES)}")
    if options.gaps > 0 and options.features != "default":
        raise ValueError(f"missing frames are told by the default features, not by {options.features}")
    config = {
        "body": options.body,
        "target": options.target,
        "in_features": N_FEATURES[options.features],
        "hidden": options.hidden,
        "dropout": options.dropout,
    }
    if options.intervals:
        config["intervals"] = True
    if options.gaps > 0:
        config["gaps"] = True
    if options.body != "lstm" and options.layers != Options.layers:
        raise ValueError(f"layers are an option of the lstm body, not of {options.body}")
    if options.body == "lstm":
        config["layers"] = [int(depth) for depth in options.layers.split(",")]
        config["norm_input"] = options.features == "m3"
    return config


def fit(train, val: list[dict], options: Options, run: Path, resume: bool = False, device: str = "cpu") -> TrackNet:
    """Train one network on padded batches until `options.steps`, the time limit or Ctrl-C.

    Parameters
    ----------
    train : iterable of batch dicts
        A `TrackStream`, `DatasetBatches` of a data set, or a list, which is cycled through. Where it has
        `state_dict` and `settings`, these are saved with the run. Of processes that train together, each gives its
        share of every batch; the loss is that of the whole batch.
    val : list of batch dicts
        Held-out batches, scored every `val_every` steps and at the end; empty for none.
    options : Options
    run : path
        Run folder: params_given.json, params.json (as run), metrics.csv, TensorBoard events, last.pt,
        best.safetensors.
    resume : bool
        Continue from `run`/last.pt, exactly where it stopped.
    device : str

    Returns
    -------
    TrackNet
        With the weights of the last step; the best by validation loss are in best.safetensors.

    Raises
    ------
    ValueError
        If an option does not hold what it may, or a resumed run was started with other options or data.
    """
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    net = network(options).to(device)
    learning = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=options.lr, weight_decay=options.weight_decay)
    schedule = _schedule(optimizer, options)
    weights = _class_weights(options, val, device)
    state, parts = {"step": 0, "best": float("inf")}, {"net": net, "optimizer": optimizer, "schedule": schedule}
    folder, given = RunFolder(run), {**asdict(options), "data": getattr(train, "settings", {})}
    if resume:
        folder.check_resumable(given)
        state = folder.load(parts, train)
    model, first = distributed.wrap(net), distributed.rank() == 0
    folder.open(given, {"net": net_config(options), "device": str(device), "torch": torch.__version__}, resume)
    running, since = {}, time.monotonic()
    bar = tqdm(
        total=options.steps,
        initial=state["step"],
        desc=f"train {options.target}",
        unit="step",
        mininterval=2,
        disable=not first,
    )
    with PoliteStop(options.minutes) as stop, _one_thread(device):
        for batch in islice(_cycle(train), max(options.steps - state["step"], 0)):
            _mode(net, options)
            loss = loss_of(model, batch, options, weights, device)
            _update(net, optimizer, loss["loss"], options.clip)
            if options.schedule != "plateau":
                schedule.step()
            state["step"] += 1
            bar.update()
            for name, value in loss.items():
                running.setdefault(name, []).append(value.detach())
            due = state["step"] % options.val_every == 0
            stopped = distributed.any_rank(stop.due())
            if due or stopped or state["step"] == options.steps:
                row = distributed.mean({f"train_{n}": float(torch.stack(v).mean()) for n, v in running.items()})
                row |= {f"val_{n}": v for n, v in validate(net, val if first else [], options, weights).items()}
                folder.write(
                    {
                        "step": state["step"],
                        "lr": optimizer.param_groups[0]["lr"],
                        "seconds": time.monotonic() - since,
                        **row,
                    }
                )
                running, since = {}, time.monotonic()
                bar.set_postfix({n: f"{v:.4f}" for n, v in row.items() if n.endswith("_loss")})
                current = distributed.from_first(row.get("val_loss", row["train_loss"]))
                if options.schedule == "plateau" and due:
                    schedule.step(current)
                if current < state["best"]:
                    state["best"] = current
                    folder.save_best(net)
                folder.save(parts, train, state)
            if stopped:
                bar.set_description(f"stopped at step {state['step']}; continue with resume")
                break
    bar.close()
    folder.close()
    return net


def _mode(net: TrackNet, options: Options) -> None:
    """Training mode; a frozen body reads without dropout."""
    net.train(options.only not in ("intervals", "gaps"))
    if options.only == "gaps":  # cuDNN goes back through LSTMs in training mode only; they have no dropout of their own
        for module in net.modules():
            if isinstance(module, torch.nn.LSTM):
                module.train()


@contextmanager
def _one_thread(device: str):
    """On a CPU one thread: a frame's share of an LSTM is too small to split, two threads train half as fast as one.

    Other cores make the next tracks, or train along under `torchrun`.
    """
    before = torch.get_num_threads()
    if str(device) == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _update(net: TrackNet, optimizer, loss: torch.Tensor, clip: float) -> None:
    """One step; gradients of the interval heads are clipped apart, so that the rest learns as it would without them."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for intervals in (False, True):
        group = [p for name, p in net.named_parameters() if is_part(name, "intervals") == intervals]
        torch.nn.utils.clip_grad_norm_(group, clip)
    optimizer.step()


def loss_of(net, batch: dict, options: Options, weights=None, device: str = "cpu") -> dict:
    """Loss of each head on one padded batch and, as `loss`, their weighted sum; scalar tensors."""
    batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
    feats, log10_scale = features(batch["xy"], batch["length"], batch["sigma"], options.features, batch.get("seen"))
    with torch.autocast(feats.device.type, torch.bfloat16, enabled=options.bf16):
        out = net(feats, batch["length"], log10_scale, int(batch.get("group", 1)))
    parts = distributed.share(losses(out, batch, log10_scale, weights, options.focal), _frames(batch))
    return parts | {"loss": sum(LOSS_WEIGHTS[name] * value for name, value in parts.items())}


def _frames(batch: dict) -> dict:
    """Number of frames over which `losses` takes the mean of each loss."""
    valid = valid_frames(batch)
    moving = (valid & (batch["state"] != 0)).sum()
    return dict.fromkeys(LOSS_WEIGHTS, moving) | {"state": valid.sum(), "change": valid.sum()}


@torch.no_grad()
def validate(net: TrackNet, batches: list[dict], options: Options, weights=None) -> dict[str, float]:
    """Mean losses per frame, and the accuracy of the state (torchmetrics, micro), over held-out batches."""
    if not batches:
        return {}
    from torchmetrics.classification import MulticlassAccuracy

    net.eval()
    device = next(net.parameters()).device
    accuracy = MulticlassAccuracy(num_classes=4, average="micro", sync_on_compute=False)  # only rank 0 is here
    accuracy.to(device)
    sums: dict[str, float] = {}
    frames = dict.fromkeys(LOSS_WEIGHTS, 0)
    for batch in batches:
        batch = {name: value.to(device) for name, value in batch.items()}
        feats, log10_scale = features(batch["xy"], batch["length"], batch["sigma"], options.features, batch.get("seen"))
        out = net(feats, batch["length"], log10_scale, int(batch.get("group", 1)))
        n = _frames(batch)
        for name, value in losses(out, batch, log10_scale, weights, options.focal).items():
            sums[name] = sums.get(name, 0.0) + int(n[name]) * float(value)
            frames[name] += int(n[name])
        if "state" in out:
            valid = valid_frames(batch)
            accuracy.update(out["state"].argmax(-1)[valid], batch["state"][valid])
    result = {name: total / max(frames[name], 1) for name, total in sums.items()}
    result["loss"] = sum(LOSS_WEIGHTS[name] * value for name, value in result.items())
    return result | ({"accuracy": float(accuracy.compute())} if "state" in sums else {})


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
    if not val:
        raise ValueError("balanced states need held-out batches to count the states in")
    return balanced_weights(val).to(device)


def _cycle(batches):
    while True:
        yield from batches
