"""Fixtures of the tests of inference: weights of tiny random networks on disk, and tracks to read with them."""

import numpy as np
import pandas as pd
import pytest
from helpers import random_nets, random_options, walk

from main.utils.weights import save_weights


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


@pytest.fixture
def walks(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.concat([walk(rng, n, track=i, first=5) for i, n in enumerate((1, 2, 3, 19, 20, 57, 450))])
    path = tmp_path / "walks.csv"
    table.to_csv(path, index=False)
    return path
