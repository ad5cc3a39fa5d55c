"""Images of diffusing molecules: photons, blur, noise, reproducibility, data sets on disk."""

import json

import numpy as np
import pytest
import tifffile
import torch

from simulations import images
from simulations.image_sets import SETS, draw_published_tracks, fit_line_through_origin, make_image_set
from simulations.image_stream import ImagePrior, ImageStream
from simulations.microscope import (
    Molecules,
    add_camera_noise,
    count_substeps,
    describe_paths,
    render,
    simulate_images,
    simulate_paths,
)


def molecules(n, d, photons=300.0, background=5.0, frames=16, exposure=1.0, camera="scmos"):
    o = torch.ones(n)
    light = torch.full((n, frames), photons)
    return Molecules(o * d, light, o * background, o * 0.085, o * exposure, o * 2, o * 100, o * 1.5, camera=camera)


def paths_of(known, seed=1):
    return simulate_paths(known, int(count_substeps(known)[0]), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("exposure", [1.0, 0.4])
@pytest.mark.parametrize("d", [0.1, 10.0])
def test_blur_and_steps_are_those_of_brownian_motion(d, exposure):
    known = molecules(6_000, d, exposure=exposure)
    position, scatter = describe_paths(paths_of(known), known)
    assert scatter[..., :2].mean().item() == pytest.approx(d * exposure / 3, rel=0.01)
    assert position.diff(dim=1).var().item() == pytest.approx(2 * d * (1 - exposure / 3), rel=0.01)
    first, second = position.diff(dim=1)[:, :-1], position.diff(dim=1)[:, 1:]
    assert (first * second).mean().item() == pytest.approx(d * exposure / 3, rel=0.07)


@pytest.mark.parametrize("d", [1e-3, 1.0, 8.0])
def test_images_hold_all_photons_and_the_width_of_the_path(d):
    known = molecules(300, d)
    path = paths_of(known)
    path -= path.mean((2), keepdim=True)  # every frame centred, so that nothing leaves the image
    mean = render(path, known, 41)
    torch.testing.assert_close(mean.sum((2, 3)), known.photons, rtol=1e-3, atol=0)
    c = torch.arange(41) - 20.0
    width = (mean.sum(2) * c**2).sum(-1) / mean.sum((2, 3))
    _, scatter = describe_paths(path, known)
    expected = 0.85**2 + 1 / 12 + scatter[..., 0]
    torch.testing.assert_close(width.mean(), expected.mean(), rtol=5e-3, atol=0)


def test_few_substeps_show_what_many_do():
    known = molecules(200, 8.0)
    widths = []
    for n in (int(count_substeps(known)[0]), 200):
        path = simulate_paths(known, n, torch.Generator().manual_seed(n))
        path -= path.mean(2, keepdim=True)
        mean = render(path, known, 41)
        peak = mean.flatten(2).amax(2)
        widths.append(torch.stack([peak.mean(), peak.std()]))
    torch.testing.assert_close(*widths, rtol=0.03, atol=0)


@pytest.mark.parametrize("camera", ["poisson", "scmos", "emccd"])
@pytest.mark.parametrize("exact", [True, False])
def test_camera_noise_has_its_moments(camera, exact):
    known = molecules(100, 1.0, photons=0.0, background=3.0, camera=camera)
    mean = torch.full((100, 16, 20, 20), 3.0)
    counts = (add_camera_noise(mean, known, torch.Generator().manual_seed(1), exact).double() - 100) / 2
    excess, read = (2.0 if camera == "emccd" else 1.0), (0.0 if camera == "poisson" else 1.5)
    third = (6.0 if camera == "emccd" else 1.0) * 3.0
    off = counts - counts.mean()
    assert counts.mean().item() == pytest.approx(3.0, rel=0.005)
    assert off.square().mean().item() == pytest.approx(excess * 3 + read**2, rel=0.01)
    assert (off**3).mean().item() == pytest.approx(third, rel=0.08)


def test_noise_does_not_tell_d():
    """A line fitted to noise and light of the empty border explains nothing of log10 D."""
    batches = [ImageStream(ImagePrior(sixteen=1.0), seed=3).simulate_batch(0, i) for i in range(20)]
    level, light, d = [], [], []
    for batch in batches:
        photons = (batch["images"] - batch["offset"][:, None, None, None]) / batch["gain"][:, None, None, None]
        border = photons[:, :, 0].flatten(1)
        level.append(border.std(1).log())
        light.append(photons.sum((1, 2, 3)).clamp(min=1).log())
        d.append(batch["d"].log10())
    y = torch.cat(d).double()
    x = torch.stack([torch.cat(level), torch.cat(light), torch.ones(len(y))], 1).double()
    residual = y - x @ torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    assert 1 - residual.var() / y.var() < 0.02


def test_stream_resumes_where_it_stopped():
    first = iter(stream := ImageStream(batch=4, seed=1, chunk=3))
    for _ in range(4):
        next(first)
    state = stream.state_dict()
    expected = next(first)
    again = ImageStream(batch=4, seed=1, chunk=3)
    again.load_state_dict(state)
    found = next(iter(again))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("name", SETS)
def test_sets_are_whole_counts_and_reproducible(name):
    part = next(make_image_set(name, n=4))
    again = next(make_image_set(name, n=4))
    counts = part["images"]
    assert counts.shape[1:] == (16, 64, 64) and torch.equal(counts, counts.round()) and counts.min() >= 0
    assert torch.equal(counts, again["images"])
    assert ("label" in part) == (SETS[name].prior is None)


def test_published_labels_are_chance():
    """All tracks of the original rule have one D, whatever their label is; the label is the line through the origin."""
    paths, labels = draw_published_tracks(np.random.default_rng(0))
    steps = np.diff(paths.reshape(250, 160, 2), axis=1)
    d = (steps**2).mean((1, 2)) / 2 / 0.001 / 1e3
    assert np.corrcoef(d, labels)[0, 1] < 0.3 and d.mean() == pytest.approx(20, rel=0.05)
    np.testing.assert_array_equal(np.floor(labels), np.repeat(np.arange(1, 51), 5))
    np.testing.assert_allclose(fit_line_through_origin(paths.reshape(250, 160, 2)) / 10, labels)


def test_windows_follow_the_molecule():
    known = molecules(50, 0.5)
    made = simulate_images(known, 21, torch.Generator().manual_seed(2), windows=True)
    far = (made["position"] - made["centre"]).norm(dim=-1) > 4
    assert far.float().mean() < 0.03


def test_unknown_set_is_refused():
    with pytest.raises(ValueError, match="expected one of wide"):
        next(make_image_set("none"))


def test_data_set_on_disk(tmp_path, capsys):
    options = ["--set", "blur", "--sequences", "3", "--seed", "5"]
    assert images.main([*options, "--out", str(tmp_path / "a")]) == 0
    assert images.main([*options, "--out", str(tmp_path / "b"), "--workers", "2"]) == 0
    names = [f"blur-{i:05d}.tif" for i in range(3)]
    truth = json.loads((tmp_path / "a" / "truth.json").read_text())
    assert list(truth["sequences"]) == names and 1 <= truth["sequences"][names[0]]["d"] <= 10
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        with tifffile.TiffFile(tmp_path / "a" / name) as file:
            assert file.asarray().shape == (16, 64, 64) and file.imagej_metadata["finterval"] == 0.01
    assert images.main([*options, "--out", str(tmp_path / "a")]) == 2
    assert "exists" in capsys.readouterr().err
    (tmp_path / "a" / names[1]).unlink()
    assert images.main([*options, "--out", str(tmp_path / "a"), "--resume"]) == 0
    assert (tmp_path / "a" / names[1]).read_bytes() == (tmp_path / "b" / names[1]).read_bytes()
    assert images.main(["--set", "blur", "--sequences", "0", "--out", str(tmp_path / "c")]) == 2


def test_defocus_differs_between_frames():
    made = next(make_image_set("defocus", 6))
    assert made["psf_sigma"].shape == (6, 16) and (made["psf_sigma"].std(1) > 0).all()


def test_a_second_molecule_adds_its_light():
    chosen = SETS["two"]
    one, two = next(make_image_set("em", 6, chosen.seed)), next(make_image_set("two", 6))
    assert chosen.prior == SETS["em"].prior
    torch.testing.assert_close(one["photons"], two["photons"])
    light = [
        ((s["images"] - s["offset"][:, None, None, None]) / s["gain"][:, None, None, None]).sum() for s in (one, two)
    ]
    assert light[1] - light[0] > 0.8 * two["photons"].sum()
