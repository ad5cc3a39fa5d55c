"""Networks by name: a body, and the heads that read it."""

from __future__ import annotations

from main.models.heads import INTERVAL_HEADS
from main.models.tracks.conv_bilstm import ConvLSTM
from main.models.tracks.network import BODIES, TARGET_HEADS, TrackNet
from main.models.tracks.sample import SampleNet


def build(config: dict) -> TrackNet:
    """A network from its configuration.

    Parameters
    ----------
    config : dict
        `body` (a name in `BODIES`, or "sample": conv_lstm, read in the light of its sample), `target` (a name in
        `TARGET_HEADS`), `in_features`, and optionally `intervals` and `gaps` (whether the network has interval heads,
        and knows missing frames; by default not), `hidden`, `dropout` and other arguments of the body.

    Raises
    ------
    ValueError
        If the body or the target is not known.
    """
    options = dict(config)
    body, target, size = options.pop("body"), options.pop("target"), options["in_features"]
    intervals, gaps = options.pop("intervals", False), options.pop("gaps", False)
    if body not in (*BODIES, "sample"):
        raise ValueError(f"unknown body {body!r}: expected one of {', '.join(BODIES)}, sample")
    if target not in TARGET_HEADS:
        raise ValueError(f"unknown target {target!r}: expected one of {', '.join(TARGET_HEADS)}")
    if body == "sample":
        if target != "combined":
            raise ValueError(f"a sample network of target {target!r}: expected combined")
        point = tuple(name for name in TARGET_HEADS[target] if name not in INTERVAL_HEADS)
        single = TrackNet(ConvLSTM(**options), point, size, gaps)
        return SampleNet(single, intervals, dropout=options.get("dropout", 0.1))
    heads = tuple(name for name in TARGET_HEADS[target] if intervals or name not in INTERVAL_HEADS)
    return TrackNet(BODIES[body](**options), heads, size, gaps)
