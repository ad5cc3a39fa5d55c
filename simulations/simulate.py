"""Simulate labelled tracks from the shell, in several processes, one Parquet shard per job.

Job i of a model is a fixed piece of work: its bytes depend on the seed, the prior, the frames and the
tracks per job, not on the number of workers, the way they are started or which jobs ran before. A shard
appears under its name only when complete, so that a killed run continues with `--resume` and neither loses
nor repeats a track.

    python simulations/simulate.py --tracks 2000 --prior broad --seed 0 --workers 4 --out data/broad
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
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from simulations.andi import Track, seeded, simulate_world
from simulations.parameters import FRAMES, MIN_FRAMES, MODELS, PRIORS, sample_worlds

PARAMETERS_FILE = "simulation.json"
TRACKS_PER_JOB = 250
MAX_BARREN_WORLDS = 1000  # worlds in a row without a track, after which a job gives up
NO_TRACK = f"no track of {MIN_FRAMES} frames inside the field of view"
SCHEMA = pa.schema(
    [pa.field("track_id", pa.int64()), pa.field("frame", pa.int64())]
    + [pa.field(name, pa.float64(), metadata={"unit": "px"}) for name in ("x", "y")]
    + [pa.field("k", pa.float64(), metadata={"unit": "px^2/frame^alpha"}), pa.field("alpha", pa.float64()),
       pa.field("state", pa.int8()), pa.field("sigma", pa.float64(), metadata={"unit": "px"}),
       pa.field("model", pa.string())]
)  # fmt: skip


class Job(NamedTuple):
    """`n_tracks` tracks of one model; `index` counts the jobs of that model."""

    model: str
    index: int
    n_tracks: int

    @property
    def shard(self) -> str:
        """File of the job's tracks, in the folder of the run."""
        return f"shards/{self.model}_{self.index:05d}.parquet"


def plan_jobs(parameters: dict) -> list[Job]:
    """The jobs of a run, model by model; the last of a model is short if tracks do not divide evenly."""
    size, total = parameters["tracks_per_job"], parameters["tracks"]
    return [Job(model, i, min(size, total - i * size))
            for model in parameters["models"] for i in range(-(-total // size))]  # fmt: skip


def job_seed(root: int, job: Job) -> np.random.SeedSequence:
    """Seed of a job: `SeedSequence(root).spawn(...)[model].spawn(...)[index]`, the others not spawned."""
    return np.random.SeedSequence(root, spawn_key=(MODELS.index(job.model), job.index))


def simulate_job(parameters: dict, job: Job) -> tuple[list[Track], dict]:
    """Simulate worlds until a job has its tracks.

    Returns
    -------
    tracks : list of Track
        Exactly `job.n_tracks` tracks.
    record : dict
        What was done: seed, number of worlds, and how many worlds failed for which reason.

    Raises
    ------
    RuntimeError
        If 1,000 worlds in a row gave no track; the message names the most frequent reason.
    """
    tracks, failed, n_worlds, barren = [], Counter(), 0, 0
    with seeded(job_seed(parameters["seed"], job)) as rng:
        while len(tracks) < job.n_tracks:
            world = sample_worlds(parameters["prior"], job.model, 1, rng, n_frames=parameters["frames"])
            n_worlds += 1
            try:
                new = simulate_world(world)
                reason = NO_TRACK
            except Exception as error:  # whatever the library raises is counted and reported
                new, reason = [], f"{type(error).__name__}: {error}"
            tracks += new
            failed[reason] += not new
            barren = 0 if new else barren + 1
            if barren == MAX_BARREN_WORLDS:
                worst = failed.most_common(1)[0][0]
                raise RuntimeError(f"{barren} worlds in a row without a track ({worst})")
    spawn_key = list(job_seed(parameters["seed"], job).spawn_key)
    record = {"seed": parameters["seed"], "spawn_key": spawn_key, "worlds": n_worlds, "failed": dict(+failed)}
    return tracks[: job.n_tracks], record


def tracks_table(tracks: list[Track], model: str, record: dict) -> pa.Table:
    """The track table of a job, `record` in its metadata; track_id counts from 0."""
    lengths = [len(t.frame) for t in tracks]
    xy = np.concatenate([t.xy for t in tracks])
    columns = {
        "track_id": np.repeat(np.arange(len(tracks)), lengths),
        "x": xy[:, 0],
        "y": xy[:, 1],
        "sigma": np.repeat([float(t.sigma) for t in tracks], lengths),
        "model": np.repeat([model], sum(lengths)),
    }
    for name in ("frame", "k", "alpha", "state"):
        columns[name] = np.concatenate([getattr(t, name) for t in tracks])
    schema = SCHEMA.with_metadata({"tracewise": json.dumps(record, sort_keys=True)})
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=schema)


def run_job(parameters: dict, job: Job, folder: str) -> dict:
    """Simulate a job and put its shard in place; returns the job's record."""
    tracks, record = simulate_job(parameters, job)
    path = Path(folder, job.shard)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    pq.write_table(tracks_table(tracks, job.model, record), part, compression="zstd")
    os.replace(part, path)
    return record


def read_record(path: Path) -> dict:
    """The record that `run_job` left in a shard."""
    return json.loads(pq.read_schema(path).metadata[b"tracewise"])


def prepare_folder(folder: Path, parameters: dict, resume: bool) -> None:
    """Make the output folder, or check that an interrupted run there had the same parameters.

    Raises
    ------
    ValueError
        If the folder holds another run, or holds any run and `resume` is not given.
    """
    file = folder / PARAMETERS_FILE
    part = file.with_suffix(".part")
    if file.exists():
        before = json.loads(file.read_text())
        changed = [name for name in parameters | before if before.get(name) != parameters.get(name)]
        if changed:
            names = ", ".join(changed)
            raise ValueError(f"{folder} holds a run with other {names}: use the same, or another --out")
        if not resume:
            raise ValueError(f"{folder} already holds this run: continue it with --resume, or change --out")
    elif folder.exists() and (not folder.is_dir() or set(folder.iterdir()) - {part}):
        raise ValueError(f"{folder} exists and holds no run of simulate.py: use another --out")
    folder.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(parameters, indent=1))
    os.replace(part, file)
    (folder / "shards").mkdir(exist_ok=True)
    for stale in (folder / "shards").glob("*.part"):
        stale.unlink()


def run_jobs(parameters: dict, jobs: list[Job], folder: Path, workers: int, start_method: str) -> Iterator:
    """Run jobs in worker processes; yields (job, error text or None) as each ends."""
    context = multiprocessing.get_context(start_method)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        futures = {pool.submit(run_job, parameters, job, str(folder)): job for job in jobs}
        for future in as_completed(futures):
            error = future.exception()
            yield futures[future], None if error is None else f"{type(error).__name__}: {error}"
            if isinstance(error, BrokenProcessPool):
                break
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread per worker, Ctrl-C left to the parent, and no worker that outlives a killed parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def simulate(parameters: dict, folder, workers: int = 1, start_method: str = "fork", resume=False) -> dict:
    """Run all jobs that `folder` does not hold yet.

    Parameters
    ----------
    parameters : dict
        As `run_parameters` gives them.

    Returns
    -------
    dict
        Error text -> number of jobs that ended with it; empty if all tracks were delivered.

    Raises
    ------
    ValueError
        If the folder is not fit: see `prepare_folder`.
    """
    folder = Path(folder)
    prepare_folder(folder, parameters, resume)
    jobs = plan_jobs(parameters)
    todo = [job for job in jobs if not (folder / job.shard).exists()]
    total, left = sum(j.n_tracks for j in jobs), sum(j.n_tracks for j in todo)
    errors = Counter()
    with tqdm(total=total, initial=total - left, unit="track", smoothing=0.05) as bar:
        for job, error in run_jobs(parameters, todo, folder, workers, start_method) if todo else ():
            if error:
                errors[error] += 1
            else:
                bar.update(job.n_tracks)
    return dict(errors)


def run_parameters(models, tracks, frames, seed, prior: str, tracks_per_job=TRACKS_PER_JOB) -> dict:
    """What fixes the bytes of a run, versions included.

    Raises
    ------
    ValueError
        If a value is not usable; the message names the option.
    """
    for name, value, low in (("tracks", tracks, 1), ("tracks-per-job", tracks_per_job, 1), ("seed", seed, 0),
                             ("frames", frames, MIN_FRAMES)):  # fmt: skip
        if value < low:
            raise ValueError(f"--{name} {value}: expected {low} or more")
    for model in models:  # unknown names, and priors that have no such model, are refused here
        sample_worlds(prior, model, 1, np.random.default_rng(0))
    return {
        "models": [m for m in MODELS if m in models], "tracks": tracks, "frames": frames, "seed": seed,
        "prior": prior, "prior_values": repr(PRIORS[prior]), "tracks_per_job": tracks_per_job,
        "andi_datasets": version("andi-datasets"), "numpy": np.__version__,
    }  # fmt: skip


def summary(parameters: dict, folder: Path, errors: dict) -> str:
    """What was delivered and what failed, in words."""
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
    """Options of the command."""
    parser = argparse.ArgumentParser(description="Simulate labelled tracks with andi_datasets.")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS, metavar="MODEL",
                        help=f"any of {', '.join(MODELS)} (default: all)")  # fmt: skip
    parser.add_argument("--tracks", type=int, default=2000, help="tracks per model")
    parser.add_argument("--frames", type=int, default=FRAMES, help="frames of the simulated movie")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prior", default="broad", choices=PRIORS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tracks-per-job", type=int, default=TRACKS_PER_JOB)
    parser.add_argument("--start-method", default="fork", choices=("fork", "spawn"))
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run in --out")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """The command; 0 if every track was delivered, 1 if some jobs failed, 2 for a wrong option."""
    args = parse_arguments(argv)
    try:
        parameters = run_parameters(args.models, args.tracks, args.frames, args.seed, args.prior,
                                    args.tracks_per_job)  # fmt: skip
        errors = simulate(parameters, args.out, max(args.workers, 1), args.start_method, args.resume)
    except ValueError as error:
        print(f"simulate.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsimulate.py: stopped; finished shards are kept, continue with --resume", file=sys.stderr)
        return 130
    print(summary(parameters, args.out, errors))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
