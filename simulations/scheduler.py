"""Jobs of a simulation on the workers of a dask scheduler, on as many machines as it has.

Workers send their shards back and the client writes them, so that no shared disk is needed. The workers must have
this project installed, in the version that is here, and are refused otherwise.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from distributed import Client, KilledWorker, Security, as_completed, rpc

from simulations.files import digest_code
from simulations.jobs import Job, make_shard, place_shard

TIMEOUT_S = 5
JOBS_PER_THREAD = 2  # handed out at a time: one runs, one waits; few are lost with a worker, none idles
GONE = "the scheduler went away"
# The bytes of a shard depend on these files and on the packages below.
CODE = ("andi.py", "experiments.py", "jobs.py", "labels.py", "parameters.py", "worlds.py")
# Read at import: a worker that keeps running after an update still has the code with which it started.
INSTALLED = {name: version(name) for name in ("andi-datasets", "numpy", "pyarrow", "stochastic")}
INSTALLED["simulations"] = digest_code(Path(__file__).parent, CODE)

_one_at_a_time = threading.Lock()  # the threads of a worker share the random streams of andi_datasets


def installed() -> dict[str, str]:
    """What the bytes of a shard depend on here: versions of packages, and a digest of the code of this folder."""
    return INSTALLED


def make_shard_alone(parameters: dict, job: Job, needed: dict[str, str]) -> bytes:
    """`make_shard`, one job at a time in this process, however many threads its worker has.

    Raises
    ------
    RuntimeError
        If what is installed is not what is needed: a worker that joined after `connect` looked at them.
    """
    if installed() != needed:
        raise RuntimeError("a worker that joined later has other versions or code: install there what is here")
    with _one_at_a_time:
        return make_shard(parameters, job)


@contextmanager
def connect(address: str, needed=installed) -> Iterator[Client]:
    """A client of a scheduler whose workers can do our work; what has not run is cancelled on leaving.

    Parameters
    ----------
    address : str
        As `tcp://host:8786`, or the path of a scheduler file.
    needed : callable
        What the work depends on (name -> version); asked here and of every worker.

    Raises
    ------
    ValueError
        If no scheduler answers within 5 s, it has no workers, or a worker has not what is installed here.
    """
    try:
        found = json.loads(Path(address).read_text())["address"] if Path(address).is_file() else address
        with ThreadPoolExecutor(1) as thread:  # a notebook has an event loop in its own
            kind = thread.submit(asyncio.run, _ask_identity(found)).result()["type"]
    except Exception as error:  # something else may answer there, with anything
        cause = str(error) or f"nothing within {TIMEOUT_S} s"
        raise ValueError(f"--scheduler {address}: no dask scheduler answers there ({cause})") from error
    if kind != "Scheduler":
        raise ValueError(f"--scheduler {address}: that is a dask {kind}, give the address of its scheduler")
    with Client(found, timeout=TIMEOUT_S, set_as_default=False) as client:
        try:
            client.wait_for_workers(1, timeout=TIMEOUT_S)
        except TimeoutError as error:
            raise ValueError(f"--scheduler {address} has no workers: start some with `dask worker`") from error
        for worker, there in client.run(needed, on_error="return").items():
            check_worker(worker, there, needed())
        yield client


async def _ask_identity(address: str) -> dict:
    """What answers at an address. `Client` itself waits for ever if that is no dask."""
    async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
        return await asyncio.wait_for(scheduler.identity(), TIMEOUT_S)


def check_worker(worker: str, there: dict[str, str] | Exception, needed: dict[str, str]) -> None:
    """Raise ValueError unless a worker has what is needed; `there` may be the error it gave instead."""
    advice = f"install on all machines what is here, and start their workers again: {needed}"
    if isinstance(there, Exception):
        raise ValueError(f"worker {worker} cannot do this work ({there}): {advice}")
    other = [f"{name} {there.get(name)}" for name in needed if there.get(name) != needed[name]]
    if other:
        raise ValueError(f"worker {worker} has {', '.join(other)}: {advice}")


def run_on_cluster(client: Client, parameters: dict, jobs: list[Job], folder: Path) -> Iterator:
    """Run jobs on the workers of `client`; yields (job, error text or None) as each ends.

    The scheduler holds a few jobs per thread at a time; it repeats those of a worker that dies.

    Raises
    ------
    ConnectionError
        If the scheduler went away.
    """
    queue, running = iter(jobs), {}
    finished = as_completed(loop=client.loop, with_results=True, raise_errors=False)
    while True:
        room = max(JOBS_PER_THREAD * _n_threads(client) - len(running), 0 if running else 1)
        new = {
            client.submit(make_shard_alone, parameters, job, installed(), pure=False): job
            for job in islice(queue, room)
        }
        running |= new
        finished.update(new)
        if not running:
            return
        for future, result in finished.next_batch():
            job = running.pop(future)
            if isinstance(result, CancelledError):
                raise ConnectionError(GONE)
            yield job, _settle(folder, job, result)


def _n_threads(client: Client) -> int:
    """Threads of all workers that the scheduler has now."""
    try:
        return sum(client.nthreads().values())
    except (OSError, AttributeError) as error:  # the second where the client has closed itself
        raise ConnectionError(GONE) from error


def _settle(folder: Path, job: Job, result: bytes | tuple) -> str | None:
    """Write the shard of a job; the error text if that fails or there is none, equal for equal reasons."""
    try:
        if isinstance(result, bytes):
            return place_shard(folder, job, result)
        error = result[1]
    except OSError as failed:
        error = failed
    if isinstance(error, KilledWorker):  # dask's own text names the task
        return "KilledWorker: every worker that tried it died"
    return f"{type(error).__name__}: {error}"
