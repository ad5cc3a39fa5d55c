"""Concatenate the shards of a simulation: one Parquet per model, and a manifest.

Tracks get a `track_id` that is unique over all models. Every shard becomes one row group, so that no track is
cut by the border of a row group and a reader can stream the file.

    python simulations/concat.py data/broad
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulations.jobs import PARAMETERS_FILE, SCHEMA, Job, plan_jobs, read_record
from simulations.parameters import STATES

MANIFEST_FILE = "manifest.json"


def concatenate(folder) -> dict:
    """Write `<model>.parquet` and `manifest.json` beside the shards of a finished simulation.

    Returns
    -------
    dict
        The manifest: parameters, seeds, and per model the file, its sha256, its tracks, frames, frames per
        state, worlds, and worlds that failed by reason.

    Raises
    ------
    ValueError
        If the folder holds no simulation, or one with shards missing or of the wrong length.
    """
    folder = Path(folder)
    if not (folder / PARAMETERS_FILE).is_file():
        raise ValueError(f"{folder} holds no simulation (no {PARAMETERS_FILE}): run simulate.py first")
    parameters = json.loads((folder / PARAMETERS_FILE).read_text())
    jobs = plan_jobs(parameters)
    missing = [job.shard for job in jobs if not (folder / job.shard).exists()]
    if missing:
        lack = f"{len(missing)} of {len(jobs)} shards (first: {missing[0]})"
        raise ValueError(f"{folder} lacks {lack}: finish the simulation with --resume")
    models = {}
    for model in parameters["models"]:
        first_id = sum(entry["tracks"] for entry in models.values())
        models[model] = _concatenate_model(folder, model, [j for j in jobs if j.model == model], first_id)
    seeds = "SeedSequence(seed, spawn_key=(index of the model in MODELS, index of the job))"
    manifest = {"parameters": parameters, "seeds": seeds, "models": models}
    part = folder / f"{MANIFEST_FILE}.part"
    part.write_text(json.dumps(manifest, indent=1))
    os.replace(part, folder / MANIFEST_FILE)
    return manifest


def _concatenate_model(folder: Path, model: str, jobs: list[Job], first_id: int) -> dict:
    """Write the Parquet of one model; returns its entry of the manifest."""
    path = folder / f"{model}.parquet"
    part = path.with_suffix(".part")
    n_tracks, n_worlds, failed, frames = 0, 0, Counter(), np.zeros(len(STATES), int)
    with pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        for job in jobs:
            table = _read_shard(folder / job.shard, job, first_id + n_tracks)
            writer.write_table(table, row_group_size=table.num_rows)
            record = read_record(folder / job.shard)
            n_tracks, n_worlds = n_tracks + job.n_tracks, n_worlds + record["worlds"]
            failed.update(record["failed"])
            frames += np.bincount(table["state"].to_numpy(), minlength=len(STATES))
    os.replace(part, path)
    return {
        "file": path.name,
        "sha256": sha256(path),
        "tracks": n_tracks,
        "frames": int(frames.sum()),
        "frames_by_state": dict(zip(STATES, frames.tolist(), strict=True)),
        "worlds": n_worlds,
        "failed": dict(failed),
    }


def _read_shard(path: Path, job: Job, first_id: int) -> pa.Table:
    table = pq.read_table(path).replace_schema_metadata(None)
    track_id = table["track_id"].to_numpy()
    if not np.array_equal(np.unique(track_id), np.arange(job.n_tracks)):
        raise ValueError(f"{path} should hold {job.n_tracks} tracks and does not: delete it and use --resume")
    return table.set_column(0, SCHEMA.field("track_id"), pa.array(track_id + first_id))


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(argv=None) -> int:
    """The command; 2 if the folder is not a finished simulation."""
    parser = argparse.ArgumentParser(description="Shards -> one Parquet per model and a manifest.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(argv).folder
    try:
        manifest = concatenate(folder)
    except (ValueError, OSError) as error:
        print(f"concat.py: {error}", file=sys.stderr)
        return 2
    for entry in manifest["models"].values():
        print(f"{folder / entry['file']}: {entry['tracks']} tracks, {entry['frames']} frames")
    return 0


if __name__ == "__main__":
    sys.exit(main())
