"""`tracewise images`: blocks in, D with intervals out; files and options that cannot be used."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from main.images.blocks import check_block, find_blocks, find_first_name
from main.images.predict import WARNINGS, analyse, detect_blocks, share_camera
from main.predict_images import main
from main.utils.errors import InputError
from simulations.image_sets import make_part
from simulations.images import write_tiff

REAL = Path(__file__).parents[3] / "shared" / "data" / "images" / "smlm_blocks"
CAMERA = "gain=2,offset=100,read=1.6"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Blocks of the set `seed_x400` (one camera): D from .4 to 8 um^2/s; the true D by file name."""
    path = tmp_path_factory.mktemp("blocks")
    part = make_part("seed_x400", 0, 250, 4711)
    truth = {}
    for number, row in enumerate(range(0, 100, 5)):
        name = f"set_block-{number + 1:03d}-1.tif"
        write_tiff(path / name, part["images"][row].numpy().astype(np.uint16))
        truth[name] = float(part["d"][row])
    return path, truth


@pytest.fixture(scope="module")
def results(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "out"
    assert main(["-r", str(folder[0]), "-a", "--out", str(out)]) == 0
    return out


def test_d_agrees_with_truth(folder, results):
    found = json.loads((results / "predictions.json").read_text())
    assert list(found) == sorted(folder[1])
    d, low, high = (np.array([row[name] for row in found.values()]) for name in ("d_um2_per_s", "lo", "hi"))
    truth = np.array([folder[1][name] for name in found])
    off = np.log10(d / truth)
    assert abs(np.median(off)) < 0.06
    assert np.sqrt(np.mean(off**2)) < 0.2
    assert np.all((low < d) & (d < high))
    path_low, path_high = (np.array([row[name] for row in found.values()]) for name in ("d_path_lo", "d_path_hi"))
    assert np.mean((path_low < truth) & (truth < path_high)) > 0.7
    assert np.allclose(np.load(results / "predictions.npy"), np.stack([d, low, high], axis=1), rtol=1e-5)
    gain = json.loads((results / "run.json").read_text())["optics"][0]["camera"]["gain"]  # photons are as good as it
    assert np.median([row["photons"] for row in found.values()]) * gain == pytest.approx(400 * 2, rel=0.15)
    assert np.median([row["psf_sigma_um"] for row in found.values()]) == pytest.approx(0.2 / 2.355, rel=0.05)


def test_files_and_record(folder, results):
    names = {path.name for path in results.iterdir()}
    assert names == {
        *("predictions.json", "predictions.npy", "run.json", "captions.json"),
        *("predictions.svg", "predictions.png", "images.svg", "images.png"),
    }
    record = json.loads((results / "run.json").read_text())
    assert record["units"]["d"] == "um^2/s"
    assert len(record["inputs"]) == record["counts"]["files"] == len(folder[1])
    assert set(record["counts"]["warnings"]) <= set(WARNINGS)
    gain = record["optics"][0]["camera_estimate"]["gain"]
    assert abs(gain["value"] - 2.0) < 5 * gain["error"]
    assert gain["identified"] == ("camera_not_identified" not in record["counts"]["warnings"])


def test_first_block_name_and_told_optics(folder, tmp_path, capsys):
    options = ["--camera", CAMERA, "--psf-sigma", "0.085", "--exposure", "1", "--out", str(tmp_path / "out")]
    assert main(["-r", str(folder[0]), *options]) == 0
    assert f"only block-001: 1 of {len(folder[1])} files" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert list(found) == ["set_block-001-1.tif"]
    assert main(["-r", str(folder[0]), *options]) == 2  # the folder exists
    assert main(["-r", str(folder[0]), *options, "--overwrite"]) == 0


def test_without_units_d_is_in_pixels_and_shapes_may_differ(tmp_path):
    part = make_part("seed_x400", 20, 2, 5)["images"].numpy().astype(np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", part[0], photometric="minisblack")
    tifffile.imwrite(tmp_path / "in" / "b.tif", part[1][:5, 14:50, 10:54], photometric="minisblack")
    tifffile.imwrite(tmp_path / "in" / "c.tif", np.full((4, 24, 24), 100, np.uint16), photometric="minisblack")
    assert main(["-r", str(tmp_path / "in"), "-a", "--camera", CAMERA, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [found[name]["n_frames"] for name in ("a.tif", "b.tif", "c.tif")] == [16, 5, 4]
    assert 0.3 < found["a.tif"]["d_px2_per_frame"] / 2.0 < 3
    assert found["c.tif"]["d_px2_per_frame"] is None
    assert found["c.tif"]["warnings"][0] == "no_molecule"


def test_second_molecule_is_reported(tmp_path):
    shares = []
    for name in ("two", "blur"):
        for i, images in enumerate(make_part(name, 0, 30, 77)["images"].numpy().astype(np.uint16)):
            write_tiff(tmp_path / f"{name}{i}.tif", images)
        found = detect_blocks([check_block(path) for path in sorted(tmp_path.glob(f"{name}*.tif"))])
        shares.append(np.mean([each.n_second >= 4 for each in found]))
    assert shares[0] > 0.5
    assert shares[1] < 0.1


def test_blocks_of_different_cameras_are_told_apart(folder, tmp_path):
    assert share_camera(detect_blocks([check_block(path) for path in find_blocks(folder[0])]))
    for i, images in enumerate(make_part("wide", 0, 12, 78)["images"].numpy().astype(np.uint16)):
        write_tiff(tmp_path / f"{i}.tif", images)
    assert not share_camera(detect_blocks([check_block(path) for path in find_blocks(tmp_path)]))


def test_first_name_is_that_of_the_lowest_number():
    assert find_first_name([Path("b_block-010-2.tif"), Path("z_block-002-1.tif")]) == "block-002"
    assert find_first_name([Path("movie10.tif"), Path("movie9.tif")]) == "movie9"


def save_block(path, images, **options):
    tifffile.imwrite(path, images, photometric="minisblack", **options)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no folder", "does not exist"),
        ("no tif", "holds no .tif file"),
        ("few frames", "3 frames"),
        ("one image", "frame"),
        ("colours", "colours"),
        ("truncated", "bad.tif: is damaged or not complete"),
        ("text", "is no TIFF file"),
        ("two pixel sizes", "declares --pixel-size"),
    ],
)
def test_bad_files_are_refused(tmp_path, capsys, kind, message):
    path = tmp_path / "in" / "bad.tif"
    images = np.full((8, 32, 32), 100, np.uint16)
    if kind != "no folder":
        path.parent.mkdir()
    if kind == "few frames":
        save_block(path, images[:3])
    elif kind == "one image":
        save_block(path, images[0])
    elif kind == "colours":
        tifffile.imwrite(path, np.zeros((8, 32, 32, 3), np.uint8), photometric="rgb")
    elif kind == "truncated":
        save_block(path, images)
        path.write_bytes(path.read_bytes()[:-3000])
    elif kind == "text":
        path.write_text("no image")
    elif kind == "two pixel sizes":
        for name, size in (("a.tif", 0.1), ("bad.tif", 0.2)):
            metadata = {"axes": "TYX", "unit": "um"}
            tifffile.imwrite(
                path.with_name(name), images, imagej=True, resolution=(1 / size, 1 / size), metadata=metadata
            )
    assert main(["-r", str(path.parent), "-a", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--pixel-size", "-1"],
        ["--frame-interval", "nan"],
        ["--exposure", "1.5"],
        ["--psf-sigma", "9"],
        ["--camera", "gain=2"],
        ["--camera", "gain=0,offset=1"],
        ["--camera", "gain=2,offset=1,excess=3"],
        ["--weights", "nothing"],
        ["--weights", "default"],  # weights of tracks
    ],
)
def test_bad_options_are_refused(folder, tmp_path, capsys, options):
    try:
        code = main(["-r", str(folder[0]), "--out", str(tmp_path / "out"), *options])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_folder_of_other_files_is_not_replaced(folder, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["-r", str(folder[0]), "--out", str(tmp_path), "--overwrite"]) == 2
    assert "holds files but no results of predict_images.py" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_mutated_files_are_read_or_refused(folder, tmp_path):
    original = sorted(folder[0].iterdir())[0].read_bytes()
    rng = np.random.default_rng(17)
    path, refused = tmp_path / "mutated.tif", 0
    for number in range(200):
        data = bytearray(original)
        ends = (len(data), 1024)[number % 2]  # the header is small, and matters most
        at = int(rng.integers(ends))
        kind = number % 3
        if kind == 0:
            for place in rng.integers(0, ends, 8):
                data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 200))]
        else:
            data = data[:at]
        path.write_bytes(data)
        try:
            check_block(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 60


@pytest.mark.skipif(not REAL.is_dir(), reason="the real blocks are not here")
def test_real_blocks():
    """Mean squared displacement of fitted positions against the value in the name: the same fit by another program.

    Three names (.239, .195 and .009) differ from all that is in their images, one block has no molecule at its centre.
    """
    blocks = [check_block(path) for path in find_blocks(REAL)]
    predictions, _ = analyse(blocks, list(range(len(blocks))), exposure=1.0)
    named = np.array([float(re.search(r"block-\d+-[\d.]+-([\d.]+)-", b.name).group(1)) for b in blocks])
    ratio = np.array([fit_msd(p.position) for p in predictions])[named > 0] / named[named > 0]
    assert len(ratio) == 29
    assert np.sum((ratio > 0.5) & (ratio < 2)) >= 24
    assert np.median(ratio) == pytest.approx(1.0, abs=0.2)


def fit_msd(position: np.ndarray) -> float:
    """D from the line through the origin of the mean squared displacement at all lags, px^2/frame."""
    lags = np.arange(1, len(position))
    msd = np.array([np.nanmean(((position[lag:] - position[:-lag]) ** 2).sum(1)) for lag in lags])
    known = np.isfinite(msd)
    return float((msd * lags)[known].sum() / (lags[known] ** 2).sum() / 4)
