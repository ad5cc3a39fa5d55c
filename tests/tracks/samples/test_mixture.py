"""Exact likelihoods against dense ones, decoding against enumeration, mixtures and placement against known answers."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import multivariate_normal

from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment
from main.tracks.samples.fit import fit_sample
from main.tracks.samples.likelihood import (
    average_nodes,
    log_emissions,
    node_scores,
    step_covariance,
    stretch_likelihood,
)
from main.tracks.samples.mixture import (
    ALPHA_RANGE,
    Mixture,
    fit_gaussian_mixture,
    log_prior,
    mixture_of_segments,
    update_mixture,
)
from main.tracks.samples.paths import filter_paths
from main.tracks.samples.placement import count_matches, expected_counts, place_changepoints, place_densely
from main.tracks.samples.semimarkov import draw_paths, filter_steps, node_probabilities, smooth_steps
from simulations.labels import label_filter
from simulations.parameters import FREE, TRAPPED

SIGMA = 0.3
NODES = [(0.4, 0.6), (2.0, 1.5), (0.0, 1.0)]  # K, alpha


def dense_log_density(steps, k, alpha):
    """Log-density of the steps (n, 2) of one stretch, by the full covariance."""
    n = len(steps)
    row = step_covariance(k, alpha, SIGMA, n)
    cov = row[np.abs(np.arange(n)[:, None] - np.arange(n))]
    return sum(multivariate_normal(np.zeros(n), cov).logpdf(steps[:, i]) for i in range(2))


def enumerate_paths(steps, start, transition):
    """Every path of components and its joint log-density: a new stretch begins where the component changes."""
    paths = list(product(range(len(start)), repeat=len(steps)))
    n, values = len(steps), []
    density = {
        (a, b, c): dense_log_density(steps[a:b], *NODES[c])
        for c, a, b in product(range(len(start)), range(n), range(n + 1))
        if a < b
    }
    for path in paths:
        edges = [0, *(np.flatnonzero(np.diff(path)) + 1), len(path)]
        value = np.log(start[path[0]]) + sum(np.log(transition[a, b]) for a, b in zip(path, path[1:], strict=False))
        stretches = zip(edges, edges[1:], strict=False)
        values.append(value + sum(density[a, b, path[a]] for a, b in stretches))
    return np.array(paths), np.array(values)


@pytest.fixture(scope="module")
def enumerated():
    steps = np.random.default_rng(1).normal(0, 1, (6, 2))
    start, transition = np.array([0.5, 0.3, 0.2]), np.array([[0.8, 0.15, 0.05], [0.2, 0.7, 0.1], [0.3, 0.1, 0.6]])
    return steps, start, transition, *enumerate_paths(steps, start, transition)


def emissions(steps, memory=8):
    """Of one track."""
    return log_emissions(steps, *np.array(NODES).T.copy(), SIGMA, memory)


def decode(emission, first_node, start, transition, weight=None):
    """Filtered probabilities, and what `smooth_steps` returns."""
    log_weight = np.zeros(emission.shape[2]) if weight is None else np.log(weight)
    filtered = filter_steps(emission, first_node, log_weight, start, transition)
    return filtered, *smooth_steps(filtered, first_node, transition)


def test_decoding_equals_enumeration(enumerated):
    steps, start, transition, paths, values = enumerated
    filtered, age, moves = decode(emissions(steps), np.arange(4), start, transition)
    total = np.logaddexp.reduce(values)
    probability = np.exp(values - total)
    expected = np.stack([(probability[:, None] * (paths == c)).sum(0) for c in range(3)], 1)
    expected_moves = np.zeros((3, 3))
    for path, p in zip(paths, probability, strict=True):
        np.add.at(expected_moves, (path[:-1], path[1:]), p * (path[:-1] != path[1:]))
    assert filtered.log_likelihood == pytest.approx(total, abs=1e-4)
    np.testing.assert_allclose(age.sum(1), expected, atol=1e-5)
    np.testing.assert_allclose(moves, expected_moves, atol=1e-5)


def test_paths_are_drawn_as_often_as_they_are_probable(enumerated):
    steps, start, transition, paths, values = enumerated
    probability = np.exp(values - np.logaddexp.reduce(values))
    uniforms = np.random.default_rng(0).random((4000, 6, 2))
    for memory in (8, 3):  # 3: the age of a stretch is capped
        filtered, age, _ = decode(emissions(steps, memory), np.arange(4), start, transition)
        drawn = draw_paths(filtered, np.arange(4), transition, uniforms)
        code = drawn.astype(int) @ 3 ** np.arange(6)[::-1]
        often = np.bincount(code, minlength=len(paths)) / 4000
        assert np.abs(often - probability).sum() < (0.15 if memory == 8 else 0.4)
        np.testing.assert_allclose([(drawn == c).mean(0) for c in range(3)], age.sum(1).T, atol=0.03)


def test_what_is_nearly_impossible_stays_finite():
    """Steps of very different size, and a jump, in components none of which can make them."""
    rng = np.random.default_rng(7)
    steps = rng.normal(0, 1, (60, 2)) * np.repeat([1e-2, 1e3, 1e-2], 20)[:, None]
    steps[50] = 1e5
    k, alpha = np.array([1e-3, 1e-2, 1e5]), np.array([1.9, 0.4, 1.0])
    emission = log_emissions(steps, k, alpha, 1e-2, 16)
    for first_node, start in ((np.array([0, 3]), np.ones(1)), (np.array([0, 2, 3]), np.array([0.999, 0.001]))):
        n = len(start)
        transition = np.ones((1, 1)) if n == 1 else np.array([[1 - 1e-9, 1e-9], [1e-6, 1 - 1e-6]])
        filtered, age, moves = decode(emission, first_node, start, transition, np.full(3, 0.3))
        assert np.isfinite(filtered.log_likelihood) and np.isfinite(moves).all()
        np.testing.assert_allclose(age.sum((1, 2)), 1.0, atol=1e-4)


def test_one_node_explains_a_whole_track_of_one_component():
    """Each half of the track makes the node of the other half impossible; the better one must win."""
    rng = np.random.default_rng(8)
    steps = rng.normal(0, 1, (100, 2)) * np.repeat([1e-2, 1e2], 50)[:, None]
    emission = log_emissions(steps, np.array([5e-5, 5e3]), np.ones(2), 1e-3, 16)
    filtered, age, _ = decode(emission, np.array([0, 2]), np.ones(1), np.ones((1, 1)), np.array([0.5, 0.5]))
    scores = node_scores(age, emission, np.array([0, 2]))
    assert filtered.log_likelihood == pytest.approx(scores.max() + np.log(0.5), rel=1e-5)


def test_short_memory_changes_long_stretches_little():
    rng = np.random.default_rng(2)
    row = step_covariance(1.0, 1.6, SIGMA, 150)
    steps = rng.multivariate_normal(np.zeros(150), row[np.abs(np.arange(150)[:, None] - np.arange(150))], 2).T
    whole = dense_log_density(steps, 1.0, 1.6)
    segments = [Segment(0, 151, k=1.0, alpha=1.6, state=FREE)]
    track = np.concatenate([[[0.0, 0.0]], steps.cumsum(0)])
    assert stretch_likelihood(track, segments, SIGMA, 150) + np.log(150) == pytest.approx(whole, abs=1e-2)
    assert stretch_likelihood(track, segments, SIGMA, 32) + np.log(150) == pytest.approx(whole, abs=1.0)


def test_nodes_of_one_component_share_its_probability(enumerated):
    steps, *_ = enumerated
    emission, first_node = emissions(steps), np.array([0, 2, 3])
    weight, transition = np.array([0.5, 0.5, 1.0]), np.array([[0.9, 0.1], [0.2, 0.8]])
    _, age, _ = decode(emission, first_node, np.array([0.6, 0.4]), transition, weight)
    np.testing.assert_allclose(age.sum((1, 2)), 1.0, atol=1e-5)
    possible = np.arange(8) <= np.arange(6)[:, None]  # a stretch is not older than the track
    by_hand = np.einsum("nac,nas->cs", age, np.where(possible[..., None], emission, 0.0))
    score = node_scores(age, emission, first_node)
    np.testing.assert_allclose(score, [*by_hand[0, :2], by_hand[1, 2]], rtol=1e-4)
    average = average_nodes(emission, weight, first_node)
    np.testing.assert_allclose(average[5, :6, 0], emission[5, :6, :2].mean(1), rtol=1e-5)
    np.testing.assert_allclose(node_probabilities(np.log([1e-5, 3e-5, 7.0]), first_node), [0.25, 0.75, 1.0])


def test_deconvolution_finds_the_spread_behind_the_errors():
    rng = np.random.default_rng(3)
    group = rng.random(4000) < 0.3
    true = np.where(group[:, None], [-1.0, 0.5], [0.5, 1.2]) + rng.normal(0, 0.1, (4000, 2))
    errors = rng.uniform(0.05, 0.4, (4000, 2))
    values = true + rng.normal(0, errors)
    share, mean, variance, _ = fit_gaussian_mixture(values, errors**2, np.ones(4000), 2)
    np.testing.assert_allclose(share, [0.3, 0.7], atol=0.03)
    np.testing.assert_allclose(mean, [[-1.0, 0.5], [0.5, 1.2]], atol=0.03)
    np.testing.assert_allclose(np.sqrt(variance), 0.1, atol=0.03)


def test_first_mixture_keeps_trapped_apart():
    track = [
        Segment(start=0, end=50, k=1.0, alpha=1.0, state=FREE),
        Segment(start=50, end=100, k=0, alpha=0, state=TRAPPED),
    ]
    mixture = mixture_of_segments([track] * 5, 1, True)
    assert mixture.state.tolist() == [FREE, TRAPPED]
    assert mixture.mean[0] == pytest.approx([0.0, 1.0])
    assert mixture.start == pytest.approx([0.5, 0.5])
    np.testing.assert_allclose(mixture.transition.sum(1), 1.0)
    with pytest.raises(ValueError, match="no segment moves"):
        mixture_of_segments([track[1:]], 1, True)


def test_prior_is_a_density():
    mixture = Mixture(np.array([[0.0, 1.9]]), np.array([[0.3, 0.2]]), np.array([FREE]), np.ones(1), np.ones((1, 1)))
    k, alpha = np.linspace(-2, 2, 400), np.linspace(*ALPHA_RANGE, 400)
    values = np.stack(np.meshgrid(k, alpha, indexing="ij"), -1).reshape(1, 1, -1, 2)
    cell = (k[1] - k[0]) * (alpha[1] - alpha[0])
    assert np.exp(log_prior(mixture, values)).sum() * cell == pytest.approx(1.0, abs=0.02)


def test_update_takes_means_spread_and_rates_of_what_was_seen():
    mixture = mixture_of_segments(
        [[Segment(start=0, end=99, k=k, alpha=1.0, state=FREE)] for k in (0.1, 1.0)], 2, False
    )
    mean = np.array([[[-1.2, 0.8], [0.0, 1.0]], [[-0.8, 1.0], [9.0, 2.0]]])  # the second never in component 1
    seen = SimpleNamespace(
        mean=mean,
        sd=np.full((2, 2, 2), 0.1),
        occupied=np.array([[1000.0, 1000.0], [1000.0, 0.0]]),
        moves=np.array([[[0, 10.0], [10.0, 0]], np.zeros((2, 2))]),
        first=np.array([[1.0, 0.0], [1.0, 0.0]]),
    )
    new = update_mixture(mixture, seen)
    assert new.mean[0] == pytest.approx([-1.0, 0.9])
    assert new.sd[0] == pytest.approx(np.sqrt([0.04 + 0.01, 0.01 + 0.01]))
    assert new.mean[1] == pytest.approx(mixture.mean[1])  # of one particle alone nothing is learned
    assert new.transition[0, 1] == pytest.approx(10.1 / 2001)
    assert new.transition[1, 0] == pytest.approx(10.1 / 1001)


def test_filtered_paths_equal_the_label_filter():
    rng = np.random.default_rng(6)
    for n, longest in ((1, 1), (2, 1), (4, 2), (60, 4), (60, 9)):
        stretches = (np.repeat(rng.integers(0, 4, n), rng.integers(1, longest + 1, n))[:n] for _ in range(100))
        paths = np.array(list(stretches))
        np.testing.assert_array_equal(filter_paths(paths, 4), [label_filter(path) for path in paths])


def test_matches_is_the_largest_pairing():
    rng = np.random.default_rng(4)
    lists = [sorted(rng.choice(200, n, replace=False).tolist()) for n in (0, 1, 4, 9, 15)]
    found = count_matches(lists, lists)
    for i, a in enumerate(lists):
        for j, b in enumerate(lists):
            near = np.abs(np.subtract.outer(a, b)) <= 9
            best = near[linear_sum_assignment(-near.astype(int))].sum() if a and b else 0
            assert found[i, j] == best


def test_expected_counts_by_hand():
    hits, union = expected_counts([[50], []], [[55], [], [20, 52]])
    assert hits == pytest.approx([2 / 3, 1 / 3])
    assert union == pytest.approx([(1 + 1 + 2) / 3, (1 + 1 + 2) / 3])


def test_sure_changes_are_reported_where_they_are():
    labels = np.repeat([0, 1, 0], [30, 15, 55])
    still = np.zeros(80, int)
    places, jaccard = place_changepoints([np.tile(labels, (20, 1)), np.tile(still, (20, 1))], [labels, still])
    assert places == [[30, 45], []]
    assert jaccard == pytest.approx(1.0)


def test_unsure_changes_are_reported_where_a_path_of_most_probable_labels_has_none():
    rng = np.random.default_rng(5)
    paths = np.zeros((60, 120), int)
    for row in paths:
        start = rng.integers(50, 56)
        row[start : start + rng.integers(2, 6)] = rng.random() < 0.9  # short, nearly sure, at no sure place
    likely = (paths.mean(0) > 0.9).astype(int)
    places, _ = place_changepoints([paths], [likely])
    assert not likely.any()
    assert len(places[0]) >= 1
    assert all(45 <= c <= 65 for c in places[0])
    assert place_densely(np.zeros(50), 0.2) == []


def test_a_fit_that_starts_narrow_finds_particles_that_vary_continuously():
    """The segments all have the same alpha, as those of networks that draw every particle towards the mean."""
    rng, n, tracks = np.random.default_rng(9), 30, []
    lags = np.abs(np.arange(59)[:, None] - np.arange(59))
    for alpha in rng.normal(1.0, 0.2, n):
        steps = rng.multivariate_normal(np.zeros(59), step_covariance(1.0, alpha, 0.0, 59)[lags], 2).T
        tracks.append(np.concatenate([[[0.0, 0.0]], steps.cumsum(0)]) + rng.normal(0, SIGMA, (60, 2)))
    segments = [[Segment(0, 60, k=1.0, alpha=1.0, state=FREE)]] * n
    pred = Prediction(np.zeros(60), np.ones(60), np.tile(np.eye(4)[FREE], (60, 1)), np.zeros(60))
    mixture = fit_sample(tracks, np.full(n, SIGMA), segments, [pred] * n)
    assert mixture.sd == pytest.approx(np.array([[0.03, 0.2]]), abs=0.05)
