"""Jobs of a simulation: each has its own seed and makes one Parquet file, its shard.

The bytes of a shard depend on the parameters of the run and on the job. They do not depend on the process, the machine
or the order of the jobs. `simulate.py` and `scheduler.py` only decide where a job runs.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulations.andi import Track, seeded, simulate_world
from simulations.files import write_atomically
from simulations.parameters import MAX_FRAMES, MIN_FRAMES, MODELS, PRIORS, sample_worlds

PARAMETERS_FILE = "simulation.json"
TRACKS_PER_JOB = 250
MAX_EMPTY_WORLDS = 1000  # worlds in a row without a track, after which a job stops with an error
LIMITS = {  # smallest and largest value; a job is held in memory
    "tracks": (1, 100_000_000),
    "tracks_per_job": (1, 100_000),
    "seed": (0, 2**63 - 1),
    "frames": (MIN_FRAMES, MAX_FRAMES),
}
NO_TRACK = f"no track of {MIN_FRAMES} frames inside the field of view"
SCHEMA = pa.schema(
    [pa.field("track_id", pa.int64()), pa.field("frame", pa.int64())]
    + [pa.field(name, pa.float64(), metadata={"unit": "px"}) for name in ("x", "y")]
    + [
        pa.field("k", pa.float64(), metadata={"unit": "px^2/frame^alpha"}),
        pa.field("alpha", pa.float64()),
        pa.field("state", pa.int8()),
        pa.field("sigma", pa.float64(), metadata={"unit": "px"}),
        pa.field("model", pa.string()),
    ]
)


def run_parameters(models, tracks, frames, seed, prior: str, tracks_per_job=TRACKS_PER_JOB) -> dict:
    """Collect everything on which the bytes of a run depend, versions included.

    Raises
    ------
    ValueError
        If a value cannot be used; the message names the option.
    """
    for name, value in (("tracks", tracks), ("tracks_per_job", tracks_per_job), ("seed", seed), ("frames", frames)):
        low, high = LIMITS[name]
        if not low <= value <= high:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} {value}: expected {low} or more, at most {high:,}")
    for model in models:  # raises for unknown names, and for priors without this model
        sample_worlds(prior, model, 1, np.random.default_rng(0))
    return {
        "models": [m for m in MODELS if m in models],
        "tracks": tracks,
        "frames": frames,
        "seed": seed,
        "prior": prior,
        "prior_values": repr(PRIORS[prior]),
        "tracks_per_job": tracks_per_job,
        "andi_datasets": version("andi-datasets"),
        "numpy": np.__version__,
    }


def read_parameters(folder: Path) -> dict:
    """Read the parameters of a run from its folder.

    Raises
    ------
    ValueError
        If the file is not one that `simulate.py` wrote.
    """
    file = Path(folder) / PARAMETERS_FILE
    try:
        parameters = json.loads(file.read_text())
        models = parameters["models"]
        known = isinstance(models, list) and models and all(model in MODELS for model in models)
        for name, (low, high) in LIMITS.items():
            known &= type(parameters[name]) is int and low <= parameters[name] <= high
    except (ValueError, TypeError, KeyError, RecursionError):
        known = False
    if not known:
        raise ValueError(f"{file}: is damaged, it does not hold the parameters of a simulation; use another folder")
    return parameters


class Job(NamedTuple):
    """One job: `n_tracks` tracks of one model; `index` is its number among the jobs of that model."""

    model: str
    index: int
    n_tracks: int

    @property
    def shard(self) -> str:
        """Name of the file of the job's tracks, relative to the folder of the run."""
        return f"shards/{self.model}_{self.index:05d}.parquet"


def plan_jobs(parameters: dict) -> list[Job]:
    """List the jobs of a run, model by model. The last job of a model may have fewer tracks."""
    size, total = parameters["tracks_per_job"], parameters["tracks"]
    return [
        Job(model, i, min(size, total - i * size)) for model in parameters["models"] for i in range(-(-total // size))
    ]


def job_seed(root: int, job: Job) -> np.random.SeedSequence:
    """Seed of a job, equal to `SeedSequence(root).spawn(...)[model].spawn(...)[index]`."""
    return np.random.SeedSequence(root, spawn_key=(MODELS.index(job.model), job.index))


def simulate_job(parameters: dict, job: Job) -> tuple[list[Track], dict]:
    """Simulate worlds until a job has all its tracks.

    Returns
    -------
    tracks : list of Track
        Exactly `job.n_tracks` tracks.
    record : dict
        Seed, number of worlds, and the number of worlds without a track for each reason.

    Raises
    ------
    RuntimeError
        If 1,000 worlds in a row give no track; the message names the most frequent reason.
    """
    tracks, failed, n_worlds, empty = [], Counter(), 0, 0
    with seeded(job_seed(parameters["seed"], job)) as rng:
        while len(tracks) < job.n_tracks:
            world = sample_worlds(parameters["prior"], job.model, 1, rng, n_frames=parameters["frames"])
            n_worlds += 1
            try:
                new = simulate_world(world)
                reason = NO_TRACK
            except Exception as error:  # every error of the library is counted and reported
                new, reason = [], f"{type(error).__name__}: {error}"
            tracks += new
            failed[reason] += not new
            empty = 0 if new else empty + 1
            if empty == MAX_EMPTY_WORLDS:
                worst = failed.most_common(1)[0][0]
                raise RuntimeError(f"{empty} worlds in a row without a track ({worst})")
    spawn_key = list(job_seed(parameters["seed"], job).spawn_key)
    record = {"seed": parameters["seed"], "spawn_key": spawn_key, "worlds": n_worlds, "failed": dict(+failed)}
    return tracks[: job.n_tracks], record


def tracks_table(tracks: list[Track], model: str, record: dict) -> pa.Table:
    """Table of the tracks of a job, with `record` in its metadata; track_id counts from 0."""
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


def make_shard(parameters: dict, job: Job) -> bytes:
    """Simulate a job and return the bytes of its Parquet file, with the record of `simulate_job` in the metadata."""
    tracks, record = simulate_job(parameters, job)
    file = pa.BufferOutputStream()
    pq.write_table(tracks_table(tracks, job.model, record), file, compression="zstd", write_page_checksum=True)
    return file.getvalue().to_pybytes()


def place_shard(folder: Path, job: Job, shard: bytes) -> None:
    """Write a shard; it gets its final name only when it is complete."""
    write_atomically(folder / job.shard, lambda part: part.write_bytes(shard), shared=True)


def read_record(path: Path) -> dict:
    """Read the record that `make_shard` wrote into the metadata of a shard.

    Raises
    ------
    ValueError
        If the file is damaged or is no shard.
    """
    try:
        record = json.loads(pq.read_schema(path).metadata[b"tracewise"])
        return {"worlds": int(record["worlds"]), "failed": dict(record["failed"]), **record}
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError):
        raise ValueError(f"{path}: is damaged, delete it and continue with simulate.py --resume") from None
