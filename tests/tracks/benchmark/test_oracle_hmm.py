"""The oracle HMM: parameters come off the labels, paths are the most likely ones, clear changes are found."""

import itertools

import numpy as np
import pytest

from main.tracks.benchmark.oracle_hmm import hmm_segments, log_emission, read_hmm, state_of_segments, viterbi
from main.tracks.inference.segments import Segment
from simulations.parameters import FREE

SIGMA = 0.12
ENSEMBLE = np.array([[1.0, 1.0], [1e-3, 1e-3], [0.02, 1.0], [1e-4, 1e-2], [0.5, 0.5]])


def switching_tracks(rng, n_tracks, n_frames=200, dwell=40, step_before=False):
    """Brownian tracks that switch between K = .02 and 1, and their true segments."""
    tracks, truths = [], []
    for _ in range(n_tracks):
        states = np.repeat(rng.permutation(2)[np.arange(n_frames // dwell) % 2], dwell)
        k = np.array([0.02, 1.0])[states]
        steps = rng.normal(size=(n_frames, 2)) * np.sqrt(2 * k)[:, None]
        path = np.cumsum(steps, axis=0)
        if not step_before:  # the state at a frame governs the step that follows
            path = np.concatenate([[[0.0, 0.0]], path[:-1]])
        tracks.append(path + rng.normal(0, SIGMA, path.shape))
        edges = range(0, n_frames + 1, dwell)
        truths.append(
            [Segment(start=a, end=b, k=float(k[a]), alpha=1.0, state=2) for a, b in itertools.pairwise(edges)]
        )
    return tracks, truths


def test_viterbi_finds_the_most_likely_of_all_paths():
    rng = np.random.default_rng(0)
    emission, lengths = rng.normal(size=(6, 6, 3)), np.array([6, 6, 5, 4, 2, 1])
    start, transition = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3)
    found = viterbi(emission, lengths, start, transition)
    for track, path, n in zip(emission, found, lengths, strict=True):

        def value(states, track=track):
            moves = sum(np.log(transition[a, b]) for a, b in itertools.pairwise(states))
            return np.log(start[states[0]]) + moves + sum(track[t, s] for t, s in enumerate(states))

        best = max(itertools.product(range(3), repeat=int(n)), key=value)
        assert tuple(path[:n]) == best and (path[n:] == path[n - 1]).all()


def test_emission_is_that_of_the_step_and_empty_where_there_is_none():
    xy = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    k = np.array([0.0, 1.0])
    variance = 2 * k + 2 * SIGMA**2
    after = log_emission([xy, xy[:2]], k, SIGMA, step_before=False)
    assert after.shape == (2, 3, 2)
    assert after[0, 1] == pytest.approx(-4 / (2 * variance) - np.log(variance))
    assert (after[0, 2] == 0).all() and (after[1, 1:] == 0).all()
    before = log_emission([xy], k, SIGMA, step_before=True)
    assert (before[0, 0] == 0).all() and before[0, 1:] == pytest.approx(after[0, :2])


def test_parameters_are_read_off_the_labels():
    _, truths = switching_tracks(np.random.default_rng(1), 40)
    hmm = read_hmm(truths, ENSEMBLE)
    assert hmm.k == pytest.approx([0.02, 1.0]) and hmm.state.tolist() == [2, 2]
    changes = 4 / 2 * 40  # four changes a track, half of them out of each state
    frames = 40 * 200 / 2
    assert hmm.transition[0, 1] == pytest.approx(changes / (changes + frames - 40 * 5 / 2), rel=0.15)
    assert hmm.transition.sum(axis=1) == pytest.approx([1, 1])


def test_trapped_segments_are_told_by_k_zero():
    ensemble = np.array([[0.0, 1.0], [0.0, 0.005], [0.0, 1.0], [0.0, 0.1], [0.3, 0.7]])
    segments = [Segment(0, 9, k, alpha, FREE) for k, alpha in ((0.0, 0.0), (0.2, 1.1), (1.4, 0.9))]
    assert state_of_segments(segments, ensemble).tolist() == [0, 1, 1]


@pytest.mark.parametrize(("model", "step_before"), [("multi_state", False), ("dimerization", True)])
def test_clear_changes_are_found_where_they_are(model, step_before):
    tracks, truths = switching_tracks(np.random.default_rng(2), 30, step_before=step_before)
    found = hmm_segments(tracks, truths, ENSEMBLE, model, SIGMA)
    exact = np.mean([[s.end for s in f] == [s.end for s in t] for f, t in zip(found, truths, strict=True)])
    shifts = [
        a.end - b.end
        for f, t in zip(found, truths, strict=True)
        if len(f) == len(t)
        for a, b in zip(f[:-1], t, strict=False)
    ]
    assert exact > 0.1 and len(shifts) > 60
    assert abs(np.mean(shifts)) < 0.25  # the wrong convention shifts them by a frame
    assert np.median(np.abs(shifts)) == 0


def test_label_filter_leaves_no_segment_below_three_frames():
    rng = np.random.default_rng(3)
    tracks, truths = switching_tracks(rng, 30, dwell=4)
    plain, filtered = (hmm_segments(tracks, truths, ENSEMBLE, "multi_state", SIGMA, f) for f in (False, True))
    shortest = [min(s.end - s.start for p in paths for s in p) for paths in (plain, filtered)]
    assert shortest[0] < 3 <= shortest[1]
