"""Networks of images by name."""

from __future__ import annotations

from torch import nn

from main.models.images.blur_net import BlurNet

NETWORKS = {"blur_net": BlurNet}


def build_image_network(config: dict) -> nn.Module:
    """Make a network of images.

    Parameters
    ----------
    config : dict
        body: its name, a key of `NETWORKS`; and the arguments of its class.

    Raises
    ------
    ValueError
        If there is no network of this name.
    """
    options = dict(config)
    name = options.pop("body")
    if name not in NETWORKS:
        raise ValueError(f"unknown network of images {name!r}: expected one of {', '.join(NETWORKS)}")
    return NETWORKS[name](**options)
