"""The nine benchmark experiments of the second AnDi challenge, generated with andi_datasets and read back.

Every field of view is a world of its own (128 x 128 px window at a random place in a 230.4 px box), as in the
andi_datasets tutorial "challenge_two_benchmark". Layout on disk, the challenge's own:
``DIR/track_2/exp_E/trajs_fov_F.csv`` (traj_idx, frame, x, y, alpha, D, state) and ``traj_labs_fov_F.txt``.
"""

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
from simulations.experiments import EXPERIMENTS
from simulations.labels import label_filter
from simulations.parameters import MODELS

warnings.filterwarnings("ignore", message=".*Deeptrack.*")  # andi_datasets: for videos, which nothing here makes
PUBLISHED_SEEDS = (12112024, 10)  # numpy, stochastic


def challenge_dictionaries(experiments, n_fovs):
    """One andi_datasets dictionary per experiment and field of view, drawn in the tutorial's order.

    The tutorial reuses one dictionary object for all fields of an experiment, so they share the traps or
    compartments drawn last; kept, so that the published seeds reach the published random state.
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


def generate(folder, n_fovs=5, seed=0, published=False, experiments=None):
    """Write benchmark tracks and labels in the challenge layout; a finished folder is kept as it is.

    Parameters
    ----------
    folder : path
        Receives ``track_2/exp_1`` ... ``exp_9``.
    n_fovs : int
        Fields of view of each experiment (published: 30).
    seed : int
        Seeds both numpy's and stochastic's global generators, which andi_datasets reads.
    published : bool
        Use the published seeds instead: same parameters, traps and compartments; localisation noise differs
        from the published files, whose generator state also passed through the rendering of videos.
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
    raw, partial = folder / "raw", folder / "partial"
    for leftover in (raw, partial):
        shutil.rmtree(leftover, ignore_errors=True)
    numpy_seed, noise_seed = PUBLISHED_SEEDS if published else (seed, seed)
    np.random.seed(numpy_seed)
    stochastic.random.seed(noise_seed)
    dics = challenge_dictionaries(experiments, n_fovs)
    faster = mock.patch.object(datasets_challenge, "label_filter", lambda labels, **_: label_filter(labels))
    with contextlib.redirect_stdout(io.StringIO()), faster:  # the library's own takes nine tenths of the time
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
    return folder


def _check_same(folder, wanted):
    """Refuse a folder made with other options; a folder without ``data.json`` (published files) is taken."""
    path = folder / "data.json"
    found = json.loads(path.read_text()) if path.is_file() else wanted
    if found != wanted:
        raise ValueError(f"{folder} holds benchmark data of {found}, not {wanted}: choose another --out")


def read_benchmark(folder):
    """All tracks of a benchmark folder with their true segments.

    Returns
    -------
    pandas.DataFrame
        Columns exp, fov, traj_idx (int), xy ((T, 2) array, px), segments (list of Segment), and, where the files
        hold them, the frame labels k (px^2/frame^alpha), alpha, state ((T,) arrays).

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
