"""The nine benchmark experiments of the second AnDi challenge, generated with andi_datasets and read back.

Every field of view is simulated alone (a window of 128 x 128 px at a random place in a box of 230.4 px), as in the
andi_datasets tutorial "challenge_two_benchmark". The files have the layout of the challenge:
``DIR/track_2/exp_E/trajs_fov_F.csv`` (traj_idx, frame, x, y, alpha, D, state) and ``traj_labs_fov_F.txt``.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from main.tracks.results.andi_files import read_labels
from simulations.claims import HIDDEN
from simulations.experiments import EXPERIMENTS
from simulations.labels import label_filter
from simulations.parameters import MODELS

warnings.filterwarnings("ignore", message=".*Deeptrack.*")  # andi_datasets: for videos, which nothing here makes
PUBLISHED_SEEDS = (12112024, 10)  # numpy, stochastic; andi_datasets tutorial
MIN_K_PX2 = 1e-4  # px^2/frame^alpha; smaller values of K, 0 of a trapped segment included, count as this much


def challenge_dictionaries(experiments, n_fovs: int) -> list[dict]:
    """One andi_datasets dictionary per experiment and field of view, drawn in the order of the tutorial.

    The tutorial reuses one dictionary for all fields of an experiment, so that all of them have the traps or
    compartments drawn last. This is kept: otherwise the published seeds would not give the published tracks.
    """
    from andi_datasets.datasets_challenge import _get_dic_andi2  # takes a second to import
    from andi_datasets.models_phenom import models_phenom  # as above

    from simulations.andi import library_arguments  # imports andi_datasets

    dics = []
    for world in experiments:
        dics.append(_get_dic_andi2(MODELS.index(world.model) + 1) | library_arguments(world))
    fields = []
    for dic in dics:
        for _ in range(n_fovs):
            if dic["model"] == "confinement":
                dic["comp_center"] = models_phenom._distribute_circular_compartments(dic["Nc"], dic["r"], dic["L"])
            elif dic["model"] == "immobile_traps":
                dic["traps_pos"] = np.random.rand(dic["Nt"], 2) * dic["L"]
            fields.append(dic)
    return fields


def generate(folder, n_fovs: int = 5, seed: int = 0, published: bool = False, experiments=None) -> Path:
    """Write tracks and labels of the benchmark in the layout of the challenge; a finished folder is kept as it is.

    Parameters
    ----------
    folder : path
        Receives ``track_2/exp_1`` ... ``exp_9``.
    n_fovs : int
        Fields of view of each experiment (published: 30).
    seed : int
        Of the global generators of numpy and of stochastic, which andi_datasets uses.
    published : bool
        Use the published seeds instead. Parameters, traps and compartments are then the published ones. The
        localisation noise differs, because the published files were made together with videos, which drew random
        numbers from the same generator.
    experiments : sequence of Worlds, optional
        Default: `simulations.experiments.EXPERIMENTS`.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    ValueError
        If the folder already holds data made with another seed or number of fields.

    Source: andi_datasets tutorial "challenge_two_benchmark"; Munoz-Gil et al., arXiv 2311.18100.
    """
    import stochastic.random  # takes a second to import
    from andi_datasets import datasets_challenge  # as above
    from andi_datasets.utils_challenge import file_nonOverlap_reOrg  # as above

    if experiments is None:
        experiments = EXPERIMENTS
    folder = Path(folder)
    made_with = {"seed": "published" if published else seed, "fovs": n_fovs}
    if (folder / "track_2").is_dir():
        _check_same(folder, made_with)
        return folder
    hidden = folder / HIDDEN  # no folder of the user, who may have a folder `raw`
    raw, partial = hidden / "raw", hidden / "partial"
    for leftover in (raw, partial):
        shutil.rmtree(leftover, ignore_errors=True)
    numpy_seed, noise_seed = PUBLISHED_SEEDS if published else (seed, seed)
    np.random.seed(numpy_seed)
    stochastic.random.seed(noise_seed)
    dics = challenge_dictionaries(experiments, n_fovs)
    faster = mock.patch.object(datasets_challenge, "label_filter", lambda labels, **_: label_filter(labels))
    with contextlib.redirect_stdout(io.StringIO()), faster:  # that of the library takes nine tenths of the time
        datasets_challenge.challenge_phenom_dataset(
            dics=dics, num_fovs=1, return_timestep_labs=True, save_data=True, path=raw
        )
        file_nonOverlap_reOrg(
            raw,
            partial,
            np.arange(len(experiments)),
            n_fovs,
            tracks=[2],
            save_labels=True,
            print_percentage=False,
        )
    for e in reversed(range(len(experiments))):  # the library counts from 0, the publication from 1
        (partial / "track_2" / f"exp_{e}").rename(partial / "track_2" / f"exp_{e + 1}")
    (folder / "data.json").write_text(json.dumps(made_with) + "\n")
    (partial / "track_2").rename(folder / "track_2")
    shutil.rmtree(raw)
    partial.rmdir()
    with contextlib.suppress(OSError):
        hidden.rmdir()  # stays where the folder is claimed
    return folder


def _check_same(folder: Path, wanted: dict) -> None:
    """Refuse a folder made with other options; a folder without ``data.json`` (published files) is accepted."""
    path = folder / "data.json"
    found = json.loads(path.read_text()) if path.is_file() else wanted
    if found != wanted:
        raise ValueError(f"{folder} holds benchmark data of {found}, not {wanted}: choose another --out")


def read_benchmark(folder) -> pd.DataFrame:
    """Read all tracks of a benchmark folder with their true segments.

    Returns
    -------
    pandas.DataFrame
        One row per track: exp, fov, traj_idx (int), xy ((T, 2) array, px), the labels of the frames k
        (px^2/frame^alpha), alpha, state ((T,) arrays), and segments (list of Segment).

    Raises
    ------
    FileNotFoundError
        If the folder holds no ``track_2/exp_E/trajs_fov_F.csv``.
    """
    rows = []
    for path in sorted(Path(folder).glob("track_2/exp_*/trajs_fov_*.csv")):
        exp, fov = int(path.parent.name[4:]), int(path.stem[len("trajs_fov_") :])
        truth = read_labels(path.parent / f"traj_labs_fov_{fov}.txt")
        for idx, points in pd.read_csv(path).groupby("traj_idx"):
            rows.append(
                dict(
                    exp=exp,
                    fov=fov,
                    traj_idx=int(idx),
                    xy=points[["x", "y"]].to_numpy(),
                    k=points["D"].to_numpy(),
                    alpha=points["alpha"].to_numpy(),
                    state=points["state"].to_numpy().astype(int),
                    segments=truth[int(idx)],
                )
            )
    if not rows:
        raise FileNotFoundError(f"{folder}: no track_2/exp_E/trajs_fov_F.csv; generate it with --seed")
    table = pd.DataFrame(rows)
    return table.sort_values(["exp", "fov", "traj_idx"], ignore_index=True)
