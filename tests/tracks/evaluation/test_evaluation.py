"""Evaluation tables and figures on synthetic tracks whose errors are known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from main.tracks import figures as track_figures
from main.tracks.evaluation import errors, figures
from main.tracks.inference.segments import Segment
from main.utils import plotting
from simulations.parameters import MODELS


def synthetic_track(rng, model):
    """Piecewise-constant truth, the track it moves, and a prediction that is off by known amounts."""
    n, n_changes = int(rng.integers(40, 200)), int(rng.integers(0, 4))
    changes = np.sort(rng.choice(np.arange(1, 10), n_changes, replace=False)) * (n // 10)
    segment = np.searchsorted(changes, np.arange(n), side="right")
    states = rng.integers(0, 4, n_changes + 1)
    state = states[segment]
    k = np.where(state == 0, 0, 10.0 ** rng.uniform(-3, 1, n_changes + 1)[segment])
    alpha = np.where(state == 0, 0, np.where(state == 3, 1.95, rng.uniform(0.1, 1.8, n_changes + 1)[segment]))
    truth = {
        "k": k,
        "alpha": alpha,
        "state": state,
        "model": model,
        "xy": np.cumsum(rng.normal(size=(n, 2)) * np.sqrt(2 * k[:, None] + 0.01), axis=0) + 30 * rng.normal(size=2),
    }
    log10_k = np.where(k > 0, np.log10(np.maximum(k, 1e-9)), -3) + rng.normal(0, 0.1, n)
    probs = rng.dirichlet(np.ones(4), n) * 0.3 + 0.7 * np.eye(4)[state]
    near = np.exp(-0.5 * (np.subtract.outer(np.arange(n), changes) / 1.5) ** 2).sum(1)
    prediction = SimpleNamespace(log10_k=log10_k, alpha=alpha + 0.1, state_probs=probs, p_change=0.02 + 0.9 * near)
    return truth, prediction, (changes[:-1] + rng.integers(-3, 4, max(n_changes - 1, 0))).tolist()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    return tuple(zip(*[synthetic_track(rng, i % 5) for i in range(200)], strict=True))


@pytest.fixture(scope="module")
def tables(data):
    return errors.evaluate_tracks(*data)


def points_of(truths):
    """The columns of points.parquet that maps need."""
    rows = [
        pd.DataFrame(
            {
                "track_id": i,
                "frame": np.arange(len(t["k"])),
                "x": t["xy"][:, 0],
                "y": t["xy"][:, 1],
                "k": t["k"],
                "alpha": t["alpha"],
                "state": t["state"],
            }
        )
        for i, t in enumerate(truths)
    ]
    return pd.concat(rows, ignore_index=True)


def all_figures(data, tables):
    """Every figure by name, on the synthetic data."""
    truths, predictions, found = data
    tracks, changes = tables
    frames = errors.moving_frames(truths, predictions)
    points = points_of(truths[:25])
    longest = max(range(len(truths)), key=lambda i: tracks["n_changepoints"][i] * 1000 + len(truths[i]["k"]))
    history = pd.DataFrame(
        {
            "step": np.arange(1, 11) * 100,
            "train_loss": 1 / np.arange(1, 11),
            "val_loss": 1.2 / np.arange(1, 11),
            "val_mae_alpha": 0.4 / np.arange(1, 11),
            "val_accuracy": 1 - 0.5 / np.arange(1, 11),
        }
    )
    examples = {
        m: [(truths[i]["xy"] - truths[i]["xy"].mean(0) + 12 * (i // 5), truths[i]["state"]) for i in range(j, 20, 5)]
        for j, m in enumerate(MODELS)
    }
    segments = [
        Segment(0, 60, k=0.1, alpha=1.0, state=2),
        Segment(60, 120, k=0.0, alpha=0.0, state=0),
    ]
    return {
        "tracks_state": track_figures.plot_tracks(points),
        "tracks_k": track_figures.plot_tracks(points, "k"),
        "tracks_alpha": track_figures.plot_tracks(points, "alpha", "um"),
        "track_over_time": track_figures.plot_track_over_time(predictions[longest], found[longest], truths[longest]),
        "track_segments": track_figures.plot_track_over_time(predictions[longest], found[longest], segments=segments),
        "examples": track_figures.plot_example_tracks(examples),
        "learning_curves": plotting.plot_learning_curves(history),
        "heatmap_k": figures.plot_heatmap(frames["true_log10_k"], frames["log10_k"], "log₁₀K"),
        "heatmap_alpha": figures.plot_heatmap(frames["true_alpha"], frames["alpha"], "α", (0, 2)),
        "confusion": figures.plot_confusion(errors.frame_scores(truths, predictions)["confusion"]),
        "length": figures.plot_against_length(tracks),
        "n_changepoints": figures.plot_against_n_changepoints(tracks),
        "position": figures.plot_against_position(changes),
        "delta_alpha": figures.plot_against_change(changes, "delta_alpha"),
        "delta_k": figures.plot_against_change(changes, "delta_log10_k"),
        "by_model": figures.plot_by_model(tracks),
        "by_state": figures.plot_by_state(frames),
    }


def test_every_figure_is_written_and_its_bytes_repeat(data, tables, tmp_path):
    for name, fig in all_figures(data, tables).items():
        first = plotting.save(fig, name, tmp_path).read_bytes()
        assert first.startswith(b"<?xml") and b"<dc:date>" not in first, name
    again = all_figures(data, tables)
    for name in ("tracks_k", "heatmap_alpha", "by_model"):
        first = (tmp_path / f"{name}.svg").read_bytes()
        assert plotting.save(again[name], name, tmp_path / "again").read_bytes() == first, name


def test_heatmap_has_truth_on_x_and_prediction_on_y():
    fig = figures.plot_heatmap(np.full(50, 0.2), np.full(50, 1.7), "α", (0, 2), bins=10)
    counts = fig.axes[0].collections[0].get_array().reshape(10, 10).filled(0)
    assert counts[8, 1] == 50 and counts.sum() == 50  # row 8: y in 1.6-1.8; column 1: x in 0.2-0.4
    assert fig.axes[0].get_xlabel() == "true α" and fig.axes[0].get_ylabel() == "predicted α"


def test_a_network_of_states_gets_one_panel(tables):
    tracks, _ = tables
    fig = figures.plot_against_length(tracks.assign(mae_log10_k=np.nan, mae_alpha=np.nan))
    assert [ax.get_ylabel() for ax in fig.axes] == ["score (0 to 1)"] and len(fig.axes[0].containers) == 2
    fig = figures.plot_against_length(tracks.assign(mae_log10_k=np.nan))
    assert [len(ax.containers) for ax in fig.axes] == [1, 2]


def test_panel_of_k_shows_at_least_a_decade():
    flat = SimpleNamespace(
        log10_k=np.linspace(0, 0.01, 9), alpha=np.ones(9), state_probs=np.eye(4)[np.full(9, 2)], p_change=np.zeros(9)
    )
    low, high = track_figures.plot_track_over_time(flat, []).axes[0].get_ylim()
    assert low < 1 < 1.02 < high and high / low == pytest.approx(10)


def test_errors_are_those_put_in(data, tables):
    tracks, changes = tables
    moving = tracks["mae_alpha"].notna()
    np.testing.assert_allclose(tracks["mae_alpha"][moving], 0.1, atol=1e-9)
    assert tracks["mae_log10_k"].mean() == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.05)
    assert (tracks["accuracy"] == 1).all()
    assert len(changes) == tracks["n_changepoints"].sum()
    assert set(tracks["model"]) == set(MODELS)


def test_trapped_frames_count_in_no_k_or_alpha_error():
    truth = {"k": np.zeros(9), "alpha": np.zeros(9), "state": np.zeros(9, int), "model": 2}
    prediction = SimpleNamespace(
        log10_k=np.full(9, 5.0), alpha=np.full(9, 2.0), state_probs=np.eye(4)[np.zeros(9, int)]
    )
    row = errors.track_errors(truth, prediction, [])
    assert np.isnan(row["mae_alpha"]) and np.isnan(row["mae_log10_k"])
    assert row["accuracy"] == 1 and row["jaccard"] == 1


@pytest.mark.parametrize(
    ("true", "predicted", "score", "found"),
    [
        ([], [], 1, set()),
        ([50], [], 0, set()),
        ([], [50], 0, set()),
        ([50], [59], 1, {0}),
        ([50], [60], 0, set()),
        ([50, 100], [52], 0.5, {0}),
        ([50], [48, 52], 0.5, {0}),
        ([10, 20], [15, 25], 1, {0, 1}),
        ([10, 100], [95, 180], 0, set()),  # official: pairs by least total distance, then the cut
    ],
)
def test_jaccard_and_found_changepoints_by_hand(true, predicted, score, found):
    assert errors.jaccard(true, predicted) == pytest.approx(score)
    assert errors.found_changepoints(true, predicted) == found


def test_changepoint_rows():
    truth = {
        "k": np.repeat([0.1, 1.0, 0.0], 20),
        "alpha": np.repeat([1.0, 1.5, 0.0], 20),
        "state": np.repeat([2, 2, 0], 20),
    }
    first, second = errors.changepoint_errors(truth, [22])
    assert first["found"] and not second["found"]
    assert first["delta_log10_k"] == pytest.approx(1) and first["delta_alpha"] == pytest.approx(0.5)
    assert np.isnan(second["delta_alpha"]) and second["state_change"] and not first["state_change"]
    assert first["position"] == pytest.approx(1 / 3)


def test_binned_mean_leaves_out_missing_values_and_empty_bins():
    table = errors.binned_mean([0.5, 0.6, 2.0, np.nan, 9], [1, 3, 5, 7, 9], [0, 1, 1.5, 2])
    assert table["mean"].tolist() == [2, 5] and table["n"].tolist() == [2, 1] and table["x"].tolist() == [0.5, 1.75]


def test_confusion_matrix_shows_rows_in_per_cent():
    counts = np.diag([3, 2, 4, 0]) + np.array([[0, 1, 0, 0]] + [[0] * 4] * 3)
    fig = figures.plot_confusion(counts)
    assert [t.get_text() for t in fig.axes[0].texts] == ["75", "25", "0", "0"] + "0 100 0 0 0 0 100 0".split()
    assert "90.0 %" in fig.axes[0].get_title()


def test_units_of_the_tables_are_set_with_superscripts():
    assert plotting.pretty_unit("um^2/s^alpha") == r"µm$^2$/s$^\alpha$"


def test_scale_bar_lengths():
    assert [plotting.nice_length(x) for x in (128, 30, 4, 0.9, 0)] == [20, 5, 1, 0.2, 1.0]


def test_maps_refuse_what_they_cannot_draw():
    with pytest.raises(ValueError, match="coloured by"):
        track_figures.colour_scale("speed", np.ones(3))
    with pytest.raises(ValueError, match="two or more frames"):
        track_figures.plot_tracks(
            pd.DataFrame({c: [1.0] for c in ("track_id", "frame", "x", "y", "k", "alpha", "state")})
        )
    with pytest.raises(ValueError, match="train_ or val_"):
        plotting.plot_learning_curves(pd.DataFrame({"step": [1]}))
