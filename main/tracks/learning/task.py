"""What the shared training loop asks of tracks: network, losses, validation, parameter groups, settings."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

import torch
from torchmetrics.classification import MulticlassAccuracy

from main.models import INTERVAL_HEADS, build, present_name
from main.models.tracks.network import BODIES, TARGET_HEADS
from main.tracks.features import N_FEATURES
from main.tracks.forward import forward
from main.tracks.learning.losses import LOSS_WEIGHTS, balanced_weights, losses, valid_frames
from main.utils import distributed
from main.utils.config import check_options, option
from main.utils.weights import load_weights
from simulations.parameters import TRAPPED

PARTS = ("intervals", "gaps", "sample")  # sample: all but the network of one track


@dataclass(frozen=True)
class TrackOptions:
    """What network to train, and on which losses. Every field is also an option of `train.py`.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """

    target: str = option("combined", "Quantity that the network predicts; combined: all of them.", tuple(TARGET_HEADS))
    body: str = option(
        "lstm",
        "Body of the network. lstm: that of the original system; sample: conv_bilstm that reads whole samples.",
        (*BODIES, "sample"),
    )
    hidden: int = option(64, "Units of each layer of the body; of an LSTM, in each direction.", within=(1, 4096))
    layers: str = option("2,2,1", "Number of BiLSTM layers of each block of the lstm body.")
    dropout: float = option(0.1, "Share of units that are dropped between layers.", within=(0, 0.99))
    features: str = option(
        "default",
        "Features that the network reads. default: any unit of length; m3: the original's, in pixels.",
        tuple(N_FEATURES),
    )
    balanced: bool = option(False, "Weight the states by inverse frequency in the cross-entropy.")
    focal: float = option(0.0, "Exponent of the focal loss of the state; 0 is cross-entropy.", within=(0, 100))
    intervals: bool = option(True, "Add heads for the 90 % intervals of K and alpha; other heads learn the same.")
    gaps: float = option(
        0.0, "Share of tracks with missing frames; above 0 the network gets a part that fills them.", within=(0, 1)
    )
    only: str = option("", "Part to train alone, with the rest frozen.", PARTS)
    init: str = option("", "Weights to start from (shipped name or folder) instead of random ones: fine-tuning.")

    def __post_init__(self):
        check_options(self)


class TrackTask:
    """The task of tracks for `main.utils.training.fit`.

    Parameters
    ----------
    options : TrackOptions
    val : list of batch dicts
        Held-out batches, in which the states are counted where they are balanced.

    Raises
    ------
    ValueError
        If an option is not known, options contradict, or balanced states come without held-out batches.
    """

    def __init__(self, options: TrackOptions, val: list[dict] = ()):
        self.options, self.config = options, net_config(options)
        if options.balanced and not val:
            raise ValueError("balanced states need held-out batches to count the states in")
        self.class_weights = balanced_weights(val) if options.balanced else None

    def network(self):
        """Make the network, with weights drawn at random or taken from `options.init`.

        Interval heads and gap fillers that `options.init` lacks start at random. With `options.only` the rest is
        frozen.

        Raises
        ------
        ValueError
            If the weights of `options.init` are of another architecture, or there is no such part as `options.only`.
        """
        net = build(self.config)
        if self.options.init:
            take_weights(net, self.options)
        freeze_rest(net, self.options)
        return net

    def forward(self, net, batch: dict):
        """Outputs of all heads and log10 of each track's scale, as `main.tracks.forward.forward` returns them."""
        return forward([net], batch, self.options.features)

    def losses(self, net, batch: dict) -> dict[str, torch.Tensor]:
        """Loss of each head on one padded batch and, as `loss`, their weighted sum; scalar tensors."""
        parts = distributed.share(self.head_losses(*self.forward(net, batch), batch), count_frames(batch))
        return parts | {"loss": sum(LOSS_WEIGHTS[name] * value for name, value in parts.items())}

    def head_losses(self, heads: dict, log10_scale: torch.Tensor, batch: dict) -> dict[str, torch.Tensor]:
        """Mean loss of each head over the frames that count."""
        weights = None if self.class_weights is None else self.class_weights.to(log10_scale.device)
        return losses(heads, batch, log10_scale, weights, self.options.focal)

    def validate(self, net, batches: list[dict]) -> dict[str, float]:
        """Mean losses per frame, and the accuracy of the state (micro average), over held-out batches."""
        accuracy = MulticlassAccuracy(num_classes=4, average="micro", sync_on_compute=False)  # only rank 0 is here
        accuracy.to(batches[0]["xy"].device)
        sums, counts = {}, dict.fromkeys(LOSS_WEIGHTS, 0)
        for batch in batches:
            heads, log10_scale = self.forward(net, batch)
            n = count_frames(batch)
            for name, value in self.head_losses(heads, log10_scale, batch).items():
                sums[name] = sums.get(name, 0.0) + int(n[name]) * float(value)
                counts[name] += int(n[name])
            if "state" in heads:
                valid = valid_frames(batch)
                accuracy.update(heads["state"].argmax(-1)[valid], batch["state"][valid])
        result = {name: total / max(counts[name], 1) for name, total in sums.items()}
        result["loss"] = sum(LOSS_WEIGHTS[name] * value for name, value in result.items())
        return result | ({"accuracy": float(accuracy.compute())} if "state" in sums else {})

    def parameter_groups(self, net) -> list[list[torch.nn.Parameter]]:
        """Interval heads apart, so that the rest learns as it would without them."""
        named = list(net.named_parameters())
        return [[p for name, p in named if is_part(name, "intervals") == apart] for apart in (False, True)]

    def settings(self) -> dict:
        """Options, and the configuration from which `main.models.build` makes the network."""
        return asdict(self.options) | {"net": self.config}


def net_config(options: TrackOptions) -> dict:
    """Configuration of a network for `main.models.build`.

    Raises
    ------
    ValueError
        If the features are not known, or options contradict.
    """
    if options.features not in N_FEATURES:
        raise ValueError(f"unknown features {options.features!r}: expected one of {', '.join(N_FEATURES)}")
    if options.gaps > 0 and options.features != "default":
        raise ValueError(f"missing frames are told by the default features, not by {options.features}")
    if options.body != "lstm" and options.layers != TrackOptions.layers:
        raise ValueError(f"layers are an option of the lstm body, not of {options.body}")
    config = {
        "body": present_name(options.body),
        "target": options.target,
        "in_features": N_FEATURES[options.features],
        "hidden": options.hidden,
        "dropout": options.dropout,
    }
    if options.intervals:
        config["intervals"] = True
    if options.gaps > 0:
        config["gaps"] = True
    if options.body == "lstm":
        config["layers"] = read_layers(options.layers)
        config["norm_input"] = options.features == "m3"
    return config


def read_layers(text: str) -> list[int]:
    """Number of layers of each block, from numbers with commas between them.

    Raises
    ------
    ValueError
        If they are not one to eight numbers from 1 to 8.
    """
    if not re.fullmatch(r"[1-8](,[1-8]){0,7}", text):
        raise ValueError(f"--layers {text}: expected one to eight numbers from 1 to 8, as in 2,2,1")
    return [int(depth) for depth in text.split(",")]


def take_weights(net, options: TrackOptions) -> None:
    """Give a network the weights of `options.init`; parts that these lack keep their own.

    Raises
    ------
    ValueError
        If the weights are of another architecture.
    """
    nets, _ = load_weights(options.init)
    source = nets.get(options.target, nets.get("combined"))
    try:
        into = net.single if hasattr(net, "single") and not hasattr(source, "single") else net
        start, known = into.state_dict(), source.state_dict()
        into.load_state_dict({n: known.get(n, start[n]) if is_part(n) else known[n] for n in start})
    except (AttributeError, KeyError, RuntimeError):
        message = f"weights {options.init!r} do not fit a {options.body} network of {options.target}"
        raise ValueError(message) from None


def freeze_rest(net, options: TrackOptions) -> None:
    """With `options.only`, freeze all parameters but those of the named part.

    Raises
    ------
    ValueError
        If the part is not known, or the network has none.
    """
    if options.only not in ("", *PARTS):
        raise ValueError(f"unknown part {options.only!r} to train alone: expected one of {', '.join(PARTS)}")
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


def is_part(name: str, part: str = "") -> bool:
    """Whether a parameter of this name belongs to the interval heads or the gap filler, or to a given one of them."""
    parts = {"intervals": INTERVAL_HEADS, "gaps": ("gaps",)}
    wanted = parts[part] if part else sum(parts.values(), ())
    return any(module in name.split(".") for module in wanted)


def count_frames(batch: dict) -> dict[str, torch.Tensor]:
    """Number of frames over which `losses` takes the mean of each loss."""
    valid = valid_frames(batch)
    moving = (valid & (batch["state"] != TRAPPED)).sum()
    return dict.fromkeys(LOSS_WEIGHTS, moving) | {"state": valid.sum(), "change": valid.sum()}
