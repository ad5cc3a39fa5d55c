"""The benchmark on segmented Brownian motion: its scores, its yardsticks, and the shipped network against them."""

from itertools import combinations

import numpy as np
import pytest
import torch

from main.utils import brownian_benchmark as bench
from main.utils.diffusion import PENALTY_STEPS, diffusion_in_time, kernel_changepoints, log10_steps
from main.utils.estimators import cramer_rao_bound, mle, msd
from main.utils.metrics import changepoint_counts
from main.utils.plotting_brownian import plot_changepoints, plot_relative_errors
from simulations.brownian import brownian_tracks

STEP_ONE_CHANGEPOINT = 0.833  # Jaccard index that Requena et al. print, tolerance 5


def segmented(n, n_changes=(1, 4), log10_noise=-np.inf, seed=0):
    """Positions, true D and localisation error of tracks of 200 frames."""
    generator = torch.Generator().manual_seed(seed)
    tracks = brownian_tracks(n, generator, 200, log10_noise, n_changes, narrow=0.0, min_segment=10)
    return (tracks[name].double().numpy() for name in ("xy", "k", "sigma"))


def test_segments_are_as_long_as_asked():
    _, k, _ = segmented(400, (4, 4))
    for cuts in bench.changepoints_of(k):
        assert len(cuts) == 4 and np.diff([0, *cuts, 200]).min() >= 10


def test_changepoints_count_as_found_within_the_tolerance():
    assert changepoint_counts([50], [54], 5)[:3] == (1, 0, 0)
    assert changepoint_counts([50], [55], 5)[:3] == (0, 1, 1)
    k = np.array([[1.0] * 50 + [10.0] * 50, [1.0] * 100, [2.0] * 20 + [1.0] * 80])
    table = bench.changepoint_table(k, [[48], [], [20, 70]])
    assert table["hits"].tolist() == [1, 1, 1] and table["false_alarms"].tolist() == [0, 0, 1]
    assert table["position"].tolist()[::2] == [50, 20] and table["ratio"].tolist() == pytest.approx([10, 1, 0.5])
    assert bench.jaccard_of(table) == pytest.approx(3 / 4)
    assert bench.jaccard_of(table, "number").to_dict() == pytest.approx({0: 1.0, 1: 2 / 3})


def test_the_best_partition_is_that_of_a_search_through_all():
    gain = np.triu(np.random.default_rng(3).normal(size=(13, 13)), 2) + np.tril(np.full((13, 13), -np.inf), 1)
    gain[np.tril_indices(13, 1)] = -np.inf
    for price in (0.0, 0.5, 5.0):
        values = {}
        for n in range(4):
            for cuts in combinations(range(1, 12), n):
                edges = [0, *cuts, 12]
                values[cuts] = sum(gain[a, b] for a, b in zip(edges, edges[1:], strict=False)) - price * n
        assert tuple(bench.best_partition(gain, 3, price)) == max(values, key=values.get)


def test_each_segment_is_estimated_from_its_own_positions():
    xy, k, sigma = segmented(40, log10_noise=-1.0)
    table = bench.segment_table(xy, k, sigma, {"truth": k})
    assert table["truth"].to_numpy() == pytest.approx(table["k"].to_numpy())
    assert (table.groupby("track")["frames"].sum() - table.groupby("track").size() == 199).all()
    row = table.iloc[5]
    own = xy[int(row["track"]), int(row["start"]) : int(row["start"] + row["frames"])]
    one, two = msd(own, 2)
    assert row["MLE"] == pytest.approx(mle(own, 0.1)) and row["MSD"] == pytest.approx((two - one) / 4)
    assert row["bound"] == pytest.approx(cramer_rao_bound(len(own), row["k"], 0.1))


def test_mle_of_true_segments_is_at_the_bound():
    xy, k, _ = segmented(1500)
    table = bench.segment_table(xy, k)
    errors = bench.relative_errors(table, ["MLE", "CVE", "MSD"], bench.geometric_bins(table["frames"], 4))
    assert len(errors) == 4 and (errors.index.to_numpy()[1:] > errors.index.to_numpy()[:-1]).all()
    assert errors["MLE"].to_numpy() == pytest.approx(errors["bound"].to_numpy(), rel=0.06)
    assert (errors["MSD"] > 1.4 * errors["bound"]).all()


def test_a_segment_alone_is_read_as_if_it_were_the_track():
    xy, k, _ = segmented(20)
    table = bench.segment_table(xy, k)
    alone = bench.read_segments(xy, table)
    for i in (0, 7, 30):
        row = table.iloc[i]
        own = xy[int(row["track"]), int(row["start"]) : int(row["start"] + row["frames"])]
        assert alone[i] == pytest.approx(10 ** np.log10(diffusion_in_time(own[None])[0, :-1]).mean(), rel=1e-4)


def test_changepoints_are_found_as_well_as_published_and_almost_as_well_as_can_be():
    """On tracks of one changepoint STEP has .833; on tracks of 1 to 4 an exact reader of the model has little more."""
    xy, k, _ = segmented(4000, seed=8)
    network = bench.changepoint_table(k, kernel_changepoints(np.log10(diffusion_in_time(xy))[:, :-1]))
    steps = bench.changepoint_table(k, kernel_changepoints(log10_steps(xy), PENALTY_STEPS))
    exact = bench.changepoint_table(k, bench.exact_changepoints(xy))
    assert bench.jaccard_of(network, "number")[1] > STEP_ONE_CHANGEPOINT
    assert bench.jaccard_of(network) > bench.jaccard_of(exact) - 0.01
    assert bench.jaccard_of(network) > bench.jaccard_of(steps) + 0.03


def test_figures_draw_every_method():
    xy, k, _ = segmented(60)
    table = bench.segment_table(xy, k)
    errors = bench.relative_errors(table, ["CVE", "MSD"], bench.geometric_bins(table["frames"], 3))
    fig = plot_relative_errors({"frames": errors, "again": errors[["MSD", "bound"]]})
    assert [len(ax.lines) for ax in fig.axes] == [3, 2]
    fig = plot_changepoints({"steps": bench.changepoint_table(k, kernel_changepoints(log10_steps(xy), PENALTY_STEPS))})
    assert len(fig.axes) == 3 and all(len(ax.lines) == 1 for ax in fig.axes)
