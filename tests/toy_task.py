"""A regression task that has nothing to do with tracks, for the tests of the shared training loop."""

import torch
from torch import nn

from main.utils import distributed
from simulations.resumable import ResumableBatches


class Lines(ResumableBatches):
    """Endless batches of points on the line y = 3 x - 1, with noise."""

    settings = {"slope": 3.0}

    def __init__(self, batch=8, seed=0):
        self.batch, self.seed = batch, seed

    def _batches(self, chunk):
        return [lambda i=i: self._make(chunk, i) for i in range(4)]

    def _make(self, chunk, i):
        generator = torch.Generator().manual_seed(1000 * self.seed + 10 * chunk + i)
        x = torch.randn(self.batch, 1, generator=generator)
        return {"x": x, "y": 3 * x - 1 + 0.1 * torch.randn(x.shape, generator=generator)}


class LineTask:
    """Fits a line through points, with dropout, so that random numbers matter."""

    def network(self):
        return nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))

    def losses(self, net, batch):
        square = (net(batch["x"]) - batch["y"]).square()
        parts = distributed.share({"square": square.mean()}, {"square": torch.tensor(square.numel())})
        return parts | {"loss": parts["square"]}

    def validate(self, net, batches):
        return {"loss": sum(float((net(b["x"]) - b["y"]).square().mean()) for b in batches) / len(batches)}

    def parameter_groups(self, net):
        return [list(net.parameters())]

    def settings(self):
        return {"width": 16}
