"""Simulate labelled tracks in several processes or on many machines; each job writes one Parquet file, its shard.

The bytes of a shard depend on the seed, the prior, the frames and the tracks per job. They do not depend on the number
of workers, on how these are started or on the jobs that ran before. A shard gets its final name only when it is
complete, so a killed run continues with `--resume` and neither loses nor repeats a track.

    python simulations/simulate.py --tracks 2000 --prior broad --seed 0 --workers 4 --out data/broad

On many machines that have this project installed (only the one that runs the last command needs the output folder):

    dask scheduler                                                             # on one machine
    dask worker tcp://HOST:8786 --nworkers 16 --nthreads 1                     # on each machine
    python simulations/simulate.py --tracks 2000000 --scheduler tcp://HOST:8786 --out data/broad

Everyone who can reach the port of a dask scheduler or worker can run code there: open it only to machines you trust.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

from tqdm import tqdm

from simulations.arguments import Parser
from simulations.claims import HIDDEN, claim_folder
from simulations.files import TEMPORARY, write_atomically
from simulations.jobs import (
    PARAMETERS_FILE,
    TRACKS_PER_JOB,
    Job,
    make_shard,
    place_shard,
    plan_jobs,
    read_parameters,
    read_record,
    run_parameters,
)
from simulations.parameters import FRAMES, MIN_FRAMES, MODELS, PRIORS

MAX_WORKERS = 1024  # more processes than the largest machine has cores


def check_folder(folder: Path, parameters: dict, resume: bool) -> None:
    """Check that the output folder is new, or that the interrupted run in it had the same parameters.

    Raises
    ------
    ValueError
        If the folder holds another run, holds this run and `resume` is False, or holds other files.
    """
    file = folder / PARAMETERS_FILE
    if file.exists():
        before = read_parameters(folder)
        changed = [name for name in parameters | before if before.get(name) != parameters.get(name)]
        if changed:
            names = ", ".join(changed)
            raise ValueError(f"{folder} holds a run with other {names}: use the same, or another --out")
        if not resume:
            raise ValueError(f"{folder} already holds this run: continue it with --resume, or change --out")
    elif folder.exists():
        left_by_us = {file.name + TEMPORARY, HIDDEN}
        if not folder.is_dir() or {path.name for path in folder.iterdir()} - left_by_us:
            raise ValueError(f"{folder} exists and holds no run of simulate.py: use another --out")


def prepare_folder(folder: Path, parameters: dict) -> None:
    """Write the parameters into a checked and claimed folder, and remove shards that a killed run left incomplete."""
    file = folder / PARAMETERS_FILE
    text = json.dumps(parameters, indent=1)
    write_atomically(file, lambda part: part.write_text(text))
    (folder / "shards").mkdir(exist_ok=True)
    for stale in (folder / "shards").glob(f"*{TEMPORARY}"):
        stale.unlink()


def run_job(parameters: dict, job: Job, folder: Path) -> None:
    """Simulate a job and write its shard."""
    place_shard(folder, job, make_shard(parameters, job))


def run_jobs(workers: int, start_method: str, parameters: dict, jobs: list[Job], folder: Path) -> Iterator:
    """Run jobs in worker processes; yields (job, error text or None) when a job ends."""
    context = multiprocessing.get_context(start_method)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        futures = {pool.submit(run_job, parameters, job, folder): job for job in jobs}
        for future in as_completed(futures):
            error = future.exception()
            yield futures[future], None if error is None else f"{type(error).__name__}: {error}"
            if isinstance(error, BrokenProcessPool):
                break
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Set up a worker: one thread, Ctrl-C handled by the parent alone, exit when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def simulate(parameters: dict, folder, workers: int = 1, start_method="fork", resume=False, scheduler=None) -> dict:
    """Run all jobs whose shards are not yet in `folder`, in local processes or on the workers of a dask scheduler.

    Parameters
    ----------
    parameters : dict
        As returned by `run_parameters`.
    folder : path
        Output folder; made if it does not exist.
    workers : int
        Number of local processes.
    start_method : str
        How local processes are started: "fork" or "spawn".
    resume : bool
        Continue the run that `folder` holds.
    scheduler : str, optional
        Address of a dask scheduler, or path of its scheduler file; used instead of local processes.

    Returns
    -------
    dict
        Error text -> number of jobs that ended with it; empty if all tracks were delivered.

    Raises
    ------
    ValueError
        If the folder is in use or cannot be used (see `check_folder`), or the scheduler cannot (`scheduler.connect`).
    ConnectionError
        If the connection to the scheduler is lost.
    """
    if scheduler is None:
        return _run_missing_jobs(parameters, Path(folder), resume, partial(run_jobs, workers, start_method))
    from simulations.scheduler import connect, run_on_cluster  # dask takes a second to import and is needed here only

    with connect(scheduler) as client:
        return _run_missing_jobs(parameters, Path(folder), resume, partial(run_on_cluster, client))


def _run_missing_jobs(parameters: dict, folder: Path, resume: bool, run: Callable) -> dict:
    """Run the jobs whose shards are not in `folder`, with a progress bar; returns the number of jobs per error text."""
    check_folder(folder, parameters, resume)
    with claim_folder(folder):
        check_folder(folder, parameters, resume)  # another process may have begun between
        prepare_folder(folder, parameters)
        jobs = plan_jobs(parameters)
        todo = [job for job in jobs if not (folder / job.shard).exists()]
        total, left = sum(j.n_tracks for j in jobs), sum(j.n_tracks for j in todo)
        errors = Counter()
        with tqdm(total=total, initial=total - left, unit="track", smoothing=0.05) as bar:
            for job, error in run(parameters, todo, folder) if todo else ():
                if error:
                    errors[error] += 1
                else:
                    bar.update(job.n_tracks)
    return dict(errors)


def summarise(parameters: dict, folder: Path, errors: dict) -> str:
    """Text for the user: tracks per model, worlds without a track and their reasons, failed jobs."""
    lines = []
    for model in parameters["models"]:
        done = [j for j in plan_jobs(parameters) if j.model == model and (folder / j.shard).exists()]
        records = [read_record(folder / job.shard) for job in done]
        failed = sum((Counter(r["failed"]) for r in records), Counter())
        n_tracks, n_worlds = sum(j.n_tracks for j in done), sum(r["worlds"] for r in records)
        of = f"{n_tracks} of {parameters['tracks']} tracks"
        lines.append(f"{model}: {of} from {n_worlds} worlds, {failed.total()} worlds without a track")
        lines += [f"    {count} x {reason}" for reason, count in failed.most_common()]
    lines += [f"failed: {count} jobs: {error}" for error, count in errors.items()]
    advice = "; repeat with --resume to retry" if errors else ""
    return "\n".join([*lines, f"shards are in {folder}{advice}"])


def parse_arguments(argv=None) -> argparse.Namespace:
    """Parse the options of the command."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models",
        nargs="+",
        default=list(MODELS),
        choices=MODELS,
        metavar="MODEL",
        help=f"models to simulate, one or several of {', '.join(MODELS)} (default: all)",
    )
    parser.add_argument("--tracks", type=int, default=2000, help="tracks per model (default: %(default)s)")
    parser.add_argument(
        "--frames",
        type=int,
        default=FRAMES,
        help=f"frames of the simulated movie, at least {MIN_FRAMES} (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="processes on this machine (default: its number of cores, %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random numbers, 0 or more (default: %(default)s)"
    )
    parser.add_argument(
        "--prior",
        default="broad",
        choices=PRIORS,
        help="ranges from which the parameters are drawn: %(choices)s (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="output folder, new or of an interrupted run (required)"
    )
    parser.add_argument(
        "--tracks-per-job",
        type=int,
        default=TRACKS_PER_JOB,
        help="tracks of one job, which is one shard (default: %(default)s)",
    )
    parser.add_argument(
        "--start-method",
        default="fork",
        choices=("fork", "spawn"),
        help="how Python starts the processes: %(choices)s (default: %(default)s)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="run the jobs on the workers of this dask scheduler, tcp://HOST:8786 or the path of its scheduler file "
        "(default: none, use --workers processes of this machine)",
    )
    parser.add_argument("--resume", action="store_true", help="continue the interrupted run in --out (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Run the command; returns 0 if every track was written, 1 if some were not, 2 for a wrong option."""
    args = parse_arguments(argv)
    try:
        parameters = run_parameters(args.models, args.tracks, args.frames, args.seed, args.prior, args.tracks_per_job)
        if not 1 <= args.workers <= MAX_WORKERS:
            raise ValueError(f"--workers {args.workers}: expected a number from 1 to {MAX_WORKERS:,}")
        errors = simulate(parameters, args.out, args.workers, args.start_method, args.resume, args.scheduler)
        summary = summarise(parameters, args.out, errors)
    except ConnectionError as error:
        print(f"simulate.py: {error}; finished shards are kept, continue with --resume", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"simulate.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsimulate.py: stopped; finished shards are kept, continue with --resume", file=sys.stderr)
        return 130
    print(summary)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
