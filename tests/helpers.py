"""Shared by tests: paths, tiny random networks, random walks, made-up predictions, one call of infer.py."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from main import infer
from main.models import build
from main.tracks.features import N_FEATURES
from main.tracks.learning.task import TrackOptions, TrackTask
from main.utils.training import Options, fit

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "tracks"  # real files; tests that need them are skipped without them


def random_options():
    torch.manual_seed(0)
    options = {"body": "lstm", "in_features": N_FEATURES["default"], "hidden": 4}
    return {target: options | {"target": target} for target in ("k", "alpha", "state")}


def random_nets():
    """Networks by name, hidden size 4, always the same."""
    return {name: build(option) for name, option in random_options().items()}


def walk(rng, n, track=0, first=0, step=1.0):
    """A Brownian track table of `n` frames."""
    xy = np.cumsum(rng.normal(0, step, (n, 2)), axis=0)
    frame = np.arange(first, first + n)
    return pd.DataFrame({"track_id": track, "frame": frame, "x": xy[:, 0], "y": xy[:, 1]})


def run(path, out, weights, *options):
    """Exit code of infer.py."""
    paths = map(str, np.atleast_1d(path))
    return infer.main([*paths, "--out", str(out), "--weights", str(weights), *options])


def prediction(log10_k, alpha, state, certainty=0.97):
    state = np.asarray(state)
    probs = np.full((len(state), 4), (1 - certainty) / 3)
    probs[np.arange(len(state)), state] = certainty
    return SimpleNamespace(
        log10_k=np.asarray(log10_k, float),
        alpha=np.asarray(alpha, float),
        state_probs=probs,
        p_change=np.zeros(len(state)),
    )


def split_options(values):
    """Options of the network and of the training from one dictionary of both."""
    named = [{n: v for n, v in values.items() if n in kind.__dataclass_fields__} for kind in (TrackOptions, Options)]
    assert set(values) == set(named[0]) | set(named[1])
    return TrackOptions(**named[0]), Options(**named[1])


def fit_tracks(train, val, values, run, resume=False):
    """Train a network of tracks with the options of a dictionary."""
    track_options, options = split_options(values)
    return fit(TrackTask(track_options, val), train, val, options, run, resume)


def track_network(**values):
    """A network of tracks from some of its options, with the random weights of seed 0."""
    torch.manual_seed(0)
    return TrackTask(TrackOptions(**values)).network()
