"""The benchmark on segmented Brownian motion: its scores, its yardsticks, and the shipped network against them."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import gammaln

from main.tracks.diffusion import brownian as bench
from main.tracks.diffusion.figures import plot_changepoints, plot_relative_errors
from main.tracks.diffusion.network import diffusion_in_time, find_d_changes, find_kernel_changepoints, log_displacements
from main.tracks.evaluation.errors import changepoint_counts
from main.utils.estimators import cramer_rao_bound, cve, mle, msd
from simulations.brownian import brownian_tracks

STEP_ONE_CHANGEPOINT = 0.833  # Jaccard index that Requena et al. print, tolerance 5


def segmented(n, n_changes=(1, 4), log10_noise=-np.inf, seed=0):
    """Positions, true D and localisation error of tracks of 200 frames."""
    generator = torch.Generator().manual_seed(seed)
    tracks = brownian_tracks(n, generator, 200, log10_noise, n_changes, narrow=0.0, min_segment=10)
    return (tracks[name].double().numpy() for name in ("xy", "k", "sigma"))


def test_segments_are_as_long_as_asked():
    _, k, _ = segmented(400, (4, 4))
    for cuts in find_d_changes(k):
        assert len(cuts) == 4 and np.diff([0, *cuts, 200]).min() >= 10


def test_changepoints_count_as_found_within_the_tolerance():
    assert changepoint_counts([50], [54], 5)[:3] == (1, 0, 0)
    assert changepoint_counts([50], [55], 5)[:3] == (0, 1, 1)
    k = np.array([[1.0] * 50 + [10.0] * 50, [1.0] * 100, [2.0] * 20 + [1.0] * 80])
    table = bench.score_changepoints(k, [[48], [], [20, 70]])
    assert table["hits"].tolist() == [1, 1, 1] and table["false_alarms"].tolist() == [0, 0, 1]
    assert table["position"].tolist()[::2] == [50, 20] and table["ratio"].tolist() == pytest.approx([10, 1, 0.5])
    assert bench.jaccard_index(table) == pytest.approx(3 / 4)
    assert bench.jaccard_index(table, "number").to_dict() == pytest.approx({0: 1.0, 1: 2 / 3})


def test_the_posterior_is_that_of_a_sum_over_all_partitions():
    xy, _, _ = segmented(3, seed=3)
    squares = (np.diff(xy[:, :26], axis=1) ** 2).sum(axis=-1) / 4
    for row, p_change in zip(squares, bench.change_probabilities(xy[:, :26], (1, 3), 5), strict=True):
        values, cuts = [], []
        for number in (1, 2, 3):
            own = [c for c in combinations(range(5, 22), number) if np.diff([0, *c, 26]).min() >= 5]
            for c in own:
                edges = [0, *c, 25]
                pieces = [row[a:b] for a, b in zip(edges, edges[1:], strict=False)]
                value = sum(gammaln(len(x)) - len(x) * np.log(x.sum()) - np.log(6 * np.log(10)) for x in pieces)
                values.append(value - np.log(len(own)))
                cuts.append(c)
        weights = np.exp(np.array(values) - max(values))
        expected = np.zeros(26)
        for c, weight in zip(cuts, weights / weights.sum(), strict=True):
            expected[list(c)] += weight
        assert p_change == pytest.approx(expected, abs=1e-9)


def test_each_segment_is_estimated_from_its_own_positions():
    xy, k, sigma = segmented(40, log10_noise=-1.0)
    table = bench.estimate_segments(xy, k, sigma, {"truth": k})
    assert table["truth"].to_numpy() == pytest.approx(table["k"].to_numpy())
    assert (table.groupby("track")["frames"].sum() - table.groupby("track").size() == 199).all()
    row = table.iloc[5]
    own = xy[int(row["track"]), int(row["start"]) : int(row["start"] + row["frames"])]
    one, two = msd(own, 2)
    assert row["MLE"] == pytest.approx(mle(own, 0.1)) and row["MSD"] == pytest.approx((two - one) / 4)
    assert row["CVE"] == pytest.approx(cve(own))
    assert row["bound"] == pytest.approx(cramer_rao_bound(len(own), row["k"], 0.1))


def test_mle_of_true_segments_is_at_the_bound():
    xy, k, _ = segmented(1500)
    table = bench.estimate_segments(xy, k)
    errors = bench.bin_relative_errors(table, ["MLE", "CVE", "MSD"], bench.bin_geometrically(table["frames"], 4))
    assert len(errors) == 4 and (errors.index.to_numpy()[1:] > errors.index.to_numpy()[:-1]).all()
    assert errors["MLE"].to_numpy() == pytest.approx(errors["bound"].to_numpy(), rel=0.06)
    assert (errors["MSD"] > 1.4 * errors["bound"]).all()


def test_a_segment_alone_is_read_as_if_it_were_the_track():
    xy, k, _ = segmented(20)
    table = bench.estimate_segments(xy, k)
    alone = bench.read_segments_alone(xy, table)
    for i in (0, 7, 30):
        row = table.iloc[i]
        own = xy[int(row["track"]), int(row["start"]) : int(row["start"] + row["frames"])]
        assert alone[i, : len(own) - 1] == pytest.approx(diffusion_in_time(own[None])[0, :-1], rel=1e-4)
        assert np.isnan(alone[i, len(own) - 1 :]).all()


@pytest.mark.parametrize("weights", ["brownian", "brownian_attention"])
def test_d_is_read_as_well_as_published(weights):
    """Mean relative error over six decades; STEP has .226 of frames, .189 of frames of true segments read alone."""
    xy, k, _ = segmented(2000, seed=6)
    d = diffusion_in_time(xy, 0.0, weights)
    assert np.nanmean(np.abs(d / k - 1)) < 0.226
    table = bench.estimate_segments(xy, k, 0.0, {"network": d})
    alone = bench.read_segments_alone(xy, table, weights)
    assert np.nanmean(np.abs(alone / table["k"].to_numpy()[:, None] - 1)) < 0.189
    errors = bench.bin_relative_errors(table, ["network", "MLE", "CVE"], np.zeros(len(table))).iloc[0]
    assert errors["network"] < 0.189 and errors["CVE"] > 1.2 * errors["MLE"]


def test_changepoints_are_found_as_well_as_published():
    """STEP prints .833 on its predictions and .796 on displacements, for tracks of one changepoint; 2 s.e. are .011."""
    xy, k, _ = segmented(4000, (1, 1), seed=8)
    steps = bench.score_changepoints(k, find_kernel_changepoints(log_displacements(xy), bench.DISPLACEMENT_PENALTY))
    assert bench.jaccard_index(steps) == pytest.approx(0.796, abs=0.02)  # the same benchmark as theirs
    for weights in ("brownian", "brownian_attention"):
        found = bench.score_changepoints(k, find_kernel_changepoints(np.log10(diffusion_in_time(xy, 0.0, weights))))
        assert bench.jaccard_index(found) > STEP_ONE_CHANGEPOINT


def test_changepoints_are_found_almost_as_well_as_can_be():
    xy, k, _ = segmented(1500, seed=9)
    found = bench.score_changepoints(k, find_kernel_changepoints(np.log10(diffusion_in_time(xy))))
    posterior = bench.change_probabilities(xy)
    possible = bench.score_changepoints(k, bench.pick_changepoints(posterior))
    assert bench.jaccard_index(possible) - 0.02 < bench.jaccard_index(found) < bench.jaccard_index(possible)
    assert posterior.sum() == pytest.approx(sum(map(len, find_d_changes(k))), rel=0.02)


def test_changepoints_are_where_half_of_the_probability_is_near():
    p_change = np.zeros((3, 60))
    p_change[0, 20:25] = 0.15, 0.2, 0.3, 0.2, 0.15
    p_change[0, 40] = 0.45
    p_change[2, [10, 30]] = 0.6, 0.7
    assert bench.pick_changepoints(p_change) == [[22], [], [10, 30]]


def test_figures_draw_every_method():
    xy, k, _ = segmented(60)
    table = bench.estimate_segments(xy, k)
    errors = bench.bin_relative_errors(table, ["CVE", "MSD"], bench.bin_geometrically(table["frames"], 3))
    fig = plot_relative_errors({"frames": errors, "again": errors[["MSD", "bound"]]}, [len(table), 1234])
    assert fig.axes[1].get_title() == "1,234 segments" and fig.axes[0].get_xlabel() == "frames"
    assert [len(ax.lines) for ax in fig.axes] == [3, 2]
    fig = plot_changepoints({"steps": bench.score_changepoints(k, find_kernel_changepoints(log_displacements(xy), 6))})
    assert len(fig.axes) == 3 and all(len(ax.lines) == 1 for ax in fig.axes)
