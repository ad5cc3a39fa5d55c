"""infer.py on a dask cluster: the tables of the local run, also where a worker dies."""

import logging
import os
import signal

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from helpers import run, walk

from main.tracks.reading import sources
from main.tracks.results.writer import TABLES


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two files of two conditions, and blocks so small that there are many."""
    monkeypatch.setitem(sources.BLOCK_POINTS, "cpu", 200)
    rng, paths = np.random.default_rng(0), []
    for name, n_tracks in (("a", 40), ("b", 30)):
        paths.append(tmp_path / f"{name}.csv")
        lengths = rng.integers(2, 120, n_tracks)
        pd.concat([walk(rng, n, track=3 * i) for i, n in enumerate(lengths)]).to_csv(paths[-1], index=False)
    return paths


def same(local, other):
    for name in TABLES:
        a, b = (pd.read_parquet(folder / f"{name}.parquet") for folder in (local, other))
        pd.testing.assert_frame_equal(a, b, rtol=1e-4, atol=1e-5)


def test_tables_are_those_of_the_local_run(cluster, files, weights, tmp_path):
    assert run(files, tmp_path / "local", weights) == 0
    assert run(files, tmp_path / "dask", weights, "--scheduler", cluster.scheduler_address) == 0
    same(tmp_path / "local", tmp_path / "dask")
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(done) == 2 and min(done.values()) >= 2  # both took part


def test_a_killed_worker_loses_and_repeats_nothing(cluster, files, weights, tmp_path, monkeypatch):
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        victim = next(iter(client.run(os.getpid).values()))
    begun, real = [], sources.labelled

    def labelled(*arguments):
        begun.append(1)
        if len(begun) == 3:  # in the middle of the run
            os.kill(victim, signal.SIGKILL)
        return real(*arguments)

    assert run(files, tmp_path / "local", weights) == 0
    monkeypatch.setattr("main.tracks.pipeline.labelled", labelled)
    assert run(files, tmp_path / "dask", weights, "--scheduler", cluster.scheduler_address) == 0
    assert len(begun) > 10
    with pytest.raises(ProcessLookupError):
        os.kill(victim, 0)
    same(tmp_path / "local", tmp_path / "dask")


def test_a_worker_with_other_weights_is_refused(cluster, files, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("main.tracks.cluster.sorted", lambda _: [("k", "0" * 64)], raising=False)
    out = tmp_path / "out"
    assert run(files, out, weights, "--scheduler", cluster.scheduler_address) == 2
    printed = capsys.readouterr().err
    assert "other weights" in printed and len(printed.strip().splitlines()) == 1 and not out.exists()


def test_no_scheduler_is_one_sentence(files, weights, tmp_path, capsys):
    assert run(files, tmp_path / "out", weights, "--scheduler", "tcp://127.0.0.1:9") == 2
    assert "no dask scheduler answers" in capsys.readouterr().err and not (tmp_path / "out").exists()
