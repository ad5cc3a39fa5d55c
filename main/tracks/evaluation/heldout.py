"""Predictions of one network on held-out batches, for the tables and figures of the evaluation."""

from dataclasses import replace

import numpy as np
import torch

from main.tracks.forward import forward, frame_values, pack, unpack
from main.tracks.inference.changepoints import DEFAULTS, find_changepoints
from main.tracks.inference.predictor import Prediction, prediction_of
from main.utils.training import to_device
from simulations.parameters import FREE, STATES

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
        Any heads. What it does not predict is NaN, and p_change 0.
    batches : list of batch dicts
        K in px^2/frame^alpha; missing frames and samples are read as in training.
    kind : str
        Features that the network was trained on.

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
        values = pack(frame_values(*forward([net], to_device(batch, device), kind))).cpu().numpy()
        labels = {name: batch[name].cpu().numpy() for name in ("xy", "k", "alpha", "state", "model")}
        for i, n in enumerate(batch["length"].tolist()):
            truths.append({name: v[i] if name == "model" else v[i, :n] for name, v in labels.items()})
            predictions.append(prediction_of(unpack(values[i, :n])))
    return truths, predictions


def find_changepoints_of_target(predictions: list[Prediction], target: str, penalty: float = DEFAULTS["penalty"]):
    """Changepoints of each track, found only in the quantity that a network of this target predicts.

    Parameters
    ----------
    predictions : list of Prediction
    target : {"k", "alpha", "state", "combined"}
    penalty : float
        Price of one changepoint.

    Returns
    -------
    list of list of int
    """
    weights = {name: DEFAULTS[name] if name in CHANNELS[target] else 0.0 for name in DEFAULTS}
    if target in ("k", "alpha"):  # taken as free everywhere: no frame is discounted as trapped
        free = np.eye(len(STATES))[FREE]
        predictions = [replace(p, state_probs=np.tile(free, (len(p.alpha), 1))) for p in predictions]
    return [find_changepoints(p, penalty, weights) for p in predictions]
