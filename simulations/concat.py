"""Join the shards of a simulation to one Parquet file per model, and write a manifest.

Tracks get a `track_id` that is unique over all models. Every shard becomes one row group. A track therefore never
lies in two row groups, and a reader can read the file piece by piece.

    python simulations/concat.py data/broad
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulations.arguments import Parser
from simulations.files import sha256, write_atomically
from simulations.jobs import PARAMETERS_FILE, SCHEMA, Job, plan_jobs, read_parameters, read_record
from simulations.parameters import STATES

MANIFEST_FILE = "manifest.json"


def concatenate(folder) -> dict:
    """Write `<model>.parquet` and `manifest.json` beside the shards of a finished simulation.

    Returns
    -------
    dict
        The manifest: parameters, seeds, and for each model the file, its sha256, the numbers of tracks, frames,
        frames per state and worlds, and the number of worlds without a track for each reason.

    Raises
    ------
    ValueError
        If the folder holds no simulation, or shards are missing or do not hold the expected tracks.
    """
    folder = Path(folder)
    if not (folder / PARAMETERS_FILE).is_file():
        raise ValueError(f"{folder} holds no simulation (no {PARAMETERS_FILE}): run simulate.py first")
    parameters = read_parameters(folder)
    jobs = plan_jobs(parameters)
    missing = [job.shard for job in jobs if not (folder / job.shard).exists()]
    if missing:
        absent = f"{len(missing)} of {len(jobs)} shards (first: {missing[0]})"
        raise ValueError(f"{folder} lacks {absent}: finish the simulation with simulate.py --resume")
    models = {}
    for model in parameters["models"]:
        first_id = sum(entry["tracks"] for entry in models.values())
        models[model] = _concatenate_model(folder, model, [j for j in jobs if j.model == model], first_id)
    seeds = "SeedSequence(seed, spawn_key=(index of the model in MODELS, index of the job))"
    manifest = {"parameters": parameters, "seeds": seeds, "models": models}
    text = json.dumps(manifest, indent=1)
    write_atomically(folder / MANIFEST_FILE, lambda part: part.write_text(text))
    return manifest


def _concatenate_model(folder: Path, model: str, jobs: list[Job], first_id: int) -> dict:
    """Write the Parquet file of one model; returns its entry of the manifest."""
    path = folder / f"{model}.parquet"
    write_atomically(path, lambda part: _join_shards(part, folder, jobs, first_id))
    records = [read_record(folder / job.shard) for job in jobs]
    file = pq.ParquetFile(path)
    groups = (file.read_row_group(i, ["state"])["state"].to_numpy() for i in range(file.num_row_groups))
    frames = sum(np.bincount(state, minlength=len(STATES)) for state in groups)
    return {
        "file": path.name,
        "sha256": sha256(path),
        "tracks": sum(job.n_tracks for job in jobs),
        "frames": int(frames.sum()),
        "frames_by_state": dict(zip(STATES, frames.tolist(), strict=True)),
        "worlds": sum(record["worlds"] for record in records),
        "failed": dict(sum((Counter(record["failed"]) for record in records), Counter())),
    }


def _join_shards(path: Path, folder: Path, jobs: list[Job], first_id: int) -> None:
    """Write the shards of `jobs` to one Parquet file, a row group each; track_id counts from `first_id`."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        for job in jobs:
            table = _read_shard(folder / job.shard, job, first_id)
            writer.write_table(table, row_group_size=table.num_rows)
            first_id += job.n_tracks


def _read_shard(path: Path, job: Job, first_id: int) -> pa.Table:
    """Table of one shard with track_id from `first_id`; raises ValueError if tracks are missing."""
    try:
        table = pq.read_table(path, page_checksum_verification=True).replace_schema_metadata(None)
    except (pa.ArrowException, OSError):
        table = None
    expected = np.arange(job.n_tracks)
    if (
        table is None
        or not table.schema.equals(SCHEMA)
        or not np.array_equal(np.unique(table["track_id"].to_numpy()), expected)
    ):
        raise ValueError(
            f"{path} does not hold the expected {job.n_tracks} tracks: delete it and use simulate.py --resume"
        )
    track_id = table["track_id"].to_numpy()
    return table.set_column(0, SCHEMA.field("track_id"), pa.array(track_id + first_id))


def main(argv=None) -> int:
    """Run the command; returns 2 if the folder is not a finished simulation."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the --out folder of a finished simulate.py (required)")
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
