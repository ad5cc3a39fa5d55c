"""Fit the penalty and the channel weights of the segmentation on tracks with known segments."""

import numpy as np
from tqdm import tqdm

from main.utils.changepoints import segment_many, segmentation_options
from main.utils.metrics import fast_scores, score_table

FACTORS = (0.5, 0.7, 1.4, 2.0)
START_PENALTIES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
WEIGHTS = (
    "change",
    "change_floor",
    "alpha",
    "trapped",
    "confined",
    "directed",
    "trapped_odds",
)  # k stays 1: it sets the scale
OFF = 0.5  # value tried first for a weight that is zero


def objective(scores):
    """What is maximised: jsc + f1 - mae_alpha - 10 msle_k, weighted average plus plain mean.

    Parameters
    ----------
    scores : pandas.DataFrame
        From `main.utils.metrics.score_table`.

    Returns
    -------
    float
    """
    both = scores.loc[["weighted", "mean"]].sum()
    return float(both["jsc"] + both["f1"] - both["mae_alpha"] - 10 * both["msle_k"])


def fit_segmentation(preds, truths, config, n_rounds=2, progress=True):
    """Coordinate search of the penalty and the channel weights.

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
    rounds = [("penalty", START_PENALTIES)] + [(name, None) for name in ("penalty", *WEIGHTS)] * n_rounds
    bar = tqdm(rounds, disable=not progress, desc="segmentation")
    for name, grid in bar:
        if grid is None:
            grid = [best[name] * f for f in FACTORS] if best[name] else [OFF]
            grid += [0.0] if name != "penalty" and best[name] else []
        if name == "trapped_odds":  # never above 1: K = 0 is too strong a claim to be made on less than even evidence
            grid = [odds for odds in grid if 0 < odds <= 1]
        for candidate in grid:
            options = best | {name: float(np.round(candidate, 4))}
            candidate_value = value(options)
            if candidate_value > best_value:
                best, best_value = options, candidate_value
        bar.set_postfix(objective=f"{best_value:.4f}", penalty=best["penalty"])
    return config | {"segmentation": best}
