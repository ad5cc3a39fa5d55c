"""Tables of the benchmark: as Markdown, every score with its 90 % interval, and as plain numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from main.tracks.benchmark.result import CLASSICAL_NAMES, Benchmark, is_network
from main.tracks.benchmark.scores import SCORES, Scored, compare_methods
from main.tracks.evaluation.errors import frame_scores
from main.tracks.inference.predictor import Prediction

HEADINGS = {"jsc": "JSC", "rmse": "RMSE (frames)", "mae_alpha": "MAE alpha", "msle_k": "MSLE K", "f1": "F1"}
DECIMALS = {"jsc": 3, "rmse": 2, "mae_alpha": 3, "msle_k": 4, "f1": 3, "w1_alpha": 3, "w1_k": 4}
EXPERIMENT_NAMES = {
    1: "3 states",
    2: "dimers",
    3: "traps",
    4: "confinement",
    5: "dimers",
    6: "dimers",
    7: "2 states",
    8: "1 state",
    9: "short traps, directed",
}
SUMMARY_NAMES = {"weighted": "all, weighted by tracks", "mean": "plain mean over experiments"}


def format_number(value: float, decimals: int, bounds=None) -> str:
    """A number without the zero before its point, and its interval: ".824 (.815-.833)"."""
    texts = [f"{v:.{decimals}f}" for v in (value, *(bounds or ()))]
    texts = [text.removeprefix("0") for text in texts]
    return texts[0] if bounds is None else f"{texts[0]} ({texts[1]}-{texts[2]})"


def markdown(frame: pd.DataFrame) -> str:
    """A table of text as Markdown; the index is the first column."""
    rows = [[frame.index.name or "", *frame.columns], ["---"] * (1 + frame.shape[1])]
    rows += [[str(name), *row] for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def name_experiment(exp: int | str) -> str:
    """Name of the row of an experiment, of "weighted" or of "mean"."""
    return SUMMARY_NAMES.get(exp) or f"{exp} {EXPERIMENT_NAMES.get(exp, '')}".strip()


def overall_table(scores: dict[str, Scored], summary: str) -> pd.DataFrame:
    """All scores of all methods under one weighting.

    Parameters
    ----------
    scores : dict of str -> Scored
        Method -> its scores.
    summary : {"weighted", "mean"}

    Returns
    -------
    pandas.DataFrame
        Text; index "method", a column per score.
    """
    rows = {}
    for method, scored in scores.items():
        cells = {HEADINGS[name]: _score_cell(scored, summary, name) for name in SCORES}
        rows[CLASSICAL_NAMES.get(method, f"`{method}`")] = cells
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def experiment_table(scores: dict[str, Scored], name: str) -> pd.DataFrame:
    """One score by experiment (rows) and method (columns), as text.

    Parameters
    ----------
    scores : dict of str -> Scored
        Method -> its scores.
    name : str
        One of SCORES.
    """
    columns = {}
    for method, scored in scores.items():
        cells = {name_experiment(exp): _score_cell(scored, exp, name) for exp in scored.table.index}
        columns[CLASSICAL_NAMES.get(method, f"`{method}`")] = cells
    tracks = next(iter(scores.values())).table["tracks"]
    table = pd.DataFrame(columns).rename_axis("EXP")
    table.insert(0, "tracks", [str(int(n)) for n in tracks])
    return table


def _score_cell(scored: Scored, exp: int | str, name: str) -> str:
    return format_number(scored.table.loc[exp, name], DECIMALS[name], scored.bounds(exp, name))


def verdict_table(comparison: pd.DataFrame) -> pd.DataFrame:
    """Verdicts against the reference by experiment and score, as text: "better +.031", "worse ..." or "within".

    Parameters
    ----------
    comparison : pandas.DataFrame
        As returned by `main.tracks.benchmark.scores.compare_methods`.
    """
    cells = []
    for row in comparison.itertuples():
        difference = f"{row.difference:+.{DECIMALS[row.score]}f}".replace("0.", ".", 1)
        cells.append(row.verdict if row.verdict == "within" else f"{row.verdict} {difference}")
    table = comparison.assign(cell=cells, exp=comparison["exp"].map(name_experiment))
    wide = table.pivot(index="exp", columns="score", values="cell").loc[table["exp"].unique(), list(SCORES)]
    return wide.rename(columns=HEADINGS).rename_axis("EXP")


def ensemble_table(distances: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Wasserstein distances of alpha and K by experiment and their mean, as text.

    Parameters
    ----------
    distances : dict of str -> pandas.DataFrame
        Method -> columns w1_alpha, w1_k (px^2/frame^alpha), one row per experiment.
    """
    columns = {}
    for method, table in distances.items():
        table = pd.concat([table, table.mean().rename("mean").to_frame().T])
        columns[method] = {
            name_experiment(exp): " / ".join(format_number(row[s], DECIMALS[s]) for s in ("w1_alpha", "w1_k"))
            for exp, row in table.iterrows()
        }
    return pd.DataFrame(columns).rename_axis("EXP")


def k_error_table(errors: pd.DataFrame) -> pd.DataFrame:
    """Relative errors of K by length of the segment, as text.

    Parameters
    ----------
    errors : pandas.DataFrame
        As returned by `main.tracks.benchmark.errors.k_errors`.
    """
    text = errors.drop(columns="n").map(lambda v: "" if np.isnan(v) else format_number(v, 3))
    text.insert(0, "segments", errors["n"].astype(str))
    return text.rename_axis("frames")


def frame_table(tracks: pd.DataFrame, preds: list[Prediction]) -> dict[str, dict]:
    """Frame-wise errors per experiment as plain numbers (confusion as nested lists)."""
    result = {}
    for exp, index in tracks.groupby("exp").indices.items():
        rows = tracks.iloc[index]
        truths = [dict(k=r.k, alpha=r.alpha, state=r.state) for r in rows.itertuples()]
        scores = frame_scores(truths, [preds[i] for i in index])
        result[str(exp)] = scores | {"confusion": scores["confusion"].tolist()}
    return result


def compare_with_oracles(scores: dict[str, Scored]) -> dict[str, pd.DataFrame]:
    """Compare every network with each oracle HMM: title -> table of `compare_methods`."""
    result = {}
    for method in filter(is_network, scores):
        for oracle in ("hmm", "hmm-filtered"):
            if oracle in scores:
                result[f"{method} against {oracle}"] = compare_methods(scores[method], scores[oracle])
    return result


def report_text(bench: Benchmark) -> str:
    """All tables of a run as Markdown."""
    parts = [f"# AnDi-2 benchmark\n\n{bench.data.title} In brackets: 90 % bootstrap intervals over tracks."]
    for summary, title in SUMMARY_NAMES.items():
        parts.append(f"## {title}\n\n" + markdown(overall_table(bench.scores, summary)))
    shown = {method: scored for method, scored in bench.scores.items() if method not in ("constant", "cve", "mle")}
    for name in SCORES if shown else ():
        parts.append(f"## {HEADINGS[name]} by experiment\n\n" + markdown(experiment_table(shown, name)))
    for title, comparison in compare_with_oracles(bench.scores).items():
        parts.append(f"## {title}, paired bootstrap\n\n" + markdown(verdict_table(comparison)))
    if bench.distances:
        heading = "## Ensemble task: Wasserstein distance of alpha / of K\n\n"
        parts.append(heading + markdown(ensemble_table(bench.distances)))
    if bench.k_errors is not None:
        heading = "## Relative error of K in the true segments of free motion (1.48 x median), alpha within .1 of 1\n\n"
        parts.append(heading + markdown(k_error_table(bench.k_errors)))
    return "\n\n".join(parts) + "\n"


def report_numbers(bench: Benchmark) -> dict:
    """Everything in the tables as plain numbers, as written to ``benchmark.json``."""

    def plain(table):
        return json.loads(table.to_json(orient="index"))

    scores = bench.scores.items()
    return {
        "seed": bench.data.seed,
        "fovs": bench.data.fovs,
        "segments": {method: plain(scored.table) for method, scored in scores},
        "low": {method: plain(scored.low) for method, scored in scores},
        "high": {method: plain(scored.high) for method, scored in scores},
        "against": {
            title: table.to_dict(orient="records") for title, table in compare_with_oracles(bench.scores).items()
        },
        "frames": {method: frame_table(bench.data.tracks, preds) for method, preds in bench.predictions.items()},
        "ensemble": {method: plain(table) for method, table in bench.distances.items()},
        "k_errors": {} if bench.k_errors is None else plain(bench.k_errors),
    }
