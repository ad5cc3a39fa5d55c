"""The straight path, by its shell commands: simulate, concat, pickle, train three networks, ship, infer, draw."""

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT

from main import figures, infer, ship, train
from simulations import concat, pickle_data, simulate

SAMPLES = ROOT / "samples"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Three small networks, trained for two steps on pickled data made here, as a set of weights."""
    folder = tmp_path_factory.mktemp("pipeline")
    data = str(folder / "data")
    for command, arguments in (
        (simulate, ["--tracks", "8", "--prior", "andi2", "--seed", "1", "--workers", "1", "--out", data]),
        (concat, [data]),
        (pickle_data, [data]),
    ):
        assert not command.main(arguments)
    runs = [folder / target for target in ("k", "alpha", "state")]
    for run in runs:
        train.main(
            ["--data", data, "--target", run.name, "--steps", "2", "--hidden", "4", "--batch", "8"]
            + ["--run", str(run), "--device", "cpu"]
        )
        assert {"params.json", "metrics.csv", "last.pt", "best.safetensors"} <= {p.name for p in run.iterdir()}
    ship.ship(runs, folder / "weights")
    return folder / "weights"


def test_sample_tracks_are_analysed_and_drawn(weights, tmp_path, capsys):
    out = tmp_path / "results"
    assert infer.main([str(SAMPLES / "tracks.csv"), "--out", str(out), "--weights", str(weights)]) == 0
    assert figures.main([str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Read 60 tracks" in printed and "segment_id" in printed
    truth = pd.read_parquet(SAMPLES / "truth.parquet")
    tracks = pd.read_parquet(out / "tracks.parquet")
    assert tracks["track_id"].tolist() == truth["track_id"].unique().tolist()
    points = pd.read_parquet(out / "points.parquet")
    np.testing.assert_allclose(points[["x", "y"]], truth[["x", "y"]], atol=1e-9)
    drawn = {path.stem for path in (out / "figures").glob("*.svg")}
    assert drawn == {"tracks_state", "tracks_k", "tracks_alpha", "track_over_time"}


def test_figures_refuse_a_folder_without_results(tmp_path, capsys):
    assert figures.main([str(tmp_path)]) == 2
    assert "no run.json" in capsys.readouterr().err


def test_ship_refuses_what_is_no_run(tmp_path, capsys):
    assert ship.main(["--name", f"{tmp_path}/set", str(tmp_path / "absent")]) == 2
    assert "last.pt is missing" in capsys.readouterr().err and not (tmp_path / "set").exists()
