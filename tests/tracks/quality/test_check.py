"""What files say of themselves, through the command: run.json, warnings, tables and refusals."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers import run
from known_tracks import STEP, beads, drift, fractional, localise, make_table, spike

from main.tracks import pipeline
from main.tracks.analysis import analyse
from main.tracks.quality.check import check_tracks, warn_of_exposure
from main.tracks.reading.formats import read_table, read_tracks

SIGMA = 0.7 * STEP


def make(tracks, seed=1, sigma=SIGMA):
    """Table in um with localisation error."""
    return make_table(localise(tracks, sigma, np.random.default_rng(seed)))


def infer(table, folder, weights, *options):
    """Run infer.py on a table; gives run.json and the folder."""
    folder.mkdir()
    table.to_csv(folder / "tracks.csv", index=False)
    assert run(folder / "tracks.csv", folder / "out", weights, *options) == 0
    return json.loads((folder / "out" / "run.json").read_text()), folder / "out"


@pytest.fixture(scope="module")
def brownian():
    return fractional(60, 40, 1.0, np.random.default_rng(2))


def test_localisation_error_is_reported_contradicted_and_estimated(brownian, weights, tmp_path, capsys):
    table = make(brownian)
    record, out = infer(table, tmp_path / "twice", weights, "--localization-error", str(2 * SIGMA))
    entry = record["localization_error"][0]
    assert entry["contradicted"] and entry["used"] == 2 * SIGMA and entry["low"] < SIGMA < entry["high"]
    assert (
        f"{2 * SIGMA:.3g} um contradicts the tracks, whose steps show {entry['estimate']:.3g}"
        in capsys.readouterr().err
    )
    assert (pd.read_parquet(out / "tracks.parquet")["localization_error"] == 2 * SIGMA).all()
    record, out = infer(table, tmp_path / "estimate", weights, "--localization-error", "estimate")
    assert record["localization_error"][0]["used"] == entry["estimate"]
    assert np.allclose(pd.read_parquet(out / "tracks.parquet")["localization_error"], entry["estimate"])
    record, _ = infer(table, tmp_path / "right", weights, "--localization-error", str(SIGMA))
    assert not record["localization_error"][0]["contradicted"]
    assert not any("contradicts" in text for text in record["warnings"])


def test_an_estimate_that_is_not_determined_is_refused(brownian, weights, tmp_path, capsys):
    path = tmp_path / "few.csv"
    make(brownian[:3]).to_csv(path, index=False)
    assert run(path, tmp_path / "out", weights, "--localization-error", "estimate") == 2
    assert capsys.readouterr().err.count("do not determine the localisation error (too few steps)") == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        run(path, tmp_path / "out", weights, "--localization-error", "guess")
    assert "'guess' cannot be used, expected a number or estimate" in capsys.readouterr().err


def test_drift_is_warned_of_and_removed(weights, tmp_path, monkeypatch):
    table = make(drift(beads(40, 40), 0.2 * STEP))
    record, out = infer(table, tmp_path / "drift", weights)
    entry = record["drift"][0]
    assert entry["matters"] and not entry["corrected"] and entry["unit"] == "um/frame"
    assert np.hypot(*entry["velocity"]) == pytest.approx(0.2 * STEP, rel=0.05)
    assert sum("--correct-drift" in text for text in record["warnings"]) == 1
    assert np.allclose(pd.read_parquet(out / "points.parquet")["x"], table["x_um"])
    monkeypatch.setattr(pipeline, "BLOCK_POINTS", {"cpu": 200, "cuda": 200})
    record, out = infer(table, tmp_path / "corrected", weights, "--correct-drift")
    assert record["drift"][0]["corrected"] and not any("drift" in text for text in record["warnings"])
    moved = table["x_um"] - entry["velocity"][0] * table["frame"]
    assert np.allclose(pd.read_parquet(out / "points.parquet")["x"], moved)


def test_wrong_points_are_named_and_left_out(brownian, weights, tmp_path):
    rng, right = np.random.default_rng(3), localise(brownian, SIGMA, np.random.default_rng(4))
    wrong = right[:50] + spike(right[50:], 300 * STEP, rng)
    wrong[0] = wrong[0] + np.where(np.arange(40) < 20, 0.0, 1e4)[:, None]
    record, out = infer(make_table(wrong), tmp_path / "wrong", weights)
    found = record["wrong_points"][0]
    assert (found["points"], found["jumps"]) == (10, 1) and found["jumps_listed"] == [[0, 20]]
    places = [[i, int(np.flatnonzero((wrong[i] != right[i]).any(axis=1))[0])] for i in range(50, 60)]
    assert found["points_listed"] == places
    assert record["counts"]["dropped"] == {"wrong": 10} and record["counts"]["points"] == 60 * 40 - 10
    tracks, points = (pd.read_parquet(out / f"{name}.parquet") for name in ("tracks", "points"))
    assert tracks["warnings"].str.contains("outlier_point").tolist() == [False] * 50 + [True] * 10
    assert tracks["warnings"].str.contains("jump").tolist() == [True] + [False] * 59
    assert not points.set_index(["track_id", "frame"]).index.isin(list(map(tuple, places))).any()
    assert tracks["d_cve"].max() < 10 * tracks["d_cve"].median()
    assert sum("(the first: track 50, frame" in text for text in record["warnings"]) == 1
    before = pd.read_parquet(infer(make_table(right), tmp_path / "right", weights)[1] / "points.parquet")
    both = before.merge(points, on=["track_id", "frame"], suffixes=("", "_after"))
    clean = both["track_id"].between(1, 49)
    assert (both["k"] == both["k_after"])[clean].all()


def test_exposure(weights, tmp_path, brownian, capsys):
    table = make(brownian)
    options = ("--localization-error", str(SIGMA))
    record, out = infer(table, tmp_path / "open", weights, *options, "--exposure", "1")
    instant = pd.read_parquet(infer(table, tmp_path / "instant", weights, *options)[1] / "tracks.parquet")
    assert np.allclose(pd.read_parquet(out / "tracks.parquet")["d_cve"], instant["d_cve"] * 1.5)
    assert record["options"]["exposure"] == 1 and warn_of_exposure(1.0)[0] in record["warnings"]
    assert not warn_of_exposure(0.1)
    assert run(tmp_path / "open" / "tracks.csv", tmp_path / "x", weights, "--exposure", "1.5") == 2
    assert "--exposure is 1.5, expected a number from 0 to 1" in capsys.readouterr().err


def test_only_columns_that_say_so_hold_the_localisation_error(tmp_path):
    table = pd.DataFrame({"particle": 1, "frame": range(4), "x": 0.0, "y": 0.0})
    for name, word in (("ep", "trackpy's"), ("sigma", "width"), ("Sigma_X", "width")):
        tracks = read_table(table.assign(**{name: 0.3}), "file")
        assert "sigma" not in tracks.table and len(tracks.warnings) == 1
        assert f"'{name}' is not used" in tracks.warnings[0] and word in tracks.warnings[0]
    assert read_table(table.assign(ep=0.1, Localization_Error=0.3), "file").table["sigma"].tolist() == [0.3] * 4
    pooled = read_table(table.assign(x_err=0.3, y_err=0.4), "file").table["sigma"]
    assert np.allclose(pooled, np.sqrt((0.3**2 + 0.4**2) / 2))
    spots = pd.DataFrame({"TRACK_ID": 1, "FRAME": range(4), "POSITION_X": 0.0, "POSITION_Y": 0.0, "sigma": 7.0})
    spots.to_csv(tmp_path / "spots.csv", index=False)
    tracks = read_tracks(tmp_path / "spots.csv")
    assert tracks.format == "trackmate-csv" and "sigma" not in tracks.table
    assert sum("'sigma' is not used" in text for text in tracks.warnings) == 1


def test_a_table_in_memory_is_checked_alike(brownian, weights):
    table = make(drift(brownian, STEP))
    result = analyse(table, weights=weights, localization_error="estimate", correct_drift=True, exposure=0.5)
    assert result.quality["drift"]["corrected"] and warn_of_exposure(0.5)[0] in result.quality["warnings"]
    assert np.allclose(result.tracks["localization_error"], result.quality["localization_error"]["estimate"])


def test_columns_of_the_user_with_our_names_are_not_ours(brownian):
    table = make(brownian).assign(jump=True, skipped=True)
    assert not {"jump", "skipped"} & set(check_tracks(read_table(table, "file")).table)
