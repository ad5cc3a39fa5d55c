"""Run the jobs of a simulation on the workers of a dask scheduler, on one or many machines.

Workers return their shards and the client writes them, so no shared disk is needed. A worker is refused unless it has
the same version of this project as the client. Everyone who can reach the port of a scheduler or worker can run code
there: open it only to machines you trust.
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
JOBS_PER_THREAD = 2  # one runs, one waits: no thread is idle, and few jobs are lost if a worker dies
CONNECTION_LOST = "the scheduler went away"
# The bytes of a shard depend on these files and on the packages below.
CODE = ("andi.py", "experiments.py", "jobs.py", "labels.py", "parameters.py", "worlds.py")
# Read at import: a worker that keeps running after an update still has the code with which it started.
INSTALLED = {name: version(name) for name in ("andi-datasets", "numpy", "pyarrow", "stochastic")}
INSTALLED["simulations"] = digest_code(Path(__file__).parent, CODE)

_one_at_a_time = threading.Lock()  # the threads of a worker share the random streams of andi_datasets


def installed() -> dict[str, str]:
    """Versions of packages and a digest of the code here: the bytes of a shard depend on these."""
    return INSTALLED


def make_shard_alone(parameters: dict, job: Job, needed: dict[str, str]) -> bytes:
    """Call `make_shard`, one job at a time in this process, even if its worker has several threads.

    Raises
    ------
    RuntimeError
        If the versions or the code here are not those of `needed`: the worker joined after the check of `connect`.
    """
    if installed() != needed:
        raise RuntimeError("a worker that joined later has other versions or code: install the same there as here")
    with _one_at_a_time:
        return make_shard(parameters, job)


@contextmanager
def connect(address: str, needed=installed) -> Iterator[Client]:
    """Connect to a scheduler and check its workers. At the end, jobs that have not run are cancelled.

    Parameters
    ----------
    address : str
        Such as `tcp://host:8786`, or the path of a scheduler file.
    needed : callable
        Returns what the work depends on (name -> version). It is called here and on every worker.

    Raises
    ------
    ValueError
        If no scheduler answers within 5 s, it has no workers, or a worker has other versions than are installed here.
    """
    try:
        found = json.loads(Path(address).read_text())["address"] if Path(address).is_file() else address
        with ThreadPoolExecutor(1) as thread:  # a notebook already runs an event loop in its own thread
            kind = thread.submit(asyncio.run, _ask_identity(found)).result()["type"]
    except Exception as error:  # another program may answer at this address, with any text
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
    """Ask who answers at an address. `Client` itself would wait for ever if the program there is not dask."""
    async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
        return await asyncio.wait_for(scheduler.identity(), TIMEOUT_S)


def check_worker(worker: str, there: dict[str, str] | Exception, needed: dict[str, str]) -> None:
    """Raise ValueError unless a worker has what is needed; `there` is its answer, or the error that it returned."""
    advice = f"install on all machines the same as here and restart their workers: {needed}"
    if isinstance(there, Exception):
        raise ValueError(f"worker {worker} cannot do this work ({there}): {advice}")
    other = [f"{name} {there.get(name)}" for name in needed if there.get(name) != needed[name]]
    if other:
        raise ValueError(f"worker {worker} has {', '.join(other)}: {advice}")


def run_on_cluster(client: Client, parameters: dict, jobs: list[Job], folder: Path) -> Iterator:
    """Run jobs on the workers of `client`; yields (job, error text or None) when a job ends.

    The scheduler has a few jobs per thread at a time. If a worker dies, the scheduler gives its jobs to others.

    Raises
    ------
    ConnectionError
        If the connection to the scheduler is lost.
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
                raise ConnectionError(CONNECTION_LOST)
            yield job, _write_result(folder, job, result)


def _n_threads(client: Client) -> int:
    """Number of threads of all workers that the scheduler has now."""
    try:
        return sum(client.nthreads().values())
    except (OSError, AttributeError) as error:  # AttributeError: the client has closed itself
        raise ConnectionError(CONNECTION_LOST) from error


def _write_result(folder: Path, job: Job, result: bytes | tuple) -> str | None:
    """Write the shard of a job. Returns the error text if there is no shard or it cannot be written, else None."""
    try:
        if isinstance(result, bytes):
            return place_shard(folder, job, result)
        error = result[1]
    except OSError as failed:
        error = failed
    if isinstance(
        error, KilledWorker
    ):  # dask's text names the task: it would be counted as another reason for each job
        return "KilledWorker: every worker that tried it died"
    return f"{type(error).__name__}: {error}"
