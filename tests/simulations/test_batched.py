"""The parts of the batched engine: noise, filter, geometry, seeds; its statistics are in test_equivalence.py."""

import numpy as np
import pytest
import torch
from andi_datasets.models_phenom import models_phenom

from simulations.batched import simulate_batched
from simulations.crop import filter_codes
from simulations.fgn import autocovariance, fractional_noise
from simulations.grid import DiscGrid
from simulations.interactions import pair_up, reflect_inside
from simulations.labels import label_filter
from simulations.parameters import MODELS, sample_worlds
from simulations.stream import TrackStream


def seed(n=0):
    return torch.Generator().manual_seed(n)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 1.5, 1.99])
def test_noise_has_the_exact_covariance(alpha):
    n = 20_000
    noise = fractional_noise(torch.full((n,), alpha), 20, seed())
    series = noise.permute(0, 2, 1).reshape(2 * n, 20).double()
    sample = series.T @ series / (2 * n)
    expected = autocovariance(torch.tensor([alpha]), 20)[0]
    lags = (torch.arange(20)[:, None] - torch.arange(20)).abs()
    assert (sample - expected[lags]).abs().max() < 5 * 2**0.5 / (2 * n) ** 0.5  # 5 standard errors of a covariance


def test_filter_equals_the_exact_numpy_one():
    rng = np.random.default_rng(0)
    codes, lengths = np.zeros((300, 120), int), rng.integers(3, 121, 300)
    for row in codes:
        t = 0
        while t < 120:
            run = rng.geometric(rng.choice([0.5, 0.2, 0.05]))
            row[t : t + run] = rng.integers(4)
            t += run
    found = filter_codes(torch.as_tensor(codes), torch.as_tensor(lengths)).numpy()
    for row, out, n in zip(codes, found, lengths, strict=True):
        assert np.array_equal(label_filter(row[:n]), out[:n])


def test_grid_finds_the_covering_disc():
    radius, box = torch.tensor([0.5, 3.0]), torch.tensor([40.0, 60.0])
    centres = torch.rand(2, 200, 2, generator=seed()) * box[:, None, None]
    centres[0, 150:] = float("inf")
    world = torch.arange(2).repeat_interleave(2000)
    pos = torch.rand(4000, 2, generator=seed(1)) * box[world, None]
    found, centre = DiscGrid(centres, radius, box).covering(pos, world)
    brute = (centres[world] - pos[:, None]).norm(dim=-1).min(1)
    covered = brute.values < radius[world]
    assert covered.float().mean() > 0.05
    assert torch.equal(found, covered.nonzero()[:, 0])
    assert torch.equal(centre, centres[world, brute.indices][covered])


def test_reflection_keeps_the_path_length_and_stays_inside():
    n = 5000
    angle, reach = 6.283 * torch.rand(n, generator=seed()), torch.rand(n, generator=seed(1))
    start = reach[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    end = start + 3 * torch.randn(n, 2, generator=seed(2))
    out = end.norm(dim=1) > 1
    start, end = start[out], end[out]
    new = reflect_inside(start, end, torch.zeros_like(start), torch.ones(len(start)))
    assert (new.norm(dim=1) <= 1).all()
    straight = reflect_inside(torch.zeros(1, 2), torch.tensor([[1.4, 0.0]]), torch.zeros(1, 2), torch.ones(1))
    assert torch.allclose(straight, torch.tensor([[0.6, 0.0]]), atol=1e-5)


def test_reflection_equals_that_of_the_library():
    rng = np.random.default_rng(0)
    angle, reach = 2 * np.pi * rng.random(400), rng.random(400)
    start = reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    end = start + rng.normal(0, 1.5, (400, 2))
    out = np.hypot(*end.T) > 1
    start, end = start[out], end[out]
    expected = end.copy()
    for i, point in enumerate(start):
        while np.hypot(*expected[i]) > 1:
            expected[i], point = models_phenom._reflected_position(np.zeros(2), 1.0, point, expected[i])
    arrays = (start, end, np.zeros_like(start), np.ones(len(start)))
    found = reflect_inside(*(torch.as_tensor(a, dtype=torch.float32) for a in arrays)).numpy()
    assert len(start) > 200 and np.abs(found - end).max() > 1
    assert np.allclose(found, expected, atol=1e-3)


def test_dimers_form_in_the_order_of_the_library():
    pos = torch.tensor([[[0.0, 0], [0.5, 0], [1.0, 0], [5.0, 5], [5.1, 5]]])
    free, nobody = torch.full((5,), -1), torch.zeros(5, dtype=torch.bool)
    pairs = pair_up(pos, free, nobody, torch.tensor([0.7]), torch.ones(1), seed())
    assert sorted(pairs.tolist()) == [[0, 1], [3, 4]]  # 1 is taken when 2 is treated
    released = torch.tensor([True, False, False, False, False])
    pairs = pair_up(pos, free, released, torch.tensor([0.7]), torch.ones(1), seed())
    assert sorted(pairs.tolist()) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("model", MODELS)
def test_same_seed_same_tracks(model):
    worlds = sample_worlds("broad", model, 8, np.random.default_rng(0))
    a, b = simulate_batched(worlds, seed()), simulate_batched(worlds, seed())
    other = simulate_batched(worlds, seed(1))
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert a["xy"].shape != other["xy"].shape or not torch.equal(a["xy"], other["xy"])


@pytest.mark.parametrize("model", MODELS)
def test_batch_is_well_formed(model):
    tracks = simulate_batched(sample_worlds("broad", model, 64, np.random.default_rng(1)), seed())
    valid = torch.arange(tracks["xy"].shape[1]) < tracks["length"][:, None]
    trapped = tracks["state"] == 0
    assert tracks["length"].min() >= 20 and tracks["length"].max() <= 200
    assert not tracks["xy"][~valid].any() and torch.isfinite(tracks["xy"]).all()
    assert ((tracks["k"] == 0) == trapped)[valid].all() and ((tracks["alpha"] == 0) == trapped)[valid].all()
    assert trapped[valid].any() == (model == "immobile_traps")


def test_stream_resumes_where_it_stopped():
    first = TrackStream(["broad", "andi2"], 16, "cpu", 3, chunk=64)
    it = iter(first)
    for _ in range(3):
        next(it)
    second = TrackStream(["broad", "andi2"], 16, "cpu", 3, chunk=64)
    second.load_state_dict(first.state_dict())
    a, b = next(it), next(iter(second))
    assert all(torch.equal(torch.nan_to_num(a[n]), torch.nan_to_num(b[n])) for n in a)
    assert len({float(x) for x in a["xy"][:, 1, 0]}) == len(a["xy"])
