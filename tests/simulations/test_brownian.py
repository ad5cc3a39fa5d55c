"""Segmented Brownian motion: what is asked for is what comes."""

import numpy as np
import pytest
import torch

from main.tracks.learning.data import make_batches
from simulations.brownian import FRAMES, LOG10_D, MIN_SEGMENT, BrownianStream, brownian_tracks


def tracks(seed=0, **options):
    return brownian_tracks(4000, torch.Generator().manual_seed(seed), **options)


def test_steps_have_the_variance_that_k_says():
    found = tracks(frames=200, log10_noise=-np.inf)
    step = found["xy"].double().diff(dim=1).square().sum(-1) / 4
    ratio = step / found["k"][:, :-1]
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    for part in (ratio[:, :50], ratio[:, 150:], ratio[found["k"][:, :-1] > 10], ratio[found["k"][:, :-1] < 0.1]):
        assert part.mean() == pytest.approx(1, abs=0.03)
    assert (found["sigma"] == 0).all() and found["k"].log10().min() < LOG10_D[0] + 0.1


def test_noise_is_as_large_as_sigma_says():
    found = tracks(frames=200, log10_noise=1.0, n_changes=(0, 0))
    slow = found["k"][:, 0] < 0.1
    assert found["xy"][slow][:, 1:].diff(dim=1).std() == pytest.approx(10 * np.sqrt(2), rel=0.01)


def test_changepoints_are_as_many_as_asked_and_leave_whole_segments():
    for fewest, most in ((0, 4), (1, 1), (4, 4)):
        found = tracks(n_changes=(fewest, most))
        valid = torch.arange(found["k"].shape[1]) < found["length"][:, None]
        change = (found["k"].diff(dim=1) != 0) & valid[:, 1:]
        number = torch.minimum(change.sum(1), torch.tensor(most))
        assert (change.sum(1) == number).all()
        assert set(number[found["length"] == FRAMES[1]].tolist()) == set(range(fewest, most + 1))
        for row, length in zip(change[:300], found["length"], strict=False):
            edges = [0, *(torch.nonzero(row)[:, 0] + 1).tolist(), int(length)]
            assert min(np.diff(edges)) >= MIN_SEGMENT


def test_the_stream_is_a_function_of_its_seed():
    first, same, other = (next(iter(BrownianStream(32, seed=seed, chunk=64))) for seed in (1, 1, 2))
    assert all(torch.equal(first[n].nan_to_num(), same[n].nan_to_num()) for n in first)
    assert not torch.equal(first["xy"], other["xy"])


@pytest.mark.parametrize("options", [{"data": "somewhere"}, {"samples": True}, {"gaps": 0.5}])
def test_what_brownian_tracks_cannot_be_is_refused(options):
    given = {"data": None, "prior": ["brownian"], "batch": 8, "device": "cpu", "seed": 0, "n_val": 1} | options
    with pytest.raises(ValueError, match="brownian"):
        make_batches(**given)
