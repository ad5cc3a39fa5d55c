"""Blocks of tracks on the workers of a dask scheduler; the client reads the files and writes the tables.

Each worker loads the weights by itself, once, and is refused if they or this project's code are not those of the
client. Of a worker that dies the scheduler gives its blocks to another; each comes back once, in order.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from distributed import Client, KilledWorker
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError

from main.tracks.analysis import analyse_tracks
from main.tracks.inference.predictor import load_predictor
from main.tracks.results.tables import Results
from main.tracks.table import Tracks
from main.utils.errors import InputError
from main.utils.files import PACKAGES, version
from simulations.files import digest_code

AHEAD = 3  # blocks per thread that are handed out: one runs, the others wait; few are lost with a worker
CODE = ("main/models", "main/tracks", "main/utils", "simulations")  # that the results depend on


@cache
def code() -> dict[str, str]:
    """Versions of packages and a digest of this project's code, as it was when first asked."""
    versions = {name: version(name) for name in PACKAGES}
    return {"tracewise": digest_code(Path(__file__).parents[2], CODE)} | versions


@cache
def predictor_of(weights: str, device: str, sha256: tuple):
    """Networks of a worker, loaded once.

    Raises
    ------
    InputError
        If it has no such weights, or others.
    """
    predictor, config = load_predictor(weights, device)
    if sorted(config.get("sha256", {}).items()) != list(sha256):
        raise InputError(f"A worker has other weights named {weights} than are here, install the same there.")
    return predictor, config


def work(block: Tracks, networks: tuple, needed: dict, options: dict) -> Results:
    """The tables of a block, on a worker."""
    if code() != needed:  # one that joined later
        raise InputError("A worker has other code than is here, install the same there and start it again.")
    return analyse_tracks(block, *predictor_of(*networks), **options)


def analyse_on(client: Client, blocks: Iterable, networks: tuple, config: dict, options: dict) -> Iterator:
    """Tables of blocks from the workers of `client`.

    Parameters
    ----------
    client : distributed.Client
        Of `simulations.scheduler.connect`.
    blocks : iterable of (anything, Tracks)
    networks : (str, str)
        The weights' name, and the device to run them on.
    config : dict
        The weights' configuration.
    options : dict
        Of `analyse_tracks`.

    Yields
    ------
    tuple
        anything, Tracks, Results; in the order of the blocks.

    Raises
    ------
    InputError
        If workers die with every attempt, cannot do the work, or the scheduler goes away.
    """
    networks, running = (*networks, tuple(sorted(config.get("sha256", {}).items()))), deque()
    try:
        for label, block in blocks:
            future = client.submit(work, block, networks, code(), options, pure=False)
            running.append((label, block, future))
            if len(running) >= AHEAD * max(sum(client.nthreads().values()), 1):
                yield settled(*running.popleft())
        while running:
            yield settled(*running.popleft())
    except KilledWorker:
        raise InputError("--scheduler: every worker that tried a part of the run died.") from None
    except (FutureCancelledError, CommClosedError, ConnectionError) as error:
        raise InputError(f"--scheduler: the scheduler went away ({error}).") from error


def settled(label, block, future):
    """What a block came to; its future is let go, so that the cluster's memory is too."""
    result = future.result()
    future.release()
    return label, block, result
