"""From a movie to tracks: what is found, errors against truth, linking, the command, real images."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from helpers import ROOT
from movies import PSF_PX, simulate_movie
from scipy.spatial import cKDTree

from main.images.linking import find_radius, link_spots, measure_steps
from main.images.localise import Camera, localise, localise_frames
from main.images.tiff import open_movie
from main.localise import main

BILAYER = ROOT.parent / "shared" / "data" / "images" / "sptnet_slb_sa_af647.tif"
TRUE_CAMERA = Camera(100.0, 2.0, 1.5, 1.0)
ALONE_PX, INSIDE_PX, FOUND_PX = 4.0, 2.5, 1.0


@pytest.fixture(scope="module")
def movie_300(tmp_path_factory):
    """A movie of 7 molecules of 300 photons, D = .05 px^2/frame, its true positions, and what was localised."""
    path = tmp_path_factory.mktemp("movie") / "movie.tif"
    frames, position = simulate_movie(300, n=7, seed=4)
    tifffile.imwrite(path, frames.numpy().astype(np.uint16))
    with open_movie(path) as movie:
        return path, position.numpy(), localise(movie, TRUE_CAMERA)


def compare(table, position):
    """Share of lone molecules that were found, share of spots that are molecules, and errors of spots of lone ones."""
    found, right, rows = [], [], []
    for frame, spots in table.groupby("frame"):
        true = position[:, frame]
        xy = spots[["x", "y"]].to_numpy()
        alone = cKDTree(true).query(true, k=2)[0][:, 1] > ALONE_PX
        lone = alone & ((true > INSIDE_PX - 0.5) & (true < 63.5 - INSIDE_PX)).all(1)
        found.append(cKDTree(xy).query(true)[0][lone] < FOUND_PX)
        distance, nearest = cKDTree(true).query(xy)
        right.append(distance < FOUND_PX)
        kept = right[-1] & lone[nearest]
        rows.append(spots[kept].assign(true_x=true[nearest[kept], 0], true_y=true[nearest[kept], 1]))
    return np.concatenate(found).mean(), np.concatenate(right).mean(), pd.concat(rows)


def test_molecules_are_found_with_the_errors_that_are_said(movie_300):
    _, position, found = movie_300
    recall, precision, lone = compare(found.table, position)
    assert recall > 0.985 and precision > 0.98 and len(lone) > 1_500
    for axis in "xy":
        z = (lone[axis] - lone[f"true_{axis}"]) / lone[f"{axis}_err"]
        assert abs(z.mean()) < 4 / len(z) ** 0.5
        core = z[z.abs() < 4]
        assert core.std() == pytest.approx(1, abs=0.06) and (z.abs() >= 4).mean() < 0.01
    assert lone["photons"].mean() == pytest.approx(300, rel=0.02)
    assert lone["background"].median() == pytest.approx(5, rel=0.02)
    assert found.psf.identified and found.psf.value == pytest.approx(PSF_PX, rel=0.03)


def test_tracks_give_the_diffusion_coefficient(movie_300):
    _, _, found = movie_300
    table = found.table
    same = (table["track_id"].diff() == 0) & (table["frame"].diff() == 1)
    steps = table[["x", "y"]].diff()[same].to_numpy()
    noise = (table[["x_err", "y_err"]] ** 2).mean(axis=1).mean()
    d = (steps.var() - 2 * noise) / 2 / (1 - 1 / 3)
    assert d == pytest.approx(0.05, abs=4 * 0.05 * (2 / steps.size) ** 0.5 * 2)
    assert table["track_id"].nunique() < 60  # 7 molecules, of which some touch the border or each other now and then


def test_noise_alone_gives_few_spots():
    frames, _ = simulate_movie(300, photons=1e-6)
    n = sum(len(localise_frames(part, TRUE_CAMERA, PSF_PX, 9)[0]) for part in frames.split(32))
    assert n / 300 < 0.03


def test_close_molecules_do_not_disturb_each_other():
    frames, position = simulate_movie(200, d=0.0, n=2, photons=1_000.0)
    shifted = torch.roll(frames - 100.0, 5, dims=2) + frames  # every molecule twice, 5 px apart
    table, _ = localise_frames(shifted, Camera(100.0, 2.0, 2.1, 1.0), PSF_PX, 9)
    x = position[:, 0, 0].numpy()
    for expected in [*x, *(x + 5)]:
        if 3 < expected < 61:
            near = table[(table["x"] - expected).abs() < 1]
            assert abs(near["x"].mean() - expected) < 0.02 and len(near) > 195


def test_a_background_that_is_uneven_gives_no_spots():
    frames, _ = simulate_movie(64, photons=1e-6, background=20.0, uneven=0.5)
    assert len(localise_frames(frames, TRUE_CAMERA, PSF_PX, 9)[0]) < 0.1 * 64


def test_linking_joins_what_is_near_and_bridges_gaps():
    frame = np.array([0, 0, 1, 1, 2, 4, 4, 5, 8])
    position = np.array([[0, 0], [10, 0], [1, 0], [9, 0], [1, 1], [1.5, 1], [9, 1], [9, 0], [9, 0]], float)
    assert link_spots(frame, position, 1.5).tolist() == [0, 1, 0, 1, 0, 0, 1, 1, 1]
    assert link_spots(frame, position, 1.5, max_gap=1).tolist() == [0, 1, 0, 1, 0, 0, 2, 2, 3]
    assert link_spots(frame, position, 0.5).tolist() == [0, 1, 2, 3, 4, 4, 5, 6, 6]  # reach grows with the gap


def test_linking_takes_the_shortest_way_for_all_together():
    frame = np.array([0, 0, 1, 1])
    position = np.array([[0, 0], [1, 0], [1.1, 0], [2.1, 0]], float)
    # the second spot is nearest to the third, but then the first would lose its own
    assert link_spots(frame, position, 2.0).tolist() == [0, 1, 0, 1]
    assert link_spots(frame, position, 1.0).tolist() == [0, 1, 1, 2]
    assert link_spots(np.empty(0, int), np.empty((0, 2)), 1.0).tolist() == []


@pytest.mark.parametrize("d", [0.02, 0.5])
def test_search_radius_follows_the_steps(d):
    rng = np.random.default_rng(1)
    path = rng.uniform(0, 200, (30, 1, 2)) + np.cumsum(rng.normal(0, (2 * d) ** 0.5, (30, 50, 2)), axis=1)
    frame = np.tile(np.arange(50), 30)
    order = np.argsort(frame, kind="stable")
    frame, position, true = frame[order], path.reshape(-1, 2)[order], np.repeat(np.arange(30), 50)[order]
    radius = find_radius(frame, position, 200**2)
    assert 3 * (2 * d) ** 0.5 < radius < max(1.01, 4.5 * (2 * d) ** 0.5)
    track = link_spots(frame, position, radius)
    steps = measure_steps(frame, position, track)
    assert (steps**2).mean() / 4 == pytest.approx(d, rel=0.1)
    kept = pd.DataFrame({"track": track, "true": true}).groupby("track")["true"].agg(lambda t: t.value_counts().iloc[0])
    assert kept.sum() / len(true) > 0.95  # where two meet, nothing tells them apart


def run(*arguments, capsys):
    code = main([str(a) for a in arguments])
    return code, capsys.readouterr()


def test_command_writes_a_table_that_infer_reads(movie_300, tmp_path, capsys):
    path, _, _ = movie_300
    out = tmp_path / "tracks.csv"
    options = ("--pixel-size", 0.1, "--frame-interval", 0.01)
    code, text = run(path, "--out", out, *options, capsys=capsys)
    assert code == 0, text.err
    assert "spots" in text.out and "sigma 0.08" in text.out and "gain" in text.out
    table = pd.read_csv(out)
    assert list(table) == (
        ["track_id", "frame", "x_um", "y_um", "x_err_um", "y_err_um", "width_um", "photons", "background", "time_s"]
    )
    check = subprocess.run([sys.executable, ROOT / "main" / "check.py", out], capture_output=True, text=True, cwd=ROOT)
    assert check.returncode == 0, check.stderr
    assert "um" in check.stdout and "0.01" in check.stdout
    assert run(path, "--out", out, *options, capsys=capsys)[0] == 2
    assert run(path, "--out", out, "--overwrite", "--camera", "100,2,1.5", capsys=capsys)[0] == 0
    assert list(pd.read_csv(out))[2:4] == ["x_px", "y_px"]


def test_a_declared_calibration_is_used(movie_300, tmp_path, capsys):
    frames = tifffile.imread(movie_300[0])[:40]
    path, out = tmp_path / "movie.tif", tmp_path / "tracks.parquet"
    metadata = {"axes": "TYX", "unit": "um", "finterval": 0.02}
    tifffile.imwrite(path, frames, imagej=True, resolution=(10, 10), metadata=metadata)
    code, text = run(path, "--out", out, "--psf-sigma", 0.085, "--max-step", 0.2, "--max-gap", 0, capsys=capsys)
    assert code == 0, text.err
    assert "longest step: 0.2 um" in text.out
    table = pd.read_parquet(out)
    assert table["x_um"].max() < 6.4 and table["time_s"].max() == pytest.approx(39 * 0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "tracks.txt"], "no ending"),
        (["--out", "missing/tracks.csv"], "folder does not exist"),
        (["--pixel-size", "0"], "--pixel-size is 0.0, expected a number from"),
        (["--frame-interval", "nan"], "--frame-interval is nan, expected a number from"),
        (["--max-gap", "-1"], "--max-gap -1"),
    ],
)
def test_options_that_cannot_be_used(options, words, movie_300, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = run(movie_300[0], "--out", "tracks.csv", *options, capsys=capsys)
    assert code == 2 and words in text.err and text.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("camera", ["100", "100,0,1", "100,2,-1", "a,b,c", "100,2,1,3"])
def test_cameras_that_cannot_be_used(camera, movie_300, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(movie_300[0]), "--out", str(tmp_path / "tracks.csv"), "--camera", camera])
    assert stopped.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_a_movie_without_molecules_is_refused(tmp_path, capsys):
    path, out = tmp_path / "movie.tif", tmp_path / "tracks.csv"
    tifffile.imwrite(path, np.full((8, 32, 32), 7, np.uint16))
    code, text = run(path, "--out", out, capsys=capsys)
    assert code == 2 and "no molecule" in text.err and not out.exists()


@pytest.mark.skipif(not BILAYER.is_file(), reason=f"no real movie {BILAYER}")
def test_a_real_movie_with_negative_counts(tmp_path, capsys):
    out = tmp_path / "tracks.csv"
    options = ("--pixel-size", 0.157, "--frame-interval", 0.02)
    code, text = run(BILAYER, "--out", out, *options, capsys=capsys)
    assert code == 0, text.err
    table = pd.read_csv(out)
    lengths = table.groupby("track_id").size()
    assert len(table) > 100 and (lengths >= 10).sum() >= 4
    assert np.isfinite(table.to_numpy()).all()
