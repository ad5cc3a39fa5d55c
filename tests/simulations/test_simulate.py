"""Simulation from the shell: the library's tracks, the same bytes however it is run, resume after kill -9."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from stochastic import random as stochastic_random

from simulations import andi, jobs, simulate
from simulations.concat import concatenate
from simulations.files import sha256
from simulations.parameters import MODELS, PRIORS, sample_worlds

TINY = {"models": ["single_state", "dimerization"], "tracks": 8, "tracks_per_job": 3}
TINY |= {"frames": 60, "seed": 3, "prior": "andi2"}


def shard_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run, one worker."""
    folder = tmp_path_factory.mktemp("simulation") / "run"
    assert simulate.simulate(simulate.run_parameters(**TINY), folder) == {}
    return folder


@pytest.mark.parametrize("model", MODELS)
def test_world_equals_challenge_phenom_dataset(model, capsys):
    """Same seeds, same draws: positions and labels equal the library's own challenge data to the last bit."""
    from andi_datasets.datasets_challenge import challenge_phenom_dataset

    world = replace(sample_worlds("andi2", model, 1, np.random.default_rng(0), n_frames=100), n_particles=12)
    arguments = andi.library_arguments(world) | {"model": model}
    arguments |= {
        "single_state": {"dim": 2},
        "multi_state": {"return_state_num": True},
        "dimerization": {"return_state_num": True},
    }.get(model, {})
    with andi.seeded(np.random.SeedSequence(4)):
        table = challenge_phenom_dataset(dics=[arguments], return_timestep_labs=True)[0][0]
    with andi.seeded(np.random.SeedSequence(4)):
        tracks = andi.simulate_world(world)
    assert [len(t.frame) for t in tracks] == table.groupby("traj_idx").size().tolist()
    np.testing.assert_array_equal(np.concatenate([t.xy for t in tracks]), table[["x", "y"]])
    for ours, theirs in (("k", "D"), ("alpha", "alpha"), ("state", "state"), ("frame", "frame")):
        np.testing.assert_array_equal(np.concatenate([getattr(t, ours) for t in tracks]), table[theirs])


@pytest.mark.parametrize("prior", ["broad", "m3", "benchmark"])
def test_every_prior_gives_valid_tracks(prior):
    model = "multi_state"
    with andi.seeded(np.random.SeedSequence(1)) as rng:
        worlds = [replace(sample_worlds(prior, model, 1, rng), n_particles=4) for _ in range(6)]
        tracks = [track for world in worlds for track in andi.simulate_world(world)]
    assert len(tracks) >= 6
    for track in tracks:
        assert 20 <= len(track.frame) <= 200 and (np.diff(track.frame) == 1).all()
        assert np.isfinite(track.xy).all() and (track.k > 0).all() and track.sigma >= 0
        assert ((track.state == 3) == (track.alpha >= 1.9)).all()


def test_m3_has_the_original_numbers_of_traps_and_compartments():
    rng = np.random.default_rng(0)
    for model, low, high in (("immobile_traps", 100, 300), ("confinement", 30, 50)):
        count = sample_worlds("m3", model, 500, rng).count
        assert low <= count.min() < 1.05 * low and 0.95 * high < count.max() <= high


def test_m3_has_the_original_particles_and_spreads():
    rng = np.random.default_rng(0)
    assert sample_worlds("m3", "dimerization", 3, rng).n_particles == 100
    worlds = sample_worlds("m3", "multi_state", 500, rng)
    fixed = (np.ptp(worlds.k_mean, axis=1) == 0) | (np.ptp(worlds.alpha_mean, axis=1) == 0)
    assert 0.1 < fixed.mean() < 0.3
    for mean, variance in ((worlds.k_mean, worlds.k_var), (worlds.alpha_mean, worlds.alpha_var)):
        np.testing.assert_allclose(np.sqrt(variance) / mean, np.where(fixed, 0.05, 0.1)[:, None] + 0 * mean)


@pytest.mark.parametrize("prior", ["broad", "m3"])
def test_every_state_can_be_the_directed_one(prior):
    alpha = sample_worlds(prior, "confinement", 2000, np.random.default_rng(0)).alpha_mean
    share = (alpha > 1.91).mean(axis=0)
    expected = PRIORS[prior].directed / 2 + 0.08 / 1.98  # half of the enriched worlds, and those by chance
    assert (np.abs(share - expected) < 0.03).all()


def test_field_of_view_scales_with_small_boxes():
    world = sample_worlds("andi2", "single_state", 1, np.random.default_rng(0))
    small = replace(
        world,
        k_mean=world.k_mean * 1e-4,
        k_var=world.k_var * 1e-8,
        box=world.box / 100,
        fov=world.fov / 100,
        sigma=world.sigma * 0,
    )
    with andi.seeded(np.random.SeedSequence(0)):
        tracks = andi.simulate_world(small)
    assert tracks
    assert max(np.ptp(t.xy, axis=0).max() for t in tracks) <= small.fov[0]


def test_seeded_restores_the_global_streams():
    numpy_state, generator = np.random.get_state()[1].copy(), stochastic_random.generator
    with andi.seeded(np.random.SeedSequence(0)):
        np.random.rand(3)
    assert np.array_equal(np.random.get_state()[1], numpy_state) and stochastic_random.generator is generator


@pytest.mark.parametrize("workers, start_method", [(4, "fork"), (4, "spawn")])
def test_same_bytes_for_several_workers(finished, tmp_path, workers, start_method):
    parameters = simulate.run_parameters(**TINY)
    assert simulate.simulate(parameters, tmp_path / "run", workers, start_method) == {}
    assert shard_bytes(tmp_path / "run") == shard_bytes(finished)


def test_exact_count_and_all_tracks_distinct(finished):
    table = pq.read_table(finished / "shards").to_pandas()
    shards = [pq.read_table(path).to_pandas() for path in sorted((finished / "shards").iterdir())]
    tracks = [track for shard in shards for _, track in shard.groupby("track_id")]
    assert len(tracks) == 2 * TINY["tracks"] and sum(map(len, tracks)) == len(table)
    assert len({track["x"].diff().to_numpy()[1:].tobytes() for track in tracks}) == len(tracks)
    assert min(map(len, tracks)) >= 20


def test_resume_after_kill(tmp_path):
    options = [
        sys.executable,
        "-m",
        "simulations.simulate",
        "--models",
        "multi_state",
        "--prior",
        "andi2",
        "--tracks",
        "24",
        "--tracks-per-job",
        "2",
        "--frames",
        "60",
        "--workers",
        "2",
    ]
    killed, shards = tmp_path / "killed", tmp_path / "killed" / "shards"
    options += ["--out", str(killed)]
    run = subprocess.Popen(options, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while not (shards.exists() and len(list(shards.glob("*.parquet"))) >= 2):
        assert time.time() < deadline and run.poll() is None
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    while _group_lives(run.pid):  # workers notice that their parent is gone
        assert time.time() < deadline
        time.sleep(0.05)
    done = {p.name: p.stat().st_mtime_ns for p in shards.glob("*.parquet")}
    assert 0 < len(done) < 12
    (shards / "multi_state_00011.parquet.1.part").write_text("half a shard")
    parameters = simulate.run_parameters(["multi_state"], 24, 60, 0, "andi2", 2)
    assert simulate.simulate(parameters, killed, resume=True) == {}
    assert simulate.simulate(parameters, tmp_path / "whole") == {}
    assert shard_bytes(killed) == shard_bytes(tmp_path / "whole")
    assert {name: (shards / name).stat().st_mtime_ns for name in done} == done  # finished ones left alone


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_refuses_to_mix_runs(finished, tmp_path):
    parameters = simulate.run_parameters(**TINY)
    with pytest.raises(ValueError, match="--resume"):
        simulate.simulate(parameters, finished)
    with pytest.raises(ValueError, match="other seed"):
        simulate.simulate(parameters | {"seed": 4}, finished, resume=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="another --out"):
        simulate.simulate(parameters, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_wrong_options_exit_2(tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert simulate.main([*out, "--frames", "5"]) == 2
    assert simulate.main([*out, "--tracks", "0"]) == 2
    assert "--frames 5: expected 20 or more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_failed_worlds_are_counted_with_their_reason(monkeypatch):
    calls = []

    def every_second_fails(world):
        calls.append(world)
        if len(calls) % 2:
            raise ZeroDivisionError("by chance")
        return simulate_world(world)

    simulate_world = jobs.simulate_world
    monkeypatch.setattr(jobs, "simulate_world", every_second_fails)
    parameters = simulate.run_parameters(**TINY)
    tracks, record = jobs.simulate_job(parameters, jobs.Job("single_state", 0, 30))
    assert len(tracks) == 30
    assert record["failed"]["ZeroDivisionError: by chance"] == -(-record["worlds"] // 2)


def test_hopeless_jobs_are_reported_and_exit_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(jobs, "simulate_world", lambda world: [])
    options = ["--models", "single_state", "--tracks", "2", "--workers", "1"]
    assert simulate.main([*options, "--out", str(tmp_path / "run")]) == 1
    assert "1 jobs: RuntimeError: 1000 worlds in a row without a track" in capsys.readouterr().out


def test_concatenate(finished):
    manifest = concatenate(finished)
    assert list(manifest["models"]) == TINY["models"]
    ids = []
    for entry in manifest["models"].values():
        path = finished / entry["file"]
        table = pq.read_table(path).to_pandas()
        ids += table["track_id"].unique().tolist()
        assert entry["tracks"] == TINY["tracks"] == table["track_id"].nunique()
        assert entry["frames"] == len(table) == sum(entry["frames_by_state"].values())
        assert entry["sha256"] == sha256(path)
        assert pq.ParquetFile(path).metadata.num_row_groups == 3
    assert ids == list(range(2 * TINY["tracks"]))


def test_concatenate_refuses_an_unfinished_run(tmp_path):
    with pytest.raises(ValueError, match="run simulate.py first"):
        concatenate(tmp_path)
    parameters = simulate.run_parameters(["single_state"], 4, 60, 0, "andi2", 2)
    simulate.simulate(parameters, tmp_path / "run")
    (tmp_path / "run/shards/single_state_00001.parquet").unlink()
    with pytest.raises(ValueError, match="lacks 1 of 2 shards"):
        concatenate(tmp_path / "run")
