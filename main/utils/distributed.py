"""Processes that train one network together, started by `torchrun`; alone, a process does nothing here."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def join(device: str) -> str:
    """Join the processes that `torchrun` started, if it started this one.

    Parameters
    ----------
    device : str
        cuda takes this process's own GPU of the machine.

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
    """Undo `join`."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wrap(net: torch.nn.Module) -> torch.nn.Module:
    """The network as it is called in training: gradients become their mean over the ranks."""
    return DistributedDataParallel(net) if world() > 1 else net


def any_rank(flag: bool) -> bool:
    """Whether `flag` is true on any rank."""
    return bool(_reduced(torch.tensor(int(flag)), dist.ReduceOp.MAX))


def fewest(n: int) -> int:
    """The smallest `n` of all ranks."""
    return int(_reduced(torch.tensor(n), dist.ReduceOp.MIN))


def mean(values: dict[str, float]) -> dict[str, float]:
    """Mean of each value over the ranks."""
    total = _reduced(torch.tensor(list(values.values()), dtype=torch.float64), dist.ReduceOp.SUM)
    return dict(zip(values, (total / world()).tolist(), strict=True))


def from_first(value: float) -> float:
    """What rank 0 gave."""
    return mean({"value": value * world() if rank() == 0 else 0.0})["value"]


def share(means: dict[str, torch.Tensor], frames: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """This rank's part of means over the frames of all ranks: the mean of the parts over ranks is the mean over frames.

    Parameters
    ----------
    means : dict of scalar tensors
        Means over this rank's frames.
    frames : dict of scalar tensors
        Number of frames in each mean.
    """
    if world() == 1:
        return means
    n = torch.stack([frames[name] for name in means]).float()
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
