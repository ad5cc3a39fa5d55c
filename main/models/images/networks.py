"""Networks of images by name."""

from __future__ import annotations

from functools import partial

from torch import nn

from main.models.images.blur_net import BlurNet
from main.models.images.originals import PaperCNN, ResNet2D, ResNet3D, SimpleCNN

ORIGINALS = {
    "simple_cnn": SimpleCNN,
    "paper_cnn": PaperCNN,
    "paper_cnn_strides": partial(PaperCNN, strides=True),
    "resnet_2d": ResNet2D,
    "resnet_3d": ResNet3D,
    "resnet_3d_time": partial(ResNet3D, time=True),
}  # they take full frames; see `main.models.images.originals`
NETWORKS = {"blur_net": BlurNet} | ORIGINALS


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
