"""Write the shipped sample tracks and their truth.

    python misc/make_samples.py

`samples/receptors.csv` is like a table of an experiment, in um and s: receptors that diffuse and are bound in turns, as
long as the dye lives, with missing frames; `samples/receptors_truth.parquet` adds the state of every frame.
`samples/tracks.csv` holds 12 tracks of each of the five models, with parameters of membrane proteins, in px and frames;
`samples/truth.parquet` adds K, alpha, state, localisation error and model of every frame. MEMBRANE is an example of a
prior for one experiment.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from misc.known_tracks import FRAME_INTERVAL, localise, switching
from simulations.batched import simulate_batched
from simulations.parameters import BOX_PX, MODELS, PRIORS, SIGMA_PX, Range, sample_worlds

TRACKS_PER_MODEL = 12
N_RECEPTORS = 100  # tracks
MEAN_FRAMES = 70  # of a track, until the dye bleaches; geometric
FRAMES = (8, 400)  # fewest and most of a track
MOVIE_FRAMES = 1500  # tracks start at random frames of it
FIELD_UM = 40.0  # side of the field in which tracks start
D_FREE = 0.12  # um^2/s, as of many receptors in the plasma membrane; bound receptors do not move
DWELLS_S = (1.2, 0.8)  # mean dwells free and bound, s, so that 40 % of the time is bound
RECEPTOR_ERROR_UM = 0.03  # localisation error per coordinate
MISSING_FRAMES = 0.02  # share of the frames, but first and last, in which the receptor is not seen
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


def simulate_receptors(seed: int = 5) -> pd.DataFrame:
    """Simulate receptors as a table: track_id, frame, time_s, x_um, y_um (rounded to 1e-4 um), bound (bool)."""
    rng = np.random.default_rng(seed)
    parts = []
    for track in range(N_RECEPTORS):
        n = int(np.clip(rng.geometric(1 / MEAN_FRAMES), *FRAMES))
        (path,), (bound,) = switching(1, n, DWELLS_S, rng, d=(D_FREE, 0.0))
        (seen,) = localise([path + rng.uniform(0, FIELD_UM, 2)], RECEPTOR_ERROR_UM, rng)
        frame = int(rng.integers(0, MOVIE_FRAMES - n)) + np.arange(n)
        columns = {"frame": frame, "time_s": frame * FRAME_INTERVAL, "x_um": seen[:, 0], "y_um": seen[:, 1]}
        there = rng.random(n) >= MISSING_FRAMES
        there[[0, -1]] = True
        parts.append(pd.DataFrame({"track_id": track, **columns, "bound": bound})[there])
    return pd.concat(parts, ignore_index=True).round({"time_s": 4, "x_um": 4, "y_um": 4})


def main(arguments=None) -> None:
    """Write all files and print their numbers of tracks and frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    SAMPLES.mkdir(exist_ok=True)
    table = simulate_samples()
    table[["track_id", "frame", "x", "y"]].to_csv(SAMPLES / "tracks.csv", index=False)
    table.to_parquet(SAMPLES / "truth.parquet", index=False)
    receptors = simulate_receptors()
    receptors.drop(columns="bound").to_csv(SAMPLES / "receptors.csv", index=False)
    receptors.to_parquet(SAMPLES / "receptors_truth.parquet", index=False)
    for made in (table, receptors):
        print(f"{made['track_id'].nunique()} tracks, {len(made)} frames in {SAMPLES}")


if __name__ == "__main__":
    main()
