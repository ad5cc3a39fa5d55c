"""Analysis on a dask cluster: the tables of the local run, also if a worker dies."""

import logging
import os
import signal

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from helpers import run, walk

from main.tracks.analysis import analyse_tracks
from main.tracks.cluster import analyse_blocks, describe_code
from main.tracks.inference.predictor import load_predictor
from main.tracks.options import InferenceOptions
from main.tracks.pipeline import read_blocks
from main.tracks.reading import sources
from main.tracks.reading.formats import read_tracks
from main.tracks.reading.sources import open_sources
from main.tracks.results.folder import TABLES
from main.utils.errors import InputError
from simulations.scheduler import connect

BLOCK_POINTS = 200


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


@pytest.fixture
def files(tmp_path):
    """Two track files."""
    rng, paths = np.random.default_rng(0), []
    for name, n_tracks in (("a", 40), ("b", 30)):
        paths.append(tmp_path / f"{name}.csv")
        lengths = rng.integers(2, 120, n_tracks)
        pd.concat([walk(rng, n, track=3 * i) for i, n in enumerate(lengths)]).to_csv(paths[-1], index=False)
    return paths


@pytest.fixture
def blocks(files):
    """The tracks of the files in more than ten blocks, given as (Source, Tracks)."""
    blocks = list(read_blocks(open_sources([(path, None) for path in files], read_tracks), BLOCK_POINTS))
    assert len(blocks) > 10
    return blocks


def same_tables(local, other):
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(local, name), getattr(other, name), rtol=1e-4, atol=1e-5)


def test_tables_are_those_of_the_local_run(cluster, files, weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sources.BLOCK_POINTS, "cpu", BLOCK_POINTS)  # or these files would be a block each
    assert run(files, tmp_path / "local", weights) == 0
    assert run(files, tmp_path / "dask", weights, "--scheduler", cluster.scheduler_address) == 0
    for name in TABLES:
        local, other = (pd.read_parquet(tmp_path / folder / f"{name}.parquet") for folder in ("local", "dask"))
        pd.testing.assert_frame_equal(local, other, rtol=1e-4, atol=1e-5)
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(done) == 2 and min(done.values()) >= 2  # both took part


def test_a_killed_worker_loses_and_repeats_nothing(cluster, blocks, weights):
    predictor, config = load_predictor(weights, "cpu")
    options = InferenceOptions(weights=str(weights), device="cpu")
    with connect(cluster.scheduler_address, describe_code) as client:
        victim = next(iter(client.run(os.getpid).values()))
        results = analyse_blocks(client, iter(blocks), options, config["sha256"])
        done = [next(results) for _ in range(3)]
        os.kill(victim, signal.SIGKILL)  # in the middle of the run
        done += results
    with pytest.raises(ProcessLookupError):
        os.kill(victim, 0)
    for (source, block), (same_source, same_block, tables) in zip(blocks, done, strict=True):
        assert same_source is source and same_block is block
        same_tables(analyse_tracks(block, predictor, config), tables)


def test_a_worker_with_other_weights_is_refused(cluster, blocks, weights):
    options = InferenceOptions(weights=str(weights), device="cpu")
    with (
        connect(cluster.scheduler_address, describe_code) as client,
        pytest.raises(InputError, match="other weights") as error,
    ):
        list(analyse_blocks(client, iter(blocks), options, {"k": "0" * 64}))
    assert "\n" not in str(error.value)
