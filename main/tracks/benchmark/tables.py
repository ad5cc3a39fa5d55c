"""Tables of the benchmark: as Markdown, every figure with its bootstrap interval, and as plain numbers."""

import json

import numpy as np
import pandas as pd

from main.tracks.benchmark.scores import SCORES, compare
from main.tracks.evaluation.errors import frame_scores

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
METHOD_NAMES = {
    "constant": "constant (K = 1, alpha = 1, free)",
    "msd": "whole-track MSD fit",
    "windows": "sliding-window TA-MSD + ruptures",
    "cve": "true segments and states, K by CVE",
    "mle": "true segments and states, K by MLE",
    "hmm": "oracle HMM",
    "hmm-filtered": "oracle HMM, label filter",
}
SUMMARIES = ("weighted", "mean")
SUMMARY_NAMES = {"weighted": "all, weighted by tracks", "mean": "plain mean over experiments"}


def figure(value, decimals, bounds=None):
    """A number without the zero before its point, and its interval: ".824 (.815-.833)"."""
    texts = [f"{v:.{decimals}f}" for v in (value, *(bounds or ()))]
    texts = [text.removeprefix("0") for text in texts]
    return texts[0] if bounds is None else f"{texts[0]} ({texts[1]}-{texts[2]})"


def markdown(frame):
    """A table of text as Markdown; the index is the first column."""
    rows = [[frame.index.name or "", *frame.columns], ["---"] * (1 + frame.shape[1])]
    rows += [[str(name), *row] for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def experiment_name(exp):
    """Row name of an experiment or summary."""
    return SUMMARY_NAMES.get(exp) or f"{exp} {EXPERIMENT_NAMES.get(exp, '')}".strip()


def overall_table(scores, bounds, summary):
    """All scores of all methods under one weighting.

    Parameters
    ----------
    scores : dict[str, pandas.DataFrame]
        Method -> `metrics.score_table`.
    bounds : dict[str, tuple]
        Method -> `bootstrap.intervals`.
    summary : {"weighted", "mean"}

    Returns
    -------
    pandas.DataFrame
        Text; index "method", a column per score.
    """
    rows = {}
    for name, table in scores.items():
        cells = {HEADINGS[s]: _cell(table, bounds[name], summary, s) for s in SCORES}
        rows[METHOD_NAMES.get(name, f"`{name}`")] = cells
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def score_by_experiment(scores, bounds, score):
    """One score by experiment (rows) and method (columns), as text; arguments as of `overall_table`."""
    columns = {}
    for name, table in scores.items():
        cells = {experiment_name(exp): _cell(table, bounds[name], exp, score) for exp in table.index}
        columns[METHOD_NAMES.get(name, f"`{name}`")] = cells
    tracks = next(iter(scores.values()))["tracks"]
    table = pd.DataFrame(columns).rename_axis("EXP")
    table.insert(0, "tracks", [str(int(n)) for n in tracks])
    return table


def _cell(table, bounds, exp, score):
    return figure(table.loc[exp, score], DECIMALS[score], [end.loc[exp, score] for end in bounds])


def verdict_table(comparison):
    """Verdicts against the reference: "better +.031", "worse ..." or "within", by experiment and score, as text.

    Parameters
    ----------
    comparison : pandas.DataFrame
        As of `bootstrap.compare`.
    """
    cells = []
    for row in comparison.itertuples():
        difference = f"{row.difference:+.{DECIMALS[row.score]}f}".replace("0.", ".", 1)
        cells.append(row.verdict if row.verdict == "within" else f"{row.verdict} {difference}")
    table = comparison.assign(cell=cells, exp=comparison["exp"].map(experiment_name))
    wide = table.pivot(index="exp", columns="score", values="cell").loc[table["exp"].unique(), list(SCORES)]
    return wide.rename(columns=HEADINGS).rename_axis("EXP")


def ensemble_table(distances):
    """Wasserstein distances of alpha and K by experiment and their mean, as text.

    Parameters
    ----------
    distances : dict[str, pandas.DataFrame]
        Method -> index experiments, columns w1_alpha, w1_k.
    """
    columns = {}
    for name, table in distances.items():
        table = pd.concat([table, table.mean().rename("mean").to_frame().T])
        columns[name] = {
            experiment_name(exp): " / ".join(figure(row[s], DECIMALS[s]) for s in ("w1_alpha", "w1_k"))
            for exp, row in table.iterrows()
        }
    return pd.DataFrame(columns).rename_axis("EXP")


def k_error_table(errors):
    """Relative errors of K by length of the segment, as text.

    Parameters
    ----------
    errors : pandas.DataFrame
        As of `benchmark_errors.k_errors`.
    """
    text = errors.drop(columns="n").map(lambda v: "" if np.isnan(v) else figure(v, 3))
    text.insert(0, "segments", errors["n"].astype(str))
    return text.rename_axis("frames")


def frame_table(table, preds):
    """Frame-wise errors per experiment as plain numbers (confusion as nested lists)."""
    result = {}
    for exp, index in table.groupby("exp").indices.items():
        rows = table.iloc[index]
        truths = [dict(k=r.k, alpha=r.alpha, state=r.state) for r in rows.itertuples()]
        scores = frame_scores(truths, [preds[i] for i in index])
        result[str(exp)] = scores | {"confusion": scores["confusion"].tolist()}
    return result


def comparisons(bench):
    """Every network's method against each oracle HMM: label -> table of `bootstrap.compare`."""
    result = {}
    for name in bench.scores:
        for oracle in ("hmm", "hmm-filtered"):
            if name not in METHOD_NAMES and not name.endswith("-m3") and oracle in bench.scores:
                own, reference = ((bench.scores[m], bench.resampled[m]) for m in (name, oracle))
                result[f"{name} against {oracle}"] = compare(own[0], reference[0], own[1], reference[1])
    return result


def report_text(bench):
    """All tables of a run as Markdown."""
    parts = [f"# AnDi-2 benchmark\n\n{bench.title} In brackets: 90 % bootstrap intervals over tracks."]
    for summary, name in SUMMARY_NAMES.items():
        parts.append(f"## {name}\n\n" + markdown(overall_table(bench.scores, bench.bounds, summary)))
    shown = {name: scores for name, scores in bench.scores.items() if name not in ("constant", "cve", "mle")}
    for name in SCORES if shown else ():
        by_experiment = score_by_experiment(shown, bench.bounds, name)
        parts.append(f"## {HEADINGS[name]} by experiment\n\n" + markdown(by_experiment))
    for name, comparison in comparisons(bench).items():
        parts.append(f"## {name}, paired bootstrap\n\n" + markdown(verdict_table(comparison)))
    if bench.distances:
        heading = "## Ensemble task: Wasserstein distance of alpha / of K\n\n"
        parts.append(heading + markdown(ensemble_table(bench.distances)))
    if bench.k_errors is not None:
        heading = "## Relative error of K in the true segments of free motion (1.48 x median), alpha within .1 of 1\n\n"
        parts.append(heading + markdown(k_error_table(bench.k_errors)))
    return "\n\n".join(parts) + "\n"


def report_numbers(bench):
    """Everything in the tables as plain numbers, as written to ``benchmark.json``."""

    def plain(table):
        return json.loads(table.to_json(orient="index"))

    return {
        "seed": bench.seed,
        "fovs": bench.fovs,
        "segments": {name: plain(scores) for name, scores in bench.scores.items()},
        "low": {name: plain(low) for name, (low, _) in bench.bounds.items()},
        "high": {name: plain(high) for name, (_, high) in bench.bounds.items()},
        "against": {name: table.to_dict(orient="records") for name, table in comparisons(bench).items()},
        "frames": {name: frame_table(bench.table, preds) for name, preds in bench.predictions.items()},
        "ensemble": {name: plain(table) for name, table in bench.distances.items()},
        "k_errors": {} if bench.k_errors is None else plain(bench.k_errors),
    }
