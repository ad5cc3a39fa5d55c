"""Several processes that train one network, started by `torchrun`; with one process these functions do nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def join(device: str) -> str:
    """Join the processes that `torchrun` started, if it started this one.

    Parameters
    ----------
    device : str
        "cuda" becomes the GPU with the local rank of this process.

    Returns
    -------
    str
        The device of this process.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
    return device


def leave() -> None:
    """Leave the processes that `join` joined."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wrap(net: torch.nn.Module) -> torch.nn.Module:
    """The network as the training loop calls it: its gradients are averaged over the ranks."""
    return DistributedDataParallel(net) if world() > 1 else net


def any_rank(flag: bool) -> bool:
    """Whether `flag` is true on any rank."""
    return bool(_reduced(torch.tensor(int(flag)), dist.ReduceOp.MAX))


@contextmanager
def all_or_none() -> Iterator[None]:
    """Context whose error on one rank stops every rank, so that none waits for another.

    Raises
    ------
    ValueError
        On the ranks that had no error themselves.
    """
    failed = True
    try:
        yield
        failed = False
    finally:
        others = any_rank(failed)
    if others:
        raise ValueError("stopped, because another process of this run cannot go on")


def fewest(n: int) -> int:
    """The smallest `n` of all ranks."""
    return int(_reduced(torch.tensor(n), dist.ReduceOp.MIN))


def mean(values: dict[str, float]) -> dict[str, float]:
    """Mean of each value over the ranks."""
    total = _reduced(torch.tensor(list(values.values()), dtype=torch.float64), dist.ReduceOp.SUM)
    return dict(zip(values, (total / world()).tolist(), strict=True))


def from_first(value: float) -> float:
    """The value of rank 0, on every rank."""
    return mean({"value": value * world() if rank() == 0 else 0.0})["value"]


def share(means: dict[str, torch.Tensor], counts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weight means over this rank's data so that their mean over the ranks is the mean over the data of all ranks.

    Parameters
    ----------
    means : dict of scalar tensors
        Means over this rank's data.
    counts : dict of scalar tensors
        How many values are in each mean, for example frames.
    """
    if world() == 1:
        return means
    n = torch.stack([counts[name] for name in means]).float()
    factors = n * world() / _reduced(n.clone(), dist.ReduceOp.SUM).clamp_min(1)
    return {name: value * factor for (name, value), factor in zip(means.items(), factors, strict=True)}


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """The tensors of all ranks, one after the other along their first axis."""
    if world() == 1:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(world())]
    dist.all_gather(parts, tensor)
    return torch.cat(parts)


def _reduced(tensor: torch.Tensor, operation) -> torch.Tensor:
    if world() > 1:
        dist.all_reduce(tensor, operation)
    return tensor
