"""Likelihood of D: against exact covariances, and on simulated molecules."""

import math

import numpy as np
import pytest
import torch

from main.images.detect import cut_windows, detect
from main.images.features import NO_SHAPE_PX2, make_features, measure_windows
from main.images.in_frame import in_frame_log_likelihood, sample_shapes
from main.images.likelihood import (
    POSITION_RANGE_PX,
    WRONG_POSITIONS,
    make_grid,
    path_log_likelihood,
    summarize_posterior,
)
from main.images.task import true_log10_d
from simulations.image_sets import make_image_set
from simulations.image_stream import ImagePrior, ImageStream
from simulations.parameters import Range

D = torch.logspace(-2, 1, 7)


def exact_path(position, error, share, d):
    """Log-density of the differences of seen positions from the first, from their covariance."""
    seen = np.isfinite(error)
    t = np.flatnonzero(seen).astype(float)
    u = (np.arange(2000) + 0.5) / 2000 * share  # times of an exposure
    gap = np.abs(t[:, None] - t)
    mean_min = np.empty_like(gap)
    inside = np.minimum(u[:, None], u).mean()
    for i in range(len(t)):
        for j in range(len(t)):
            mean_min[i, j] = t[i] + inside if i == j else min(t[i], t[j]) + share / 2
    covariance = 2 * d * mean_min + np.diag(error[seen] ** 2)
    turn = np.eye(len(t))[1:] - np.eye(len(t))[0]
    covariance = turn @ covariance @ turn.T
    _, log_determinant = np.linalg.slogdet(covariance)
    off = turn @ position[seen]
    square = np.einsum("ia,ij,ja->", off, np.linalg.inv(covariance), off)
    return -square / 2 - log_determinant - (len(t) - 1) * math.log(2 * math.pi)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_path_likelihood_is_exact(share):
    rng = np.random.default_rng(1)
    position = np.cumsum(rng.normal(0, 0.7, (8, 2)), axis=0)
    error = rng.uniform(0.05, 0.4, 8)
    error[3] = np.inf
    found = path_log_likelihood(
        torch.tensor(position[None]), torch.tensor(error[None]), torch.tensor([share], dtype=torch.float64), D.double()
    )[0]
    expected = np.array([exact_path(position, error, share, d) for d in D.tolist()])
    bad = math.log(WRONG_POSITIONS) - 2 * math.log(POSITION_RANGE_PX)
    likely = found.numpy() > 4 * bad
    assert likely.sum() >= 4  # where wrong positions hardly count, they cost their share
    np.testing.assert_allclose(found.numpy()[likely], (expected + 6 * math.log(1 - WRONG_POSITIONS))[likely], atol=0.1)


def test_sampled_shapes_have_the_moments_of_a_brownian_path():
    shapes = sample_shapes()
    assert shapes["spread"].mean().item() == pytest.approx(1 / 3, rel=0.1)
    assert (shapes["spread"].var() / shapes["spread"].mean() ** 2).item() == pytest.approx(0.4, rel=0.35)
    for name, value in (("mean_mean", 2 / 3), ("mean_end", 1.0), ("end_end", 2.0)):
        assert shapes[name].mean().item() == pytest.approx(value, rel=0.15)
    assert shapes["end_end"][:, 0].mean() > 2 * shapes["end_end"][:, 1].mean()  # it moves along its longest axis


def test_without_shapes_only_the_path_counts():
    generator = torch.Generator().manual_seed(1)
    position = torch.randn(20, 12, 2, generator=generator).cumsum(1)
    error, exposure = torch.full((20, 12), 0.2), torch.ones(20)
    none, wide = torch.zeros(20, 12), torch.full((20, 12), NO_SHAPE_PX2)
    both = in_frame_log_likelihood(position, error, none, wide, none, none, wide, exposure, 1e3 * exposure, D)
    path = path_log_likelihood(position, error, exposure, D)
    means = [summarize_posterior(values, D.log10())[0] for values in (both, path)]
    torch.testing.assert_close(*means, atol=0.1, rtol=0)


@pytest.fixture(scope="module")
def fast():
    """Fast, bright molecules in full frames: what was measured, and log10 D."""
    part = next(make_image_set("blur", 100, seed=21))
    place = detect(part["images"])
    told = part | {"images": cut_windows(part["images"], place, 21), "centre": place - 31.5}
    told["psf_px"] = part["psf_sigma"] / part["pixel_size"]
    return told, measure_windows(told), true_log10_d(part), part


def test_molecules_are_found(fast):
    told, measured, _, part = fast
    off = (told["centre"] - part["position"]).norm(dim=-1)
    assert (off > 4).float().mean() < 0.01
    assert measured["seen"].float().mean() > 0.97


def test_blur_tells_more_than_the_path(fast):
    """The shape of the spot within each frame beats the path alone, and positions known without error."""
    told, measured, truth, part = fast
    miss = {name: measured[name][:, 0] - truth for name in ("posterior_path", "posterior_shape")}
    perfect = path_log_likelihood(
        part["position"], torch.full(truth.shape + (16,), 1e-3), told["exposure"], 10 ** make_grid()
    )
    miss["perfect"] = summarize_posterior(perfect, make_grid())[0] - truth
    rmse = {name: values.square().mean().sqrt().item() for name, values in miss.items()}
    assert rmse["posterior_shape"] < 0.11 and rmse["posterior_shape"] < 0.85 * rmse["posterior_path"]
    z = miss["posterior_shape"] / measured["posterior_shape"][:, 1]
    assert abs(miss["posterior_shape"].mean().item()) < 0.07 and 0.75 < z.std().item() < 1.9


def test_features_do_not_depend_on_gain_and_offset(fast):
    told, _, _, _ = fast
    few = {name: value[:4] for name, value in told.items()}
    few["offset"] = few["offset"].round()  # so that both ways to photons are exact in single precision
    other = few | {"images": 4 * few["images"] + 64, "gain": 4 * few["gain"], "offset": 4 * few["offset"] + 64}
    again = make_features(other)
    for name, value in make_features(few).items():
        torch.testing.assert_close(again[name], value, atol=1e-4, rtol=1e-4)


def test_features_are_finite_for_any_sequence():
    prior = ImagePrior(photons=Range(1e-3, 40, log=True), blinking=1.0, dark=Range(0.5, 1.0), bleaching=0.5)
    stream = ImageStream(prior, batch=16, seed=4)
    for number in range(4):
        batch = stream.simulate_batch(0, number)
        made = make_features(batch | {"psf_px": batch["psf_sigma"] / batch["pixel_size"]})
        assert all(torch.isfinite(value).all() for value in made.values())
