"""The ensemble task: files in the official format, the official score, states recovered from segments."""

import numpy as np
import pytest

from main.tracks.benchmark.ensembles import (
    describe_groups,
    ensemble_distance,
    estimate_ensemble,
    read_ensembles,
    write_ensembles,
)
from main.tracks.inference.segments import Segment
from simulations.parameters import FREE, TRAPPED

TRUTH = np.array([[1.0, 0.2], [0.005, 0.001], [1.0, 0.03], [0.1, 1e-4], [0.7, 0.3]])


def segments_of(rng, truth, n_segments, trapped=0.0):
    """Segments whose K and alpha follow a description (5, S), frames in its shares; some trapped (group 0)."""
    segments, groups = [], []
    for _ in range(n_segments):
        n, state = int(rng.integers(20, 120)), rng.choice(truth.shape[1], p=truth[-1])
        k, alpha = np.abs(rng.normal(truth[[2, 0], state], np.sqrt(truth[[3, 1], state])))
        moving, still = Segment(0, n, k, alpha, FREE), Segment(0, n, 0.0, 0.0, TRAPPED)
        is_trapped = rng.random() < trapped
        segments.append(still if is_trapped else moving)
        groups.append(0 if is_trapped else 1 + state)
    return segments, groups


def test_files_are_read_back_and_by_the_library(tmp_path):
    write_ensembles(tmp_path, {5: ("dimerization", TRUTH), 8: ("single_state", TRUTH[:, :1])})
    read = read_ensembles(tmp_path)
    assert read[5][0] == "dimerization" and read[8][0] == "single_state"
    assert np.array_equal(read[5][1], TRUTH) and np.array_equal(read[8][1], TRUTH[:, :1])
    path = tmp_path / "track_2" / "exp_5" / "ensemble_labels.txt"
    assert path.read_text().startswith("model: dimerization; num_state: 2\n")
    assert np.array_equal(np.loadtxt(path, skiprows=1, delimiter=";"), TRUTH)  # as run_ensemble_task reads it
    assert read_ensembles(tmp_path / "nowhere") == {}


def test_distance_is_that_between_the_means_and_leaves_its_arguments_alone():
    narrow = np.array([[0.5], [1e-5], [1.0], [1e-5], [20.0]])
    other = narrow.copy()
    other[0], other[2] = 0.8, 1.3
    distance = ensemble_distance(narrow, other)
    assert distance["w1_alpha"] == pytest.approx(0.3, abs=1e-3) and distance["w1_k"] == pytest.approx(0.3, abs=1e-3)
    assert narrow[4, 0] == 20.0


def test_descriptions_weigh_segments_by_frames():
    segments = [
        Segment(0, 30, k=1.0, alpha=1.0, state=FREE),
        Segment(30, 40, k=3.0, alpha=0.6, state=FREE),
        Segment(0, 60, k=0.0, alpha=0.0, state=TRAPPED),
    ]
    result = describe_groups(segments, np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]]))
    assert result[:, 0] == pytest.approx([0.9, 0.03, 1.5, 0.75, 0.4])
    assert result[:, 1] == pytest.approx([0, 0, 0, 0, 0.6])


def test_states_and_shares_are_recovered():
    rng = np.random.default_rng(0)
    segments, groups = segments_of(rng, TRUTH, 600, trapped=0.2)
    found = estimate_ensemble(segments)
    drawn = describe_groups(segments, np.eye(3)[groups])
    order, expected = np.argsort(found[2]), drawn[:, [0, 2, 1]]  # trapped, slow, fast
    assert found.shape == (5, 3)
    assert found[:, order] == pytest.approx(expected, rel=0.1, abs=2e-3)


def test_one_state_is_not_split_and_all_trapped_is_one():
    rng = np.random.default_rng(1)
    one, _ = segments_of(rng, np.array([[1.0], [0.01], [1.0], [0.04], [1.0]]), 300)
    assert estimate_ensemble(one).shape == (5, 1)
    still = [Segment(start=0, end=20, k=0.0, alpha=0.0, state=0)] * 5
    assert estimate_ensemble(still).tolist() == [[0], [0], [0], [0], [1]]
    assert estimate_ensemble(one[:1])[:, 0] == pytest.approx([one[0].alpha, 0, one[0].k, 0, 1])
