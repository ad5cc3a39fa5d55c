"""Priors of one's own microscope: units, ranges, files, refusals."""

import json

import numpy as np
import pytest
import torch

from main.tracks.learning.data import make_batches
from simulations.batched import simulate_batched
from simulations.parameters import MODELS, PRIORS, microscope, read_prior, sample_worlds

CAMERA = {
    "pixel_size_um": 0.1,
    "frame_interval_s": 0.05,
    "localization_error_um": 0.02,
    "k_um2_per_s_alpha": [0.05, 0.5],
    "alpha": [0.6, 1.2],
    "n_frames": 60,
}


def test_values_come_out_in_pixels_and_frames():
    """K[px^2/frame^a] = K[um^2/s^a] dt^a / pixel^2, for every alpha of the range."""
    prior = microscope(**CAMERA)
    worlds = sample_worlds(prior, "single_state", 4000, np.random.default_rng(0))
    a = np.array([0.6, 1.2])
    assert worlds.k_mean.min() >= 0.05 * (0.05**a / 0.01).min() and worlds.k_mean.max() <= 0.5 * (0.05**a / 0.01).max()
    for alpha in a:  # the range of each alpha is filled
        k_um = worlds.k_mean * 0.01 / 0.05**alpha
        assert k_um.min() < 0.055 and k_um.max() > 0.45
    assert worlds.n_frames == 60
    assert worlds.alpha_mean.min() >= 0.6 and worlds.alpha_mean.max() <= 1.2
    assert worlds.sigma.min() >= 0.1 and worlds.sigma.max() <= 0.4  # px: half to twice 0.02 um


@pytest.mark.parametrize("model", MODELS)
def test_every_model_can_be_simulated(model):
    worlds = sample_worlds(microscope(**CAMERA), model, 8, np.random.default_rng(1))
    tracks = simulate_batched(worlds, torch.Generator().manual_seed(0))
    assert len(tracks["length"]) and tracks["length"].max() <= 60


def test_prior_from_a_file(tmp_path):
    file = tmp_path / "microscope.json"
    file.write_text(json.dumps(CAMERA))
    assert read_prior(file) == microscope(**CAMERA)
    train, held_out = make_batches(None, [str(file)], 8, "cpu", 0, 1, 64)
    assert train.priors == [microscope(**CAMERA)] and held_out[0]["xy"].shape[1] <= 60


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pixel_size_um": 0}, "pixel_size_um"),
        ({"k_um2_per_s_alpha": [1, 0.1]}, "k_um2_per_s_alpha"),
        ({"alpha": [0.5, 2.5]}, "alpha"),
        ({"n_frames": 5}, "n_frames"),
        ({"pixels": 3}, "pixels"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, change, named):
    file = tmp_path / "microscope.json"
    file.write_text(json.dumps(CAMERA | change))
    with pytest.raises(ValueError, match=f"microscope.json.*{named}"):
        read_prior(file)


@pytest.mark.parametrize("prior", [p for p in PRIORS if p != "benchmark"])
def test_shipped_priors_sample_every_model(prior):
    for model in MODELS:
        worlds = sample_worlds(prior, model, 50, np.random.default_rng(2))
        assert len(worlds) == 50 and (worlds.k_mean > 0).all() and (worlds.box > 0).all()
