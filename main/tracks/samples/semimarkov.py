"""Decoding of tracks made of stretches: a hidden Markov chain that carries the age of the stretch.

A stretch is what lies between two changepoints: the particle is in one component, which has one K and one alpha. The
density of a step depends on the earlier steps of its stretch, so the chain carries the component, one of its nodes
(pairs of K and alpha on a grid, as their values are uncertain) and the age of the stretch. Ages beyond the memory of
the densities count as the oldest one.

Shapes and `first_node` as in `main.tracks.samples.likelihood`. All functions take one track.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from main.utils.compiled import compiled

LOG_ZERO = -1e30  # stands for log(0)
TINY = 1e-250  # smallest probability of a component at a step, so that each one can be left
MIN_LOG_SHARE = -60.0  # log-probability of an age in its node, below which it counts as 0


class Filtered(NamedTuple):
    """Probabilities given the steps so far.

    Parameters
    ----------
    share : numpy.ndarray, shape (n, A, S)
        Probability of each age of the stretch, given the node.
    log_node : numpy.ndarray, shape (n, S)
        Log-probability of each node.
    log_likelihood : float
        Of all steps.
    """

    share: np.ndarray
    log_node: np.ndarray
    log_likelihood: float


@compiled
def occupy_components(log_node, first_node):
    """Probability (C,) of each component, at least TINY, from the log-probabilities (S,) of the nodes."""
    occupied = np.full(len(first_node) - 1, TINY)
    for c in range(len(occupied)):
        for s in range(first_node[c], first_node[c + 1]):
            occupied[c] += np.exp(log_node[s])
    return occupied


@compiled
def enter_component(c, occupied, transition):
    """Probability to change to component c, from the probabilities (C,) of the components one step before."""
    total = 0.0
    for b in range(len(occupied)):
        if b != c:
            total += occupied[b] * transition[b, c]
    return total


@compiled
def filter_steps(emission, first_node, log_weight, start, transition):
    """Go through the steps forwards.

    Parameters
    ----------
    emission : (n, A, S) array
        As returned by `log_emissions`.
    first_node : (C + 1,) array of int
    log_weight : (S,) array
        Log of the weight of each node when a stretch of its component begins.
    start : (C,) array
        Probability of each component at the first step.
    transition : (C, C) array
        Probability of each component one step later; rows sum to 1.

    Returns
    -------
    Filtered
    """
    n, n_ages, n_nodes = emission.shape
    share, log_node = np.zeros((n, n_ages, n_nodes), np.float32), np.zeros((n, n_nodes))
    now = np.full((n_ages, n_nodes), LOG_ZERO)  # log-probability of node and age given the steps so far
    stay, begin, peak = np.empty(n_nodes), np.empty(n_nodes), np.empty(n_nodes)
    for c in range(len(start)):
        for s in range(first_node[c], first_node[c + 1]):
            stay[s] = np.log(max(transition[c, c], TINY))
    total = 0.0
    for t in range(n):
        top = min(t, n_ages - 1)
        occupied = occupy_components(log_node[t - 1], first_node)
        for c in range(len(start)):
            probability = enter_component(c, occupied, transition) if t else start[c]
            enter = np.log(probability) if probability > 0 else LOG_ZERO
            for s in range(first_node[c], first_node[c + 1]):
                begin[s] = enter + log_weight[s]
        if t >= n_ages:  # the two oldest ages join
            for s in range(n_nodes):
                a, b = now[top, s], now[top - 1, s]
                now[top - 1, s] = max(a, b) + np.log1p(np.exp(-abs(a - b)))
        peak[:] = LOG_ZERO
        for age in range(top, -1, -1):
            for s in range(n_nodes):
                before = now[age - 1, s] + stay[s] if age else begin[s]
                now[age, s] = before + emission[t, age, s]
                peak[s] = max(peak[s], now[age, s])
        highest = LOG_ZERO
        for s in range(n_nodes):
            mass = 0.0
            for age in range(top + 1):
                gap = now[age, s] - peak[s]
                if gap > MIN_LOG_SHARE:
                    share[t, age, s] = np.exp(np.float32(gap))
                    mass += share[t, age, s]
            for age in range(top + 1):
                share[t, age, s] /= mass
            log_node[t, s] = peak[s] + np.log(mass)
            highest = max(highest, log_node[t, s])
        step_total = 0.0
        for s in range(n_nodes):
            step_total += np.exp(log_node[t, s] - highest)
        step_total = highest + np.log(step_total)
        for s in range(n_nodes):
            log_node[t, s] -= step_total
            for age in range(top + 1):
                now[age, s] -= step_total
        total += step_total
    return Filtered(share, log_node, total)


@compiled
def smooth_steps(filtered, first_node, transition):
    """Go through the steps backwards: the posterior of components, ages and changes.

    Parameters
    ----------
    filtered : Filtered
    first_node : (C + 1,) array of int
    transition : (C, C) array

    Returns
    -------
    age : numpy.ndarray, shape (n, A, C), float32
        Probability of each component and age of its stretch at each step.
    moves : numpy.ndarray, shape (C, C)
        Expected number of changes from one component to another.

    Source: smoothing by the reversed chain (Kitagawa, J. Am. Stat. Assoc. 82, 1032 (1987)). It needs no likelihood of
    later steps, so nothing can underflow.
    """
    share, log_node, _ = filtered
    n, n_ages, n_nodes = share.shape
    n_components = len(first_node) - 1
    age, moves = np.zeros((n, n_ages, n_components), np.float32), np.zeros((n_components, n_components))
    after, here = np.zeros((n_ages, n_nodes)), np.zeros((n_ages, n_nodes))
    leave = np.ones(n_components)  # probability that a stretch ends here, over that of its component so far
    for t in range(n - 1, -1, -1):
        occupied = occupy_components(log_node[t], first_node)
        if t < n - 1:
            leave[:] = 0.0
            for c in range(n_components):
                begun = 0.0
                for s in range(first_node[c], first_node[c + 1]):
                    begun += after[0, s]
                enter = enter_component(c, occupied, transition)
                for b in range(n_components):
                    if b != c and enter > 0:
                        odds = transition[b, c] * begun / enter
                        leave[b] += odds
                        moves[b, c] += occupied[b] * odds
        for c in range(n_components):
            for s in range(first_node[c], first_node[c + 1]):
                here[n_ages - 1, s] = 0.0
                for a in range(n_ages - 1):
                    here[a, s] = after[a + 1, s]
                if t >= n_ages - 1:  # of the oldest age, a part was the oldest before
                    oldest, younger = share[t, n_ages - 1, s], share[t, n_ages - 2, s]
                    part = oldest / (oldest + younger) if oldest + younger > 0 else 1.0
                    here[n_ages - 1, s] = part * after[n_ages - 1, s]
                    here[n_ages - 2, s] = (1 - part) * after[n_ages - 1, s]
                ends = leave[c] * np.exp(log_node[t, s])
                for a in range(min(t, n_ages - 1) + 1):
                    here[a, s] += ends * share[t, a, s]
                    age[t, a, c] += here[a, s]
        after, here = here, after
    return age, moves


@compiled
def pick(weights, u):
    """Index drawn with the given weights, by a number u that is uniform between 0 and 1."""
    left = u * weights.sum()
    for i in range(len(weights) - 1):
        left -= weights[i]
        if left < 0:
            return i
    return len(weights) - 1


@compiled
def draw_paths(filtered, first_node, transition, uniforms):
    """Draw paths from the posterior, from the last step to the first.

    Parameters
    ----------
    filtered : Filtered
    first_node : (C + 1,) array of int
    transition : (C, C) array
    uniforms : (R, n, 2) array
        Random numbers, uniform between 0 and 1.

    Returns
    -------
    numpy.ndarray, shape (R, n), int8
        Component at each step.
    """
    share, log_node, _ = filtered
    n, n_ages, n_nodes = share.shape
    paths, weights, component = np.empty(uniforms.shape[:2], np.int8), np.empty(n_nodes), np.empty(n_nodes, np.int8)
    for c in range(len(first_node) - 1):
        component[first_node[c] : first_node[c + 1]] = c
    for r in range(len(uniforms)):
        node = pick(np.exp(log_node[n - 1]), uniforms[r, n - 1, 0])
        age = pick(share[n - 1, :, node], uniforms[r, n - 1, 1])
        for t in range(n - 1, 0, -1):
            later = component[node]
            paths[r, t] = later
            if age == n_ages - 1:
                oldest, younger = share[t - 1, age, node], share[t - 1, age - 1, node]
                age -= uniforms[r, t - 1, 0] * (oldest + younger) >= oldest
            elif age:
                age -= 1
            else:
                for s in range(n_nodes):
                    c = component[s]
                    weights[s] = np.exp(log_node[t - 1, s]) * transition[c, later] if c != later else 0.0
                node = pick(weights, uniforms[r, t - 1, 0])
                age = pick(share[t - 1, :, node], uniforms[r, t - 1, 1])
        paths[r, 0] = component[node]
    return paths


@compiled
def node_probabilities(log_mass, first_node):
    """Probability of each node within its component, (S,), from log masses (S,)."""
    out = np.empty(len(log_mass))
    for c in range(len(first_node) - 1):
        highest, total = -np.inf, 0.0
        for s in range(first_node[c], first_node[c + 1]):
            highest = max(highest, log_mass[s])
        for s in range(first_node[c], first_node[c + 1]):
            out[s] = np.exp(log_mass[s] - highest)
            total += out[s]
        for s in range(first_node[c], first_node[c + 1]):
            out[s] /= total
    return out
