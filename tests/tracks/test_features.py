"""Features: finite on any track, equivariant, blind to padding; the ten original ones against a plain reference."""

import math

import numpy as np
import pytest
import torch

from main.models import build
from main.tracks.features import N_FEATURES, SMALLEST_SCALE, features

LENGTHS = torch.tensor([200, 120, 20, 3, 2, 1])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    xy = torch.randn(6, 200, 2, generator=generator).cumsum(1)
    return xy, torch.tensor([0.1, math.nan, 0.3, 0.0, math.nan, 0.2])


@pytest.mark.parametrize("kind", N_FEATURES)
def test_finite_for_any_track(batch, kind):
    xy, sigma = batch
    for positions in (xy, torch.zeros_like(xy), 1e6 * xy, 1e-6 * xy):
        feats, log10_scale = features(positions, LENGTHS, sigma, kind)
        assert feats.shape == (6, 200, N_FEATURES[kind])
        assert torch.isfinite(feats).all() and torch.isfinite(log10_scale).all()


def test_immobile_track_has_the_smallest_scale():
    _, log10_scale = features(torch.ones(1, 10, 2), torch.tensor([10]))
    assert log10_scale.item() == pytest.approx(math.log10(SMALLEST_SCALE))


def test_scaling_by_a_power_of_two_is_exact(batch):
    xy, sigma = batch
    feats, scale = features(xy, LENGTHS, sigma)
    scaled, other = features(4 * xy, LENGTHS, 4 * sigma)
    moving = LENGTHS > 1
    assert torch.equal(feats[moving], scaled[moving])
    assert torch.allclose(other[moving] - scale[moving], torch.tensor(math.log10(4.0)), atol=1e-6)


@pytest.mark.parametrize("move", ["pixels to um", "shift", "rotate", "mirror"])
def test_unit_place_and_direction_do_not_matter(batch, move):
    xy, sigma = batch
    c, s = math.cos(0.7), math.sin(0.7)
    moved = {
        "pixels to um": 0.16 * xy,
        "shift": xy + torch.tensor([50.0, -3.0]),
        "rotate": xy @ torch.tensor([[c, s], [-s, c]]),
        "mirror": xy * torch.tensor([-1.0, 1.0]),
    }[move]
    factor = 0.16 if move == "pixels to um" else 1.0
    feats, _ = features(xy, LENGTHS, sigma)
    other, _ = features(moved, LENGTHS, factor * sigma)
    radii = torch.isclose(feats, other, atol=2e-3)
    assert radii[:5].all()
    torch.manual_seed(0)
    net = build({"body": "conv_bilstm", "target": "combined", "in_features": N_FEATURES["default"]}).eval()
    with torch.no_grad():
        a, b = net(feats, LENGTHS), net(other, LENGTHS)
    for head in a:
        assert torch.allclose(a[head][:5], b[head][:5], atol=2e-3), head


@pytest.mark.parametrize("kind", N_FEATURES)
def test_padding_changes_nothing(batch, kind):
    xy, sigma = batch
    garbage = xy + 1e3 * (torch.arange(200) >= LENGTHS[:, None])[..., None]
    together, scale = features(garbage, LENGTHS, sigma, kind)
    for i, n in enumerate(LENGTHS):
        alone, own = features(xy[i : i + 1, :n], n[None], sigma[i : i + 1], kind)
        assert torch.allclose(together[i, :n], alone[0], atol=1e-4)
        assert not together[i, n:].any()
        assert torch.allclose(scale[i], own[0], atol=1e-6)


def test_unknown_sigma_differs_from_none_at_all(batch):
    xy, _ = batch
    n = len(xy)
    unknown, _ = features(xy, LENGTHS, torch.full((n,), math.nan))
    absent, _ = features(xy, LENGTHS)
    zero, _ = features(xy, LENGTHS, torch.zeros(n))
    assert torch.equal(unknown, absent)
    assert not torch.equal(unknown, zero)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown features 'm4'"):
        features(torch.zeros(1, 3, 2), torch.tensor([3]), kind="m4")


def original_features(xy):
    """The ten features of the original for one track (T, 2), in plain numpy."""
    T = len(xy)
    z = (xy - xy.mean(0)) / xy.std(0)
    step, raw = np.linalg.norm(np.diff(z, axis=0), axis=1), np.linalg.norm(np.diff(xy, axis=0), axis=1)
    out = np.zeros((T, 10))
    out[:, :2] = z
    out[:, 2] = np.linalg.norm(xy - xy[0], axis=1)
    z_step = (raw - raw.mean()) / raw.std()
    out[:-1, 3] = z_step
    for t in range(T - 2):
        a, b = z[t] - z[t + 1], z[t + 2] - z[t + 1]
        out[t, 4] = np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))
    from_start = np.linalg.norm(z - z[0], axis=1)
    out[:, 5] = from_start / np.concatenate([[99], np.cumsum(step)])
    out[:, 6] = from_start**2 / np.concatenate([[99], np.cumsum(step**2)])
    out[:-1, 7:9] = np.log(np.abs(np.diff(z, axis=0)))
    out[:-2, 9] = np.log(np.abs(np.diff(z_step)))
    return out


def test_m3_features_equal_a_plain_reference():
    xy = np.cumsum(np.random.default_rng(0).normal(size=(50, 2)), axis=0)
    padded = torch.zeros(1, 60, 2)
    padded[0, :50] = torch.as_tensor(xy, dtype=torch.float32)
    feats, _ = features(padded, torch.tensor([50]), kind="m3")
    assert np.allclose(feats[0, :50].numpy(), original_features(xy), atol=2e-3)
