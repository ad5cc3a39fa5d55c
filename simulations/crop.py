"""Cut tracks out of simulated worlds: field of view and label filter of andi_datasets, many tracks at once."""

from __future__ import annotations

import torch


def filter_codes(codes: torch.Tensor, length: torch.Tensor, window: int = 5, min_run: int = 3) -> torch.Tensor:
    """Filter labels as `andi_datasets.utils_challenge.label_filter` does: majority first, then short segments.

    Parameters
    ----------
    codes : Tensor, shape (B, T), int64
        State codes 0..C-1; values beyond `length` are ignored.
    length : Tensor, shape (B,)
        Frames of each track, at least `min_run`.
    window : int
        Frames over which the majority is taken.
    min_run : int
        Frames of the shortest segment that is kept.

    Returns
    -------
    Tensor, shape (B, T), int64
        Filtered codes; beyond `length` the last valid code.
    """
    time = torch.arange(codes.shape[1], device=codes.device)
    changes = (codes[:, 1:] != codes[:, :-1]) & (time[1:] < length[:, None])
    (rows,) = changes.any(1).nonzero(as_tuple=True)  # in the others there is nothing to filter
    filtered = codes[:, :1].repeat(1, codes.shape[1])
    valid = time < length[rows, None]
    best = _majority(_first_occurrence(codes[rows], valid), valid, window)
    filtered[rows] = codes[rows].gather(1, _enforce_min_run(best, min_run).long().clamp_min(0))
    return filtered


def _majority(first: torch.Tensor, valid: torch.Tensor, window: int) -> torch.Tensor:
    """Most frequent label within `window` frames; the lowest if several are equally frequent; -1 where not valid."""
    frames = first.shape[1]
    padded = torch.nn.functional.pad(torch.where(valid, first, -1), (window // 2, window // 2), value=-1)
    views = [padded[:, i : i + frames] for i in range(window)]
    same = {(i, j): views[i] == views[j] for i in range(window) for j in range(i)}
    best_score, best = torch.full_like(first, -1), first
    for i, label in enumerate(views):
        count = 1 + sum(same[max(i, j), min(i, j)].to(first.dtype) for j in range(window) if j != i)
        score = torch.where(label >= 0, count * (2 * frames) - label, -1)
        better = score > best_score
        best_score, best = torch.where(better, score, best_score), torch.where(better, label, best)
    return torch.where(valid, best, -1)


def _first_occurrence(codes: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Each label replaced by the frame at which it first occurs, shape (B, T), int32."""
    frames = codes.shape[1]
    time = torch.arange(frames, device=codes.device, dtype=torch.int32).expand_as(codes)
    out = torch.zeros_like(time)
    for code in range(int(codes.max()) + 1 if len(codes) else 0):
        here = (codes == code) & valid
        out = torch.where(here, torch.where(here, time, frames).amin(1, keepdim=True), out)
    return out


def _enforce_min_run(labels: torch.Tensor, min_run: int) -> torch.Tensor:
    """Give runs shorter than `min_run` the label before them; the frames up to `min_run` are one run."""
    n, frames = labels.shape
    time = torch.arange(frames, device=labels.device).expand(n, frames)
    change = torch.ones_like(labels, dtype=torch.bool)
    change[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run = change.long().cumsum(1) - 1
    run_length = torch.zeros_like(labels).scatter_add_(1, run, torch.ones_like(labels)).gather(1, run)
    head = min_run - 1
    in_head = run <= run[:, head : head + 1]
    labels = torch.where(in_head, labels[:, head : head + 1], labels)
    accepted = in_head | (run_length >= min_run)
    last = torch.where(accepted, time, 0).cummax(1).values
    return labels.gather(1, last)


def visible_runs(
    pos: torch.Tensor, origin: torch.Tensor, fov: torch.Tensor, min_frames: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find the stays of at least `min_frames` frames of particles inside the field of view.

    Parameters
    ----------
    pos : Tensor, shape (P, T, 2), px
    origin : Tensor, shape (P, 2); fov : Tensor, shape (P,), px
        Lower corner and side of the field of view.

    Returns
    -------
    particle, start, length : Tensors, shape (B,)
        One entry per stay, in the order of particles and time.
    """
    inside = ((pos > origin[:, None]) & (pos < (origin + fov[:, None])[:, None])).all(-1)
    edge = torch.zeros_like(inside[:, :1])
    step = torch.diff(torch.cat([edge, inside, edge], 1).to(torch.int8), dim=1)
    particle, start = (step == 1).nonzero(as_tuple=True)
    end = (step == -1).nonzero(as_tuple=True)[1]
    keep = end - start >= min_frames
    return particle[keep], start[keep], (end - start)[keep]


def take_runs(values: torch.Tensor, particle, start, frames: int) -> torch.Tensor:
    """Take `frames` frames of `values` (P, T, ...) from each start on, (B, frames, ...); the last frame is repeated."""
    time = (start[:, None] + torch.arange(frames, device=values.device)).clamp_max(values.shape[1] - 1)
    return values[particle[:, None], time]
