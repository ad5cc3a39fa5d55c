"""Write the shipped sample tracks: 12 of each of the five models, parameters of the benchmark experiments.

    python misc/make_samples.py

`samples/tracks.csv` holds track_id, frame, x, y (px) as a tracker would; `samples/truth.parquet` adds K,
alpha, state and localisation error of every frame.
"""

from pathlib import Path

import pandas as pd

from simulations.parameters import MODELS
from simulations.simulate import Job, run_parameters, simulate_job, tracks_table

TRACKS_PER_MODEL = 12
SAMPLES = Path(__file__).parents[1] / "samples"


def sample_tracks(seed: int = 2) -> pd.DataFrame:
    """Track table of the sample: positions rounded to 1e-4 px, track_id unique over models."""
    parameters = run_parameters(MODELS, TRACKS_PER_MODEL, 200, seed, "benchmark")
    parts = []
    for i, model in enumerate(MODELS):
        tracks, record = simulate_job(parameters, Job(model, 0, TRACKS_PER_MODEL))
        part = tracks_table(tracks, model, record).to_pandas()
        parts.append(part.assign(track_id=part["track_id"] + i * TRACKS_PER_MODEL))
    return pd.concat(parts, ignore_index=True).round({"x": 4, "y": 4})


def main() -> None:
    """Write both files and say how much is in them."""
    SAMPLES.mkdir(exist_ok=True)
    table = sample_tracks()
    table[["track_id", "frame", "x", "y"]].to_csv(SAMPLES / "tracks.csv", index=False)
    table.to_parquet(SAMPLES / "truth.parquet", index=False)
    print(f"{table['track_id'].nunique()} tracks, {len(table)} frames in {SAMPLES}")


if __name__ == "__main__":
    main()
