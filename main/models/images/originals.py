"""Networks of the method that the observable "D from images" started from: images of a molecule to its D.

They take 16 images of 64x64 pixels, and take the frames for the channels of one image (but `ResNet3D` with time as
depth). With one output they have exactly the weights of the original; with two they give mean and log standard
deviation of log10 D, as `main.models.images.blur_net.BlurNet` does.

Source: layouts of github.com/CS-433/ml-project-2-big-burger (simpleCNNModel, Models/paperCNN, paperCNNNoPooling,
Models/ResNetModel2D, Models/ResNetModel3D); PaperCNN follows Park et al., Communications Biology 6 (2023) 336.
"""

from __future__ import annotations

import torch
from torch import nn

from main.models.images.blur_net import MAX_LOG_SD, MIN_LOG_SD

N_FRAMES, SIDE_PX = 16, 64


class Original(nn.Module):
    """A network of images (B, F, 64, 64), of any scale, to (B, n_outputs).

    Parameters
    ----------
    n_outputs : int
        2: mean of log10 D, and log of its standard deviation, within the limits of `BlurNet`; 1: D itself.
    """

    def __init__(self, n_outputs: int):
        super().__init__()
        self.n_outputs = n_outputs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Estimate D of every sequence, (B, n_outputs)."""
        out = self.layers(images)
        if self.n_outputs == 1:
            return out
        return torch.stack([out[:, 0], out[:, 1].clamp(MIN_LOG_SD, MAX_LOG_SD)], dim=1)


class SimpleCNN(Original):
    """Three convolutions of 7x7 with stride 2, and three linear layers; 1,584,097 weights with one output."""

    def __init__(self, n_outputs: int = 2):
        super().__init__(n_outputs)
        channels = (N_FRAMES, 32, 64, 128)
        parts = []
        for before, after in zip(channels, channels[1:], strict=False):
            parts += [nn.Conv2d(before, after, 7, stride=2, padding=3), nn.ReLU()]
        flat = channels[-1] * (SIDE_PX // 8) ** 2
        ends = [nn.Linear(flat, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, n_outputs)]
        self.layers = nn.Sequential(*parts, nn.Flatten(), *ends)


class PaperCNN(Original):
    """Four convolutions of 3x3 with batch normalisation, and two linear layers; 2,160,145 weights with one output.

    Parameters
    ----------
    n_outputs : int
    strides : bool
        The first two convolutions have stride 2 instead of being followed by pooling; same number of weights.
    """

    def __init__(self, n_outputs: int = 2, strides: bool = False):
        super().__init__(n_outputs)
        channels = (N_FRAMES, 16, 32, 64, 64)
        parts = []
        for i, (before, after) in enumerate(zip(channels, channels[1:], strict=False)):
            halved = i < 2
            stride = 2 if halved and strides else 1
            parts += [nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.BatchNorm2d(after), nn.SiLU()]
            if halved and not strides:
                parts.append(nn.MaxPool2d(2))
        flat = channels[-1] * (SIDE_PX // 4) ** 2
        ends = [nn.Dropout(0.3), nn.Flatten(), nn.Linear(flat, 128), nn.SiLU(), nn.Linear(128, n_outputs)]
        self.layers = nn.Sequential(*parts, *ends)


class ResidualBlock(nn.Module):
    """Two convolutions of 3x3 (or 3x3x3) beside a direct way, in `dimensions` 2 or 3."""

    def __init__(self, dimensions: int, before: int, after: int, stride: int):
        super().__init__()
        convolution, norm = CONVOLUTIONS[dimensions]
        self.body = nn.Sequential(
            convolution(before, after, 3, stride=stride, padding=1),
            norm(after),
            nn.ReLU(),
            convolution(after, after, 3, padding=1),
            norm(after),
        )
        self.direct = nn.Identity()
        if stride != 1 or before != after:
            self.direct = nn.Sequential(convolution(before, after, 1, stride=stride), norm(after))

    def forward(self, x):
        """(B, before, ...) to (B, after, ...), with sides divided by the stride."""
        return torch.relu(self.body(x) + self.direct(x))


CONVOLUTIONS = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}


def make_residual_layers(dimensions: int, first: int, channels: tuple[int, ...], n_outputs: int) -> nn.Sequential:
    """Make a convolution, a residual block for each number of channels, mean over all places, and a linear layer."""
    convolution, norm = CONVOLUTIONS[dimensions]
    parts = [convolution(first, channels[0], 3, padding=1), norm(channels[0]), nn.ReLU()]
    for i, after in enumerate(channels):
        parts.append(ResidualBlock(dimensions, channels[max(i - 1, 0)], after, 1 if i == 0 else 2))
    pool = nn.AdaptiveAvgPool2d(1) if dimensions == 2 else nn.AdaptiveAvgPool3d(1)
    return nn.Sequential(*parts, pool, nn.Flatten(), nn.Linear(channels[-1], n_outputs))


class ResNet2D(Original):
    """Four residual blocks of 64, 128, 256 and 512 channels; 4,908,993 weights with one output."""

    def __init__(self, n_outputs: int = 2):
        super().__init__(n_outputs)
        self.layers = make_residual_layers(2, N_FRAMES, (64, 128, 256, 512), n_outputs)


class ResNet3D(Original):
    """Three residual blocks of 3-D convolutions with 64, 128 and 256 channels; 3,611,841 weights with one output.

    As published, frames are channels and the depth is 1: of every 3x3x3 kernel only the middle layer meets data, so
    that 2,377,728 weights never have a gradient.

    Parameters
    ----------
    n_outputs : int
    time : bool
        Frames are the depth, of any number; otherwise channels, as published.
    """

    def __init__(self, n_outputs: int = 2, time: bool = False):
        super().__init__(n_outputs)
        self.time = time
        self.layers = make_residual_layers(3, 1 if time else N_FRAMES, (64, 128, 256), n_outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Estimate D of every sequence, (B, n_outputs)."""
        return super().forward(images[:, None] if self.time else images[:, :, None])
