"""Losses of K, alpha, state, changepoints and intervals; padding and trapped frames are left out."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from simulations.parameters import TRAPPED

LOG10_K_FLOOR = -12.0  # stands in for log10 of K = 0, in px^2/frame^alpha
# Weights of the losses in the sum that is minimised.
LOSS_WEIGHTS = {"k": 1.0, "alpha": 1.0, "state": 0.5, "change": 2.0, "k_interval": 1.0, "alpha_interval": 1.0}
COVERAGE = 0.9  # share of true values inside an interval: from the 5 % to the 95 % quantile


def valid_frames(batch: dict) -> torch.Tensor:
    """True in the frames of a padded batch that are not padding, (B, T)."""
    return torch.arange(batch["xy"].shape[1], device=batch["xy"].device) < batch["length"][:, None]


def change_labels(batch: dict) -> torch.Tensor:
    """1 where the labels of a frame differ from those of the frame before, (B, T) float."""
    change = torch.zeros_like(batch["k"])
    differ = [batch[n][:, 1:] != batch[n][:, :-1] for n in ("k", "alpha", "state")]
    change[:, 1:] = (differ[0] | differ[1] | differ[2]).float()
    return change


def losses(out: dict, batch: dict, log10_scale: torch.Tensor, class_weights=None, focal: float = 0.0) -> dict:
    """Mean loss of each head of a network on one batch.

    K and alpha: mean absolute error of log10 K and of alpha. Their intervals: pinball loss of both ends. State:
    cross-entropy. Changepoint: binary cross-entropy. The first two are taken over frames that are not trapped, since
    K = alpha = 0 there by definition.

    Parameters
    ----------
    out : dict
        Outputs of the heads, as returned by `main.tracks.forward.forward`.
    batch : dict
        Padded batch with labels k, alpha, state (B, T) and length (B,).
    log10_scale : Tensor, shape (B,)
        log10 of the length unit of each track, as returned by `features`.
    class_weights : Tensor, shape (4,), optional
        Weight of each state in the cross-entropy.
    focal : float
        Exponent of the focal loss (Lin et al. 2017); 0 is plain cross-entropy.

    Returns
    -------
    dict of scalar tensors, one per head
    """
    valid = valid_frames(batch)
    moving = valid & (batch["state"] != TRAPPED)
    result = {}
    log10_k = batch["k"].clamp_min(10**LOG10_K_FLOOR).log10() - 2 * log10_scale[:, None]
    for name, truth in (("k", log10_k), ("alpha", batch["alpha"])):
        if name in out:
            above = truth - out[name].float()
            result[name] = _mean(above.abs(), moving)
        if f"{name}_interval" in out:
            result[f"{name}_interval"] = _mean(pinball(above.detach(), out[f"{name}_interval"].float()), moving)
    if "state" in out:
        logits = out["state"].float()
        entropy = F.cross_entropy(logits.transpose(1, 2), batch["state"], weight=class_weights, reduction="none")
        if focal:
            right = logits.softmax(-1).gather(-1, batch["state"][..., None]).squeeze(-1)
            entropy = entropy * (1 - right) ** focal
        result["state"] = _mean(entropy, valid)
    if "change" in out:
        entropy = F.binary_cross_entropy_with_logits(out["change"].float(), change_labels(batch), reduction="none")
        result["change"] = _mean(entropy, valid)
    return result


def pinball(above: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """Sum of the pinball losses of both ends of an interval; smallest at the 5 % and the 95 % quantile.

    Parameters
    ----------
    above : Tensor, shape (B, T)
        Truth minus point value.
    widths : Tensor, shape (B, T, 2)
        Distances from the point value down to the lower end and up to the upper end.

    Returns
    -------
    Tensor, shape (B, T)

    Source: Koenker and Bassett, Econometrica 46, 33 (1978).
    """
    tail = (1 - COVERAGE) / 2
    over = torch.stack([-widths[..., 0] - above, above - widths[..., 1]], -1)  # distance of the truth beyond each end
    return torch.maximum((1 - tail) * over, -tail * over).sum(-1)


def _mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (values * mask).sum() / mask.sum().clamp_min(1)


def balanced_weights(batches: list[dict]) -> torch.Tensor:
    """Weights of the four states, (4,): inverse to their frequency in labelled batches, with mean 1 over frames."""
    counts = sum(torch.bincount(b["state"][valid_frames(b)], minlength=4) for b in batches).float()
    inverse = 1 / counts.clamp_min(1)
    return inverse * counts.sum() / (inverse * counts).sum()
