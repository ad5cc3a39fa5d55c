"""The fast label filter against the library's own."""

import numpy as np
import pytest
from andi_datasets.utils_challenge import label_filter as library_filter

from simulations.labels import label_filter


def random_labels(rng: np.random.Generator) -> np.ndarray:
    """A telegraph series of 1 to 200 frames, 1 to 4 values, dwell times from 1 frame to all."""
    n_frames, n_values = int(1 + 200 * rng.random() ** 2), rng.integers(1, 5)
    values = rng.choice([0.0, 0.1, 1.0, 1.5, 1e-4, 100.0, 2.0], n_values, replace=False)
    switch = rng.random(n_frames) < 10 ** rng.uniform(-2.5, 0)
    states = np.where(switch, rng.integers(n_values, size=n_frames), -1)
    states[0] = rng.integers(n_values)
    return values[states[np.maximum.accumulate(np.where(states >= 0, np.arange(n_frames), 0))]]


def test_equals_the_library_on_random_labels():
    rng = np.random.default_rng(1)
    changed = 0
    for _ in range(1000):
        labels = random_labels(rng)
        expected = library_filter(labels)
        np.testing.assert_array_equal(label_filter(labels), expected)
        changed += not np.array_equal(labels, expected)
    assert changed > 200  # the filter had something to do


def test_equals_the_library_on_every_short_series():
    for n_frames in range(1, 7):
        for code in range(3**n_frames):
            labels = np.array([code // 3**i % 3 for i in range(n_frames)])
            np.testing.assert_array_equal(label_filter(labels), library_filter(labels), err_msg=str(labels))


def test_many_values_and_untouched_input():
    labels = np.random.default_rng(2).permutation(50)
    before = labels.copy()
    np.testing.assert_array_equal(label_filter(labels), library_filter(labels))
    np.testing.assert_array_equal(labels, before)


def test_refuses_two_dimensions():
    with pytest.raises(ValueError, match="one-dimensional"):
        label_filter(np.zeros((3, 2)))
