"""Camera and point spread function from images: known answers of simulated cameras, and real images."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT
from movies import PSF_PX, simulate_movie

from main.images.camera import distribution, estimate_camera, find_step
from main.images.localise import Camera, find_slope
from main.images.psf import estimate_psf
from main.images.tiff import read_movie

BLOCKS = ROOT.parent / "shared" / "data" / "images" / "smlm_blocks"


# A camera without multiplication tells its gain where single photoelectrons are seen, or by the skewness of very many
# pixels; with it, from .5 photons of background on, also at a gain of half a count.
@pytest.mark.parametrize(
    ("camera", "background", "gain", "offset", "read_noise"),
    [
        ("emccd", 0.5, 5.0, 100.0, 1.0),
        ("emccd", 2.0, 50.0, 500.0, 0.6),
        ("emccd", 8.0, 5.0, 300.0, 1.0),
        ("emccd", 20.0, 20.0, 300.0, 0.5),
        ("scmos", 0.5, 50.0, 500.0, 0.6),
        ("scmos", 4.0, 20.0, 300.0, 0.4),
    ],
)
def test_camera_is_found(camera, background, gain, offset, read_noise):
    frames, _ = simulate_movie(
        300, background=background, gain=gain, offset=offset, read_noise=read_noise, camera=camera
    )
    found = estimate_camera(frames)
    assert found.kind == camera and found.excess.identified
    excess = 2 if camera == "emccd" else 1
    assert found.gain_excess.identified
    assert found.gain_excess.value == pytest.approx(gain * excess, rel=0.05)
    assert abs(found.gain.value - gain) < 4 * found.gain.error
    assert abs(found.offset.value - offset) < 4 * found.offset.error
    assert abs(found.background.value - background) < 4 * found.background.error
    assert found.misfit < 1.5
    assert f"gain {found.gain}" in found.describe()


def test_what_is_not_known_is_said():
    frames, _ = simulate_movie(16, background=3.0, gain=0.5, offset=100.0, read_noise=1.5)
    found = estimate_camera(frames)
    assert not found.gain_excess.identified and not found.excess.identified
    assert "not identified" in found.describe()
    assert abs(found.gain_excess.value - 0.5) < 4 * found.gain_excess.error


@pytest.mark.parametrize(("d", "background"), [(0.02, 2.0), (0.1, 8.0)])
def test_spots_tell_the_gain_that_the_background_does_not(d, background):
    frames, _ = simulate_movie(500, d=d, background=background, gain=0.5, read_noise=1.5)
    slope = find_slope(frames, Camera(100.0, 0.8, 1.5, 1.0), PSF_PX, 11)  # 60 % wrong
    assert slope[0] == pytest.approx(0.5, rel=0.08) and abs(slope[0] - 0.5) < 3 * slope[1]
    found = estimate_camera(frames, slope)
    assert found.gain_excess.identified and found.gain_excess.value == pytest.approx(0.5, rel=0.08)


def test_spots_that_move_do_not_tell_the_gain():
    frames, _ = simulate_movie(200, d=2.0)
    assert find_slope(frames, Camera(100.0, 2.0, 1.5, 1.0), PSF_PX, 11) is None


def test_an_uneven_background_is_flattened():
    frames, _ = simulate_movie(200, background=8.0, gain=5.0, offset=300.0, read_noise=1.0, camera="emccd", uneven=0.3)
    found = estimate_camera(frames)
    assert found.kind == "emccd" and found.gain_excess.value == pytest.approx(10.0, rel=0.06)


@pytest.mark.parametrize("excess", [1.0, 2.0])
def test_distribution_has_the_moments_of_the_camera(excess):
    gain, background, read, offset = 2.0, 3.0, 0.8, 100.0
    variance = gain**2 * (excess * background + read**2)
    share = read**2 / (excess * background + read**2)
    theta = np.array([offset + gain * background, np.log(variance), np.log(gain), np.log(share / (1 - share))])
    centres = np.arange(80.0, 200.0, 0.5)
    probability = distribution(theta, excess, centres, 0.5)
    mean = (probability * centres).sum()
    assert probability.sum() == pytest.approx(1, abs=1e-4)
    assert mean == pytest.approx(106.0, abs=0.01)
    assert (probability * (centres - mean) ** 2).sum() == pytest.approx(variance + 0.25 / 12, rel=0.01)
    third = gain**3 * background * (1 if excess == 1 else 6)
    assert (probability * (centres - mean) ** 3).sum() == pytest.approx(third, rel=0.03)


def test_images_that_tell_nothing():
    assert estimate_camera(torch.full((16, 64, 64), 7.0)) is None
    assert estimate_camera(torch.zeros(4, 24, 24)) is None


def test_step_between_counts():
    assert find_step(np.array([16.0, 48.0, 32.0])) == 16
    assert find_step(np.array([1.0, 2.5])) == 0


def draw_table(d, psf=0.85, n=200, frames=20, seed=2):
    """Tracks of Brownian motion with blur: px, as localised without bias."""
    rng = np.random.default_rng(seed)
    d = np.broadcast_to(d, (n,))
    sub = np.cumsum(rng.normal(size=(n, frames * 20, 2)) * np.sqrt(2 * d / 20)[:, None, None], axis=1)
    sub = sub.reshape(n, frames, 20, 2)
    error = rng.normal(0, 0.05, (n, frames, 2))
    position = sub.mean(2) + error
    width = np.sqrt(psf**2 + sub.var(2).mean(-1)) + rng.normal(0, 0.04, (n, frames))
    table = pd.DataFrame({"track_id": np.repeat(np.arange(n), frames), "frame": np.tile(np.arange(frames), n)})
    table["x"], table["y"], table["width"] = position[..., 0].ravel(), position[..., 1].ravel(), width.ravel()
    return table.assign(x_err=0.05, y_err=0.05, width_err=0.04)


@pytest.mark.parametrize(("d", "tolerance"), [(0.01, 0.02), (0.5, 0.03), (np.geomspace(0.005, 3, 200), 0.02)])
def test_psf_of_molecules_that_move(d, tolerance):
    found = estimate_psf(draw_table(d))
    assert found.identified and found.value == pytest.approx(0.85, rel=tolerance)
    assert abs(found.value - 0.85) < 4 * found.error


def test_psf_is_not_that_of_molecules_out_of_focus():
    mixed = [draw_table(0.05), draw_table(0.05, psf=1.3, n=80, seed=3).assign(track_id=lambda t: t["track_id"] + 1_000)]
    assert estimate_psf(pd.concat(mixed)).value == pytest.approx(0.85, rel=0.03)


def test_psf_without_tracks():
    found = estimate_psf(draw_table(0.1, n=1, frames=3))
    assert not found.identified and np.isnan(found.value)


@pytest.mark.skipif(not BLOCKS.is_dir(), reason=f"no real images in {BLOCKS}")
@pytest.mark.parametrize(("acquisition", "low", "high"), [("104", 114, 126), ("70", 108, 122), ("83", 44, 51)])
def test_real_blocks_are_of_one_emccd(acquisition, low, high):
    blocks = [read_movie(path)[0] for path in sorted(BLOCKS.glob(f"*_{acquisition}_01__*.tif"))]
    found = estimate_camera(np.stack(blocks))
    assert found.kind == "emccd" and found.excess.identified
    assert low < found.gain_excess.value < high
    assert 450 < found.offset.value < 700
