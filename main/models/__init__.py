"""Networks by name: `build` makes one of any family from its configuration."""

from __future__ import annotations

from torch import nn

from main.models.heads import HEAD_SIZES, INTERVAL_HEADS
from main.models.images.networks import build_image_network
from main.models.tracks.network import TrackNet, build_track_network

BUILDERS = {"tracks": build_track_network, "images": build_image_network}  # one for each family of networks
FORMER_NAMES = {"conv_lstm": "conv_bilstm"}  # bodies of weights made before version 0.2, accepted until 0.3

__all__ = ["HEAD_SIZES", "INTERVAL_HEADS", "TrackNet", "build", "present_name"]


def build(config: dict) -> nn.Module:
    """Make a network from its configuration, with random weights.

    Parameters
    ----------
    config : dict
        `family` (a key of `BUILDERS`; by default "tracks"), `body`, and what the family's builder takes.

    Raises
    ------
    ValueError
        If the family, or a name in the rest of the configuration, is not known.
    """
    options = dict(config)
    family = options.pop("family", "tracks")
    if family not in BUILDERS:
        raise ValueError(f"unknown family {family!r}: expected one of {', '.join(BUILDERS)}")
    return BUILDERS[family](options | {"body": present_name(options["body"])})


def present_name(body: str) -> str:
    """The name that a body has today."""
    return FORMER_NAMES.get(body, body)
