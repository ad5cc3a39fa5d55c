"""Simulation on a dask cluster: the bytes of the local run, whatever happens to the workers."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from distributed import Client, LocalCluster

from simulations import jobs, scheduler, simulate

PARAMETERS = {"models": ["multi_state"], "tracks": 24, "tracks_per_job": 1}
PARAMETERS |= {"frames": 60, "seed": 3, "prior": "andi2"}
OPTIONS = [
    "--models",
    "multi_state",
    "--tracks",
    "24",
    "--tracks-per-job",
    "1",
    "--frames",
    "60",
    "--seed",
    "3",
    "--prior",
    "andi2",
]


def shard_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def wait_until(condition, seconds=30):
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def cluster():
    """Two workers of two threads each, which would share their seeds if the worker let them."""
    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Shards of the local run, by name."""
    folder = tmp_path_factory.mktemp("local") / "run"
    assert simulate.simulate(jobs.run_parameters(**PARAMETERS), folder) == {}
    return shard_bytes(folder)


def test_same_bytes_as_the_local_run(cluster, client, local, tmp_path, capsys):
    options = [*OPTIONS, "--out", str(tmp_path / "run"), "--scheduler", cluster.scheduler_address]
    assert simulate.main(options) == 0
    assert "multi_state: 24 of 24 tracks" in capsys.readouterr().out
    assert shard_bytes(tmp_path / "run") == local
    done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(done) == 2 and min(done.values()) >= 2  # both took part


def test_jobs_of_a_killed_worker_are_repeated(cluster, client, local, tmp_path, monkeypatch):
    victim = next(iter(client.run(os.getpid).values()))
    shards, placed, left = tmp_path / "run" / "shards", [], []

    def place(folder, job, shard):
        placed.append(job.shard)
        jobs.place_shard(folder, job, shard)

    def kill():
        wait_until(lambda: len(placed) >= 4)
        os.kill(victim, signal.SIGKILL)
        left.append(24 - len(placed))

    monkeypatch.setattr(scheduler, "place_shard", place)
    killer = threading.Thread(target=kill)
    killer.start()
    errors = simulate.simulate(jobs.run_parameters(**PARAMETERS), shards.parent, scheduler=cluster.scheduler_address)
    killer.join()
    assert errors == {} and left[0] > 4
    assert len(placed) == len(set(placed)) == 24
    assert shard_bytes(shards.parent) == local
    client.wait_for_workers(2, timeout=30)
    assert victim not in client.run(os.getpid).values()


def test_resume_makes_only_what_is_missing(cluster, local, tmp_path):
    run, parameters = tmp_path / "run", jobs.run_parameters(**PARAMETERS)
    run.mkdir()
    simulate.prepare_folder(run, parameters)
    for name in list(local)[:20]:
        (run / "shards" / name).write_bytes(local[name])
    kept = {path: path.stat().st_mtime_ns for path in (run / "shards").iterdir()}
    assert simulate.simulate(parameters, run, resume=True, scheduler=cluster.scheduler_address) == {}
    assert shard_bytes(run) == local
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_few_jobs_wait_at_the_scheduler(cluster, tmp_path, monkeypatch):
    many = [jobs.Job("single_state", i, 1) for i in range(100_000)]
    monkeypatch.setattr(scheduler, "place_shard", lambda *a: None)
    monkeypatch.setattr(scheduler, "make_shard_alone", lambda *a: b"")
    with scheduler.connect(cluster.scheduler_address) as client:
        run, most = scheduler.run_on_cluster(client, {}, many, tmp_path), 0
        for _, _error in zip(range(50), run, strict=False):
            most = max(most, len(cluster.scheduler.tasks))
    assert 0 < most < 100


def test_errors_of_jobs_are_counted_and_exit_1(cluster, tmp_path, capsys, monkeypatch):
    def fail(*a):
        raise RuntimeError("1000 worlds in a row without a track")

    monkeypatch.setattr(scheduler, "make_shard_alone", fail)
    options = ["--models", "single_state", "--tracks", "3", "--tracks-per-job", "1", "--out", str(tmp_path / "run")]
    assert simulate.main([*options, "--scheduler", cluster.scheduler_address]) == 1
    assert "failed: 3 jobs: RuntimeError: 1000 worlds in a row without a track" in capsys.readouterr().out


def test_a_lost_scheduler_exits_1(tmp_path, capsys, monkeypatch):
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0", silence_logs=logging.CRITICAL) as cluster:
        monkeypatch.setattr(scheduler, "TIMEOUT_S", 1)
        monkeypatch.setattr(scheduler, "place_shard", lambda *a: cluster.close())
        monkeypatch.setattr(scheduler, "make_shard_alone", lambda *a: time.sleep(0.1) or b"")
        options = [*OPTIONS, "--out", str(tmp_path / "run"), "--scheduler", cluster.scheduler_address]
        assert simulate.main(options) == 1
    assert "the scheduler went away; finished shards are kept" in capsys.readouterr().err


def test_a_shard_that_cannot_be_written_is_an_error_of_its_job(tmp_path):
    job = jobs.Job("single_state", 0, 1)
    assert scheduler._write_result(tmp_path, job, b"x").startswith("FileNotFoundError")


@pytest.mark.parametrize("name", ["numpy", "simulations"])
def test_refuses_workers_with_another_version(cluster, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setitem(scheduler.INSTALLED, name, "other")
    options = [*OPTIONS, "--out", str(tmp_path / "run"), "--scheduler", cluster.scheduler_address]
    assert simulate.main(options) == 2
    message = capsys.readouterr().err
    assert f" has {name} " in message and "install on all machines" in message
    assert not (tmp_path / "run").exists()


def test_a_worker_that_joins_later_with_another_version_makes_no_shard():
    with pytest.raises(RuntimeError, match="joined later"):
        scheduler.make_shard_alone({}, jobs.Job("single_state", 0, 1), scheduler.installed() | {"numpy": "other"})


def test_refuses_the_address_of_a_worker(client, tmp_path, capsys):
    worker = next(iter(client.nthreads()))
    assert simulate.main([*OPTIONS, "--out", str(tmp_path / "run"), "--scheduler", worker]) == 2
    assert "that is a dask Worker" in capsys.readouterr().err


def test_refuses_workers_without_the_project(cluster, client, tmp_path, capsys):
    worker = next(iter(client.nthreads()))
    client.run(lambda: sys.modules.update({"simulations.scheduler": None}), workers=[worker])
    options = [*OPTIONS, "--out", str(tmp_path / "run"), "--scheduler", cluster.scheduler_address]
    assert simulate.main(options) == 2
    assert f"worker {worker} cannot do this work (ModuleNotFoundError" in capsys.readouterr().err
    client.run(lambda: sys.modules.pop("simulations.scheduler"), workers=[worker])


@pytest.mark.parametrize(
    "address, why", [("tcp://127.0.0.1:1", "nothing within"), ("nowhere", "missing port"), ("file", "Expecting value")]
)
def test_unreachable_scheduler_exits_2(tmp_path, capsys, address, why, monkeypatch):
    monkeypatch.setattr(scheduler, "TIMEOUT_S", 0.5)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no JSON")
    start = time.time()
    assert simulate.main([*OPTIONS, "--out", "run", "--scheduler", address]) == 2
    assert time.time() - start < 5
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and f"--scheduler {address}" in message and why in message
    assert not (tmp_path / "run").exists()


def test_interrupt_cancels_what_has_not_run(cluster, client, local, tmp_path):
    command = [sys.executable, "-m", "simulations.simulate", *OPTIONS, "--tracks", "5000"]
    run = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run"), "--scheduler", cluster.scheduler_address],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # ignored under nohup
    shards = tmp_path / "run" / "shards"
    wait_until(lambda: shards.exists() and len(list(shards.glob("*.parquet"))) >= 2)
    run.send_signal(signal.SIGINT)
    assert "continue with --resume" in run.communicate(timeout=30)[1] and run.returncode == 130
    wait_until(lambda: not cluster.scheduler.tasks)
    made = shard_bytes(tmp_path / "run")
    assert len(made) < 5000 and {name: made[name] for name in made if name in local}.items() <= local.items()


def test_dask_is_imported_only_for_a_scheduler():
    code = "import sys, simulations.simulate; assert not {'dask', 'distributed'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
