"""Dynamic programmes: optimal partitioning equal to ruptures and to trying everything, windows of high probability."""

from itertools import combinations

import numpy as np
import pytest
import ruptures

from main.tracks.inference.partition import MAX_CANDIDATES, partition, windows


def signals(n, seed, n_channels=3):
    """Steps in noise, tracks of 6 to 120 frames."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(n):
        size = int(rng.integers(6, 121))
        levels = rng.normal(0, 2, (size, n_channels)) * (rng.random((size, 1)) < 0.05)
        result.append(np.cumsum(levels, axis=0) + rng.normal(size=(size, n_channels)))
    return result


@pytest.mark.parametrize("penalty", [4.0, 12.0])
def test_equals_ruptures_at_a_constant_penalty(penalty):
    stacks = signals(150, seed=int(10 * penalty))
    found = partition(stacks, [np.zeros(len(s)) for s in stacks], penalty)
    kernel = [ruptures.KernelCPD("linear", min_size=3).fit_predict(s, pen=penalty)[:-1] for s in stacks]
    assert found == kernel and sum(map(len, found)) > 100


def test_equals_pelt():
    for stack in signals(8, seed=3, n_channels=1):
        pelt = ruptures.Pelt(model="l2", min_size=3, jump=1).fit_predict(stack, pen=5.0)[:-1]
        assert partition([stack], [np.zeros(len(stack))], 5.0) == [pelt]


def test_never_dearer_than_ruptures():
    """Many short segments: the pruning of KernelCPD is not exact with a shortest segment."""
    stacks = signals(100, seed=5)
    found = partition(stacks, [np.zeros(len(s)) for s in stacks], 0.5)
    kernel = [ruptures.KernelCPD("linear", min_size=3).fit_predict(s, pen=0.5)[:-1] for s in stacks]
    excess = [
        cost(s, np.zeros(len(s)), 0.5, a) - cost(s, np.zeros(len(s)), 0.5, b)
        for s, a, b in zip(stacks, found, kernel, strict=True)
    ]
    assert max(excess) < 1e-9 and np.mean(np.abs(excess) < 1e-9) > 0.8


def cost(stack, gain, penalty, changepoints):
    parts = np.split(stack, changepoints)
    return sum(((p - p.mean(0)) ** 2).sum() for p in parts) + sum(penalty - gain[c] for c in changepoints)


def test_gains_are_weighed_exactly():
    rng = np.random.default_rng(4)
    for stack in [rng.normal(size=(13, 2)) for _ in range(30)]:
        gain = rng.normal(0, 2, 13)
        every = [c for r in range(5) for c in combinations(range(3, 11), r) if (np.diff([0, *c, 13]) >= 3).all()]
        best = min(every, key=lambda c: cost(stack, gain, 2.0, c))
        assert partition([stack], [gain], 2.0) == [list(best)]


def unpruned(stack, gain, penalty, min_size=3):
    """Optimal partitioning that tries every start of the last segment at every frame; quadratic."""
    total = np.concatenate([np.zeros((1, stack.shape[1])), np.cumsum(stack, axis=0)])
    best, last = np.full(len(total), -np.inf), np.zeros(len(total), int)
    best[0] = 0
    for t in range(min_size, len(total)):
        start = np.arange(t - min_size + 1)
        value = best[start] + ((total[t] - total[start]) ** 2).sum(axis=1) / (t - start)
        last[t] = value.argmax()
        best[t] = value[last[t]] + (gain[t] - penalty if t < len(gain) else 0)
    at, places = len(stack), []
    while (at := last[at]) > 0:
        places.append(int(at))
    return places[::-1]


@pytest.mark.parametrize(("penalty", "scale"), [(4.3, 2.0), (2.0, 0.2), (12.0, 3.0)])
def test_pruning_changes_nothing(penalty, scale):
    """Gains of all sizes: prices of neighbouring frames differ by more than a segment is worth, and are below 0."""
    rng = np.random.default_rng(int(penalty))
    stacks = signals(60, seed=6) + [s[:700] for s in (np.concatenate(signals(12, seed=7)), rng.normal(size=(700, 3)))]
    gains = [scale * rng.normal(size=len(s)) + rng.choice([-2, 0]) for s in stacks]
    found = partition(stacks, gains, penalty)
    assert found == [unpruned(*rows, penalty) for rows in zip(stacks, gains, strict=True)]
    assert sum(map(len, found)) > 100


def test_long_signals_that_hardly_change_keep_their_changepoints():
    """At a constant price nothing can be pruned, so that every second one of the oldest candidates is left out."""
    rng = np.random.default_rng(8)
    stack = 0.1 * rng.normal(size=(5 * MAX_CANDIDATES, 2))
    places = [int(share * MAX_CANDIDATES) for share in (0.4, 3.3, 4.2)]
    for place in places:
        stack[place:] += 1.0
    assert partition([stack], [np.zeros(len(stack))], 12.0) == [places]


def test_signals_too_short_stay_whole():
    stacks = [np.arange(2.0 * n).reshape(n, 2) * 100 for n in range(1, 7)]
    assert partition(stacks, [np.zeros(len(s)) for s in stacks], 0.1) == [[], [], [], [], [], [3]]


def test_windows_hold_the_most():
    mass = np.zeros((3, 60))
    mass[0, 10:20] = 0.09  # .9 in 10 frames
    mass[0, 40:50] = 0.03  # .3
    mass[2, [5, 30]] = 0.8
    found = windows(mass, 0.5)
    assert found[:, 0].tolist() == [0, 2, 2]
    assert (found[:, 2] - found[:, 1] <= 19).all() and (found[:, 2] - found[:, 1] >= 3).all()
    held = [mass[i, a:b].sum() for i, a, b in found]
    assert np.allclose(held, [0.9, 0.8, 0.8])
    assert windows(mass, 0.95).shape == (0, 3)


def test_windows_equal_trying_everything():
    rng = np.random.default_rng(6)
    for _ in range(30):
        mass = rng.random((1, 11)) ** 2
        spans = [(a, b) for a in range(11) for b in range(a + 3, min(a + 5, 11) + 1)]
        value = {s: min(mass[0, slice(*s)].sum(), 1.0) - 0.6 for s in spans}
        sets = [c for r in range(4) for c in combinations(spans, r) if disjoint(c)]
        best = max(sum(value[s] for s in c) for c in sets)
        found = [tuple(row[1:]) for row in windows(mass, 0.6, max_size=5).tolist()]
        assert disjoint(found) and sum(value[s] for s in found) == pytest.approx(best)


def disjoint(spans):
    return all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))
