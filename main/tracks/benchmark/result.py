"""Results of a run of the benchmark: `compute` makes them, tables and figures show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from main.tracks.benchmark.scores import Scored
from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment

CLASSICAL_NAMES = {  # method that learns nothing -> its name in tables and figures
    "constant": "constant (K = 1, alpha = 1, free)",
    "msd": "whole-track MSD fit",
    "windows": "sliding-window TA-MSD + ruptures",
    "cve": "true segments and states, K by CVE",
    "mle": "true segments and states, K by MLE",
    "hmm": "oracle HMM",
    "hmm-filtered": "oracle HMM, label filter",
}
M3_SUFFIX = "-m3"  # ends the name of a network whose changepoints are found as in the M3 challenge entry


def is_network(method: str) -> bool:
    """Whether a method is a network with the segmentation of this project."""
    return method not in CLASSICAL_NAMES and not method.endswith(M3_SUFFIX)


@dataclass(frozen=True)
class BenchmarkData:
    """Tracks and truth.

    Parameters
    ----------
    seed : int or "published"
    fovs : int
        Fields of view of each experiment.
    tracks : pandas.DataFrame
        One row per track, as returned by `main.tracks.benchmark.data.read_benchmark`.
    ensembles : dict of int -> (str, numpy.ndarray)
        Experiment -> its model and its states, as returned by `main.tracks.benchmark.ensembles.read_ensembles`.
    """

    seed: int | str
    fovs: int
    tracks: pd.DataFrame
    ensembles: dict[int, tuple[str, np.ndarray]]

    @property
    def title(self) -> str:
        """One sentence with the numbers of tracks, experiments and fields of view, and the seed."""
        n = self.tracks["exp"].nunique()
        return f"{len(self.tracks):,} tracks, {n} experiments, {self.fovs} fields of view each, seed {self.seed}."


@dataclass(frozen=True)
class Benchmark:
    """All results of one run.

    Parameters
    ----------
    data : BenchmarkData
    segments : dict of str -> list of list of Segment
        Method -> predicted segments of every track.
    predictions : dict of str -> list of Prediction
        Network -> frame-wise predictions of every track.
    scores : dict of str -> Scored
        Method -> its scores.
    distances : dict of str -> pandas.DataFrame
        Method -> Wasserstein distances of alpha and K by experiment; empty without the ensemble task.
    descriptions : dict of str -> dict
        Network -> experiment -> states that it found, (5, S); empty without the ensemble task.
    k_errors : pandas.DataFrame or None
        As returned by `main.tracks.benchmark.errors.k_errors`; None where neither CVE nor MLE was asked for.
    """

    data: BenchmarkData
    segments: dict[str, list[list[Segment]]]
    predictions: dict[str, list[Prediction]]
    scores: dict[str, Scored]
    distances: dict[str, pd.DataFrame]
    descriptions: dict[str, dict[int, np.ndarray]]
    k_errors: pd.DataFrame | None = None
