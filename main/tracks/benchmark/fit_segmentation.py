"""Fit the options of the segmentation on tracks with known segments."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm import tqdm

from main.tracks.benchmark.scores import fast_scores, score_table
from main.tracks.inference.changepoints import segment_many, segmentation_options
from main.tracks.inference.predictor import Prediction

FACTORS = {  # on the value so far; trapped_odds is not fitted, see misc/LOG.md, 2026-11-21, "Odds of trapping"
    "penalty": (0.5, 0.7, 0.85, 1.2, 1.4, 2.0),
    "k": (0.7, 1.4),
    "alpha": (0.5, 2.0),
    "trapped": (0.5, 2.0),
    "unplaced": (0.85, 0.93, 1.07),
}


def objective(scores: pd.DataFrame) -> float:
    """The number to maximise: jsc + f1 - mae_alpha - 10 msle_k, weighted average plus plain mean.

    Parameters
    ----------
    scores : pandas.DataFrame
        As returned by `main.tracks.benchmark.scores.score_table`.

    Returns
    -------
    float
    """
    both = scores.loc[["weighted", "mean"]].sum()
    return float(both["jsc"] + both["f1"] - both["mae_alpha"] - 10 * both["msle_k"])


def fit_segmentation(
    preds: list[Prediction], truths: pd.DataFrame, config: dict, n_rounds: int = 2, progress: bool = True
) -> dict:
    """Fit the options of the segmentation one after the other (coordinate search).

    Parameters
    ----------
    preds : sequence of Prediction
        Frame-wise predictions of tuning tracks.
    truths : pandas.DataFrame
        Columns exp and segments (start, end, k, alpha, state), one row per prediction.
    config : dict
        Configuration of the weights; its "segmentation" is the starting point.
    n_rounds : int
        Passes over all options.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        A copy of `config` with the best "segmentation" found.
    """

    def value(options):
        segments = segment_many(preds, {"segmentation": options})
        return objective(score_table(truths, segments, fast_scores))

    best = segmentation_options(config)
    best_value = value(best)
    bar = tqdm([*FACTORS.items()] * n_rounds, disable=not progress, desc="segmentation")
    for name, factors in bar:
        start = best[name]
        for factor in factors:
            candidate = float(np.round(start * factor, 3))
            candidate_value = value(best | {name: candidate})
            if candidate_value > best_value:
                best, best_value = best | {name: candidate}, candidate_value
        bar.set_postfix(objective=f"{best_value:.4f}", penalty=best["penalty"])
    return config | {"segmentation": best}
