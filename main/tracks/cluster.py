"""Analysis of blocks of tracks on the workers of a dask scheduler; the client reads the files and writes the tables.

Each worker loads the weights once. A worker whose weights or code differ from the client's is refused. If a worker
dies, the scheduler gives its blocks to another one. Every block comes back once, in order.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from distributed import Client, Future, KilledWorker
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError

from main.tracks.analysis import analyse_tracks
from main.tracks.inference.predictor import load_predictor
from main.tracks.options import InferenceOptions
from main.tracks.results.tables import Results
from main.tracks.table import Tracks
from main.utils.errors import InputError
from main.utils.files import PACKAGES, version
from simulations.files import digest_code

BLOCKS_PER_THREAD = 3  # handed out at a time: one runs, two wait; a worker that dies loses no more than these
CODE_FOLDERS = ("main/models", "main/tracks", "main/utils", "simulations")  # the code that results depend on


@cache
def describe_code() -> dict[str, str]:
    """Return versions of packages and a digest of this project's code, as it was at the first call."""
    versions = {name: version(name) for name in PACKAGES}
    return {"tracewise": digest_code(Path(__file__).parents[2], CODE_FOLDERS)} | versions


@cache
def load_checked_predictor(weights: str, device: str, sha256: tuple):
    """Load the networks of a worker, once.

    Parameters
    ----------
    weights, device : str
        As in `main.tracks.options.InferenceOptions`.
    sha256 : tuple of (str, str)
        Network and checksum of its weights on the client, in order of the names.

    Returns
    -------
    predictor : main.tracks.inference.predictor.Predictor
    config : dict
        The weights' configuration.

    Raises
    ------
    InputError
        If the worker has no weights of this name, or other ones.
    """
    predictor, config = load_predictor(weights, device)
    if sorted(config.get("sha256", {}).items()) != list(sha256):
        raise InputError(
            f"--scheduler: a worker has other weights named {weights} than this machine, copy them there and start "
            "the worker again."
        )
    return predictor, config


def analyse_block(block: Tracks, options: InferenceOptions, sha256: tuple, client_code: dict[str, str]) -> Results:
    """Analyse one block on a worker; `client_code` is `describe_code()` of the client.

    Raises
    ------
    InputError
        If the worker's code or weights differ from the client's.
    """
    if describe_code() != client_code:  # a worker that joined after the client had checked all workers
        raise InputError(
            "--scheduler: a worker has another version of this project than this machine, install the same version "
            "there and start the worker again."
        )
    predictor, config = load_checked_predictor(options.weights, options.device, sha256)
    return analyse_tracks(
        block,
        predictor,
        config,
        options.min_length,
        sigma=options.sigma,
        adapt=options.as_sample,
        exposure=options.exposure,
    )


def analyse_blocks(
    client: Client, blocks: Iterable, options: InferenceOptions, sha256: dict[str, str]
) -> Iterator[tuple]:
    """Analyse blocks of tracks on the workers of `client`.

    Parameters
    ----------
    client : distributed.Client
        As returned by `simulations.scheduler.connect`.
    blocks : iterable of (object, Tracks)
        The object names the block; it stays on this machine.
    options : InferenceOptions
        With `weights` and `device` as the workers shall use them.
    sha256 : dict of str -> str
        Network -> checksum of its weights on this machine.

    Yields
    ------
    tuple of (object, Tracks, Results)
        In the order of the blocks.

    Raises
    ------
    InputError
        If every worker that tries a block dies, a worker's code or weights differ, or the scheduler does not answer
        any more.
    """
    checksums, running = tuple(sorted(sha256.items())), deque()
    try:
        for label, block in blocks:
            future = client.submit(analyse_block, block, options, checksums, describe_code(), pure=False)
            running.append((label, block, future))
            if len(running) >= BLOCKS_PER_THREAD * max(sum(client.nthreads().values()), 1):
                yield wait_for_result(*running.popleft())
        while running:
            yield wait_for_result(*running.popleft())
    except KilledWorker:
        raise InputError(
            "--scheduler: every worker that tried a block of tracks died, look for the cause in the workers' output "
            "(often too little memory)."
        ) from None
    except (FutureCancelledError, CommClosedError, ConnectionError) as error:
        raise InputError(
            f"--scheduler: the scheduler does not answer any more ({error}), start it and the analysis again."
        ) from error


def wait_for_result(label, block: Tracks, future: Future) -> tuple:
    """Wait for a block's tables; the future is released, so that the cluster can free its memory."""
    result = future.result()
    future.release()
    return label, block, result
