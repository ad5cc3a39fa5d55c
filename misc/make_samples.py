"""Write the shipped sample tracks: 12 of each of the five models, with parameters of membrane proteins.

    python misc/make_samples.py

`samples/tracks.csv` holds track_id, frame, x, y (px) as a tracker would; `samples/truth.parquet` adds K,
alpha, state, localisation error and model of every frame. MEMBRANE is an example of a prior for one experiment.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from simulations.batched import simulate_batched
from simulations.parameters import BOX_PX, MODELS, PRIORS, SIGMA_PX, Range, sample_worlds

TRACKS_PER_MODEL = 12
SAMPLES = Path(__file__).parents[1] / "samples"
MEMBRANE = replace(
    PRIORS["broad"],
    name="membrane",
    relative=False,
    k=Range(0.2, 2, log=True),
    alpha=Range(0.5, 1.5),
    k_ratio=Range(0.01, 0.2, log=True),
    n_states=(2,),
    leave=Range(0.01, 0.03),
    directed=0.3,
    one_fixed=0.0,
    sigma=Range(SIGMA_PX, SIGMA_PX),
    perfect=0.0,
    box=Range(BOX_PX, BOX_PX),
    fov_fraction=1 / 1.8,
    trap_radius=Range(0.4, 1.0),
    trap_area=Range(0.01, 0.03),
    p_unbind=Range(0.01, 0.03),
    particle_radius=Range(0.6, 1.0),
    particle_area=Range(0.02, 0.04),
    compartment_radius=Range(3, 5),
    compartment_area=Range(0.15, 0.3),
    transmittance=Range(0.02, 0.05),
)


def simulate_samples(seed: int = 2) -> pd.DataFrame:
    """Simulate the sample as one track table: positions rounded to 1e-4 px, track_id unique over models."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    parts = []
    for model in MODELS:
        batch = simulate_batched(sample_worlds(MEMBRANE, model, 48, rng), generator)
        for i in torch.randperm(len(batch["length"]), generator=generator)[:TRACKS_PER_MODEL].tolist():
            n = int(batch["length"][i])
            columns = {name: batch[name][i, :n].double().numpy() for name in ("k", "alpha")}
            parts.append(
                pd.DataFrame(
                    {
                        "track_id": len(parts),
                        "frame": np.arange(n),
                        "x": batch["xy"][i, :n, 0].double().numpy(),
                        "y": batch["xy"][i, :n, 1].double().numpy(),
                        **columns,
                        "state": batch["state"][i, :n].numpy(),
                        "sigma": SIGMA_PX,
                        "model": model,
                    }
                )
            )
    table = pd.concat(parts, ignore_index=True).round({"x": 4, "y": 4})
    return table.astype({"track_id": "int64", "state": "int8"})


def main(arguments=None) -> None:
    """Write both files and print their number of tracks and frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    SAMPLES.mkdir(exist_ok=True)
    table = simulate_samples()
    table[["track_id", "frame", "x", "y"]].to_csv(SAMPLES / "tracks.csv", index=False)
    table.to_parquet(SAMPLES / "truth.parquet", index=False)
    print(f"{table['track_id'].nunique()} tracks, {len(table)} frames in {SAMPLES}")


if __name__ == "__main__":
    main()
