"""Shared by the tests of inference: tiny random networks on disk, random walks, one call of infer.py."""

import numpy as np
import pandas as pd
import pytest
import torch

from main import infer
from main.models import build
from main.utils.features import N_FEATURES
from main.utils.weights import save_weights


def random_options():
    torch.manual_seed(0)
    options = {"body": "lstm", "in_features": N_FEATURES["default"], "hidden": 4}
    return {target: options | {"target": target} for target in ("k", "alpha", "state")}


def random_nets():
    """Networks by name, hidden size 4, always the same."""
    return {name: build(option) for name, option in random_options().items()}


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_weights(
        folder,
        random_nets(),
        {
            "features": "default",
            "nets": random_options(),
            "segmentation": {"penalty": 0.05},
            "training_range": {"n_frames": [20, 200]},
        },
    )
    return folder


def walk(rng, n, track=0, first=0, step=1.0):
    """A Brownian track table of `n` frames."""
    xy = np.cumsum(rng.normal(0, step, (n, 2)), axis=0)
    frame = np.arange(first, first + n)
    return pd.DataFrame({"track_id": track, "frame": frame, "x": xy[:, 0], "y": xy[:, 1]})


@pytest.fixture
def walks(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.concat([walk(rng, n, track=i, first=5) for i, n in enumerate((1, 2, 3, 19, 20, 57, 450))])
    path = tmp_path / "walks.csv"
    table.to_csv(path, index=False)
    return path


def run(path, out, weights, *options):
    """Exit code of infer.py."""
    paths = map(str, np.atleast_1d(path))
    return infer.main([*paths, "--out", str(out), "--weights", str(weights), *options])
