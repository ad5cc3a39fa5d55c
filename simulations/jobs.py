"""Jobs of a simulation: fixed pieces of work, each with its own seed, each one Parquet shard.

The bytes of a shard depend on the parameters of the run and on the job, not on the process, the machine or the
order in which jobs are made; `simulate.py` and `scheduler.py` only decide who makes them.
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
from simulations.parameters import MIN_FRAMES, MODELS, PRIORS, sample_worlds

PARAMETERS_FILE = "simulation.json"
TRACKS_PER_JOB = 250
MAX_BARREN_WORLDS = 1000  # worlds in a row without a track, after which a job gives up
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
    """What fixes the bytes of a run, versions included.

    Raises
    ------
    ValueError
        If a value is not usable; the message names the option.
    """
    for name, value, low in (
        ("tracks", tracks, 1),
        ("tracks-per-job", tracks_per_job, 1),
        ("seed", seed, 0),
        ("frames", frames, MIN_FRAMES),
    ):
        if value < low:
            raise ValueError(f"--{name} {value}: expected {low} or more")
    for model in models:  # unknown names, and priors that have no such model, are refused here
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
    return [
        Job(model, i, min(size, total - i * size)) for model in parameters["models"] for i in range(-(-total // size))
    ]


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


def make_shard(parameters: dict, job: Job) -> bytes:
    """Simulate a job; the Parquet file of its tracks, with the record of `simulate_job` in its metadata."""
    tracks, record = simulate_job(parameters, job)
    file = pa.BufferOutputStream()
    pq.write_table(tracks_table(tracks, job.model, record), file, compression="zstd")
    return file.getvalue().to_pybytes()


def place_shard(folder: Path, job: Job, shard: bytes) -> None:
    """Write a shard; it appears under its name only when complete."""
    write_atomically(folder / job.shard, lambda part: part.write_bytes(shard), shared=True)


def read_record(path: Path) -> dict:
    """The record that `make_shard` left in a shard."""
    return json.loads(pq.read_schema(path).metadata[b"tracewise"])
