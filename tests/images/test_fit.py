"""The fit of spots: errors against the Cramer-Rao bound, photons, derivatives, what is trusted."""

import math

import pytest
import torch

from main.images.fit import SpotModel, fit_spots
from simulations.microscope import Molecules, add_camera_noise, render

SIZE, N = 13, 4_000


def draw_spots(photons, background=5.0, read_noise=1.5, camera="scmos", psf=0.85, n=N):
    """Windows in photons of molecules at rest near the middle, and their positions (n, 2)."""
    o, g = torch.ones(n), torch.Generator().manual_seed(5)
    light = torch.full((n, 1), float(photons))
    known = Molecules(o * 0, light, o * background, o * psf / 10, o, o * 2, o * 100, o * read_noise, camera=camera)
    place = torch.rand(n, 2, generator=g) - 0.5
    mean = render(place[:, None, None], known, SIZE) + background
    return (add_camera_noise(mean, known, g)[:, 0] - 100) / 2, place


def bound(photons, background, noise, psf=0.85):
    """Cramer-Rao bound of x, width and photons at the middle of the window, from the derivatives of the mean image."""

    def mean(theta):
        return SpotModel(theta[None], SIZE).mean[0]

    theta = torch.tensor([0.01, -0.02, psf, photons, background], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(mean, theta)  # (P, P, 5), independent of SpotModel.jacobian
    flat = jacobian.reshape(-1, 5)
    information = flat.T @ (flat / (mean(theta) + noise).reshape(-1, 1))
    return torch.linalg.inv(information).diagonal().sqrt()[[0, 2, 3]]


@pytest.mark.parametrize(
    ("photons", "background", "camera"),
    [(300.0, 5.0, "scmos"), (1_000.0, 0.5, "scmos"), (300.0, 5.0, "emccd"), (1_500.0, 20.0, "emccd")],
)
def test_errors_reach_the_bound(photons, background, camera):
    excess = 2.0 if camera == "emccd" else 1.0
    windows, place = draw_spots(photons, background, camera=camera)
    fit = fit_spots(windows, 1.5**2, excess)
    assert fit.trusted(SIZE / 2).float().mean() > 0.995
    best = bound(photons, background, 1.5**2 / excess) * math.sqrt(excess)
    errors = torch.stack([fit.x - place[:, 0], fit.width - 0.85, fit.photons - photons])
    rms = errors.square().mean(1).sqrt()
    torch.testing.assert_close(rms.double(), best, rtol=0.05, atol=0)
    said = torch.stack([fit.x_err, fit.width_err, fit.photons_err]).square().mean(1).sqrt()
    torch.testing.assert_close(said.double(), best, rtol=0.05, atol=0)
    assert fit.photons.mean().item() == pytest.approx(photons, rel=0.02)
    assert fit.width.mean().item() == pytest.approx(0.85, rel=0.01)
    assert fit.background.mean().item() == pytest.approx(background, rel=0.02)
    assert abs((fit.x - place[:, 0]).mean()) < 4 * best[0] / N**0.5


def test_derivatives_are_those_of_the_mean():
    theta = torch.tensor([[0.3, -0.6, 1.1, 250.0, 4.0]], dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(lambda t: SpotModel(t, SIZE).mean[0].flatten(), theta)[:, 0]
    torch.testing.assert_close(SpotModel(theta, SIZE).jacobian()[0], expected.T, rtol=1e-8, atol=1e-8)


def test_elongation_and_shear_are_those_of_the_path():
    n = 500
    o = torch.ones(n)
    known = Molecules(o * 0, torch.full((n, 1), 2_000.0), o * 2, o * 0.085, o, o, o * 0, o * 0)
    along = torch.linspace(-0.8, 0.8, 9)
    path = torch.stack([along, 0.5 * along], dim=-1)[None, None].expand(n, 1, 9, 2)
    g = torch.Generator().manual_seed(1)
    fit = fit_spots(add_camera_noise(render(path, known, SIZE) + 2, known, g)[:, 0], 0.0)
    variance = float(along.var(correction=0))
    assert fit.elongation.mean().item() == pytest.approx(variance * (1 - 0.25) / 2, rel=0.1)
    assert fit.shear.mean().item() == pytest.approx(variance * 0.5, rel=0.1)


def test_windows_without_a_spot_are_not_trusted():
    windows, _ = draw_spots(1e-6, n=2_000)
    assert fit_spots(windows, 1.5**2).trusted(SIZE / 2).float().mean() < 0.15


def test_fit_of_nothing_stays_finite():
    flat = torch.zeros(4, SIZE, SIZE)
    fit = fit_spots(flat, 0.0)
    assert all(torch.isfinite(values).all() for values in vars(fit).values())
