"""Predictions of one network on held-out batches, as the evaluation tables and figures take them."""

from dataclasses import replace

import numpy as np
import torch

from main.tracks.features import features
from main.tracks.inference.changepoints import DEFAULTS, find_changepoints
from main.tracks.inference.predictor import Prediction
from simulations.parameters import FREE

CHANNELS = {
    "k": ("k",),
    "alpha": ("alpha",),
    "state": ("trapped", "unplaced"),
    "combined": tuple(DEFAULTS.keys() - {"penalty"}),
}


@torch.inference_mode()
def predict_batches(net, batches: list[dict], kind: str = "default") -> tuple[list[dict], list[Prediction]]:
    """Truth and prediction of every track of some padded, labelled batches.

    Parameters
    ----------
    net : TrackNet
        Any heads; what it does not predict is nan, and p_change 0.
    batches : list of batch dicts
        K in px^2/frame^alpha.
    kind : str
        Feature set that the network was trained on.

    Returns
    -------
    truths : list of dict
        xy (T, 2), k, alpha, state (T,), model of each track, as arrays.
    predictions : list of Prediction
        K in the same unit.
    """
    net.eval()
    device = next(net.parameters()).device
    truths, predictions = [], []
    for batch in batches:
        batch = {name: value.to(device) for name, value in batch.items()}
        feats, log10_scale = features(batch["xy"], batch["length"], batch["sigma"], kind)
        out = net(feats, batch["length"])
        missing = torch.full(feats.shape[:2], torch.nan, device=device)
        log10_k = out["k"] + 2 * log10_scale[:, None] if "k" in out else missing
        alpha = out.get("alpha", missing).clamp(0, 2)
        state = out["state"].softmax(-1) if "state" in out else missing[..., None].expand(-1, -1, 4)
        change = out["change"].sigmoid() if "change" in out else torch.zeros_like(missing)
        values = [v.double().cpu().numpy() for v in (log10_k, alpha, state, change)]
        labels = {name: batch[name].cpu().numpy() for name in ("xy", "k", "alpha", "state", "model")}
        for i, n in enumerate(batch["length"].tolist()):
            truths.append({name: v[i] if name == "model" else v[i, :n] for name, v in labels.items()})
            predictions.append(Prediction(*(v[i, :n] for v in values)))
    return truths, predictions


def changepoints_of(predictions: list[Prediction], target: str, penalty: float = DEFAULTS["penalty"]):
    """Changepoints of each track, found in what a network of this target predicts and in nothing else.

    Parameters
    ----------
    target : {"k", "alpha", "state", "combined"}
    penalty : float
        Price of one changepoint.

    Returns
    -------
    list of list of int
    """
    weights = {name: DEFAULTS[name] if name in CHANNELS[target] else 0.0 for name in DEFAULTS}
    if target in ("k", "alpha"):  # taken as free everywhere: no frame is discounted as trapped
        free = np.eye(4)[FREE]
        filled = [replace(p, state_probs=np.tile(free, (len(p.alpha), 1))) for p in predictions]
    else:
        filled = predictions
    return [find_changepoints(p, penalty, weights) for p in filled]
