"""Figures of the benchmark: every panel has its axes labelled, and shows what it was given."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from main.tracks.benchmark.figures import CAPTIONS, benchmark_figures, figure_kind, method_colours
from main.tracks.benchmark.result import Benchmark, BenchmarkData
from main.tracks.benchmark.scores import fast_scores, score_methods
from main.tracks.inference.segments import Segment
from simulations.parameters import SIGMA_PX


@pytest.fixture(scope="module")
def bench():
    """Thirty tracks with one changepoint; "net" finds it, "windows" never does."""
    rng = np.random.default_rng(0)
    xy = [np.cumsum(rng.normal(size=(60, 2)), axis=0) for _ in range(30)]
    first, second = (
        Segment(start=0, end=30, k=1.0, alpha=1.0, state=2),
        Segment(start=30, end=60, k=0.1, alpha=0.5, state=1),
    )
    frames = {"k": np.repeat([1.0, 0.1], 30), "alpha": np.repeat([1.0, 0.5], 30), "state": np.repeat([2, 1], 30)}
    table = pd.DataFrame(
        {
            "exp": np.repeat([3, 4], 15),
            "xy": xy,
            "segments": [[first, second]] * 30,
            **{name: [value] * 30 for name, value in frames.items()},
        }
    )
    pred = SimpleNamespace(
        log10_k=np.log10(frames["k"]),
        alpha=frames["alpha"],
        state_probs=np.eye(4)[frames["state"]],
        p_change=np.zeros(60),
        log10_k_lo=np.full(60, -2.0),
        log10_k_hi=np.full(60, 2.0),
        alpha_lo=np.full(60, 0.8),
        alpha_hi=np.full(60, 1.2),
    )
    description = np.array([[1.0, 0.5], [0.01, 0.01], [1.0, 0.1], [0.01, 0.001], [0.5, 0.5]])
    segments = {"windows": [[replace(first, end=60, k=2.0)]] * 30, "net": table["segments"].tolist()}
    scores = score_methods(table, segments, dict.fromkeys(segments, fast_scores), n_resamples=20)
    return Benchmark(
        BenchmarkData(1, 1, table, {exp: ("confinement", description) for exp in (3, 4)}),
        segments,
        predictions={"net": [pred] * 30},
        scores=scores,
        distances={},
        descriptions={"net": {3: description, 4: description}},
    )


@pytest.fixture(scope="module")
def figures(bench):
    return benchmark_figures(bench, SIGMA_PX)


def test_every_panel_is_labelled(figures):
    names = {"scores", "jaccard", "errors", "confusion_net", "calibration", "ensembles", "coverage"}
    assert set(figures) == names and {figure_kind(name) for name in figures} <= set(CAPTIONS)
    for name, fig in figures.items():
        shared = {"scores": fig.axes[:-1], "errors": fig.axes[:-3], "coverage": fig.axes[:5]}.get(name, [])
        assert all(ax.get_xlabel() for ax in fig.axes if ax not in shared), name
        assert any(ax.get_ylabel() for ax in fig.axes) or name == "ensembles", name


def drawn(ax, label):
    """y values of the line of one method."""
    return next(c for c in ax.containers if c.get_label() == label)[0].get_ydata()


def test_lines_show_the_scores(figures):
    jaccard, ratio, _ = figures["jaccard"].axes
    assert drawn(jaccard, "net").tolist() == [1.0]
    assert drawn(jaccard, "sliding-window TA-MSD + ruptures").tolist() == [0.0]
    assert drawn(ratio, "net").tolist() == [1.0]
    assert (drawn(figures["errors"].axes[0], "net") == 0).all()
    assert drawn(figures["scores"].axes[0], "net").tolist() == [1.0] * 4  # two experiments, two averages
    k, alpha = figures["coverage"].axes[0], figures["coverage"].axes[5]
    assert drawn(k, "net").tolist() == [1.0] and drawn(alpha, "net").tolist() == [0.5]


def test_coverage_is_left_out_without_intervals(bench):
    bare = SimpleNamespace(**(vars(bench.predictions["net"][0]) | {"alpha_lo": np.full(60, np.nan)}))
    without = replace(bench, predictions={"net": [bare] * 30})
    assert "coverage" not in benchmark_figures(without, SIGMA_PX)


def test_colours_are_fixed_for_classical_methods_and_differ_among_networks():
    colours = method_colours(["hmm", "default", "fast", "fast+sample"])
    assert len(set(colours.values())) == 4 and colours["hmm"] == method_colours(["hmm"])["hmm"]
