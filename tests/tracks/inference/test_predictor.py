"""Predictions of tracks of any length: windows, blending, batches."""

import numpy as np
import torch
from helpers import random_nets, walk

from main.tracks.features import features
from main.tracks.inference.predictor import FULL_BATCH_FRAMES, Predictor, cut_batches
from main.tracks.inference.windows import LONGEST_TRACK, window_starts, window_weights


def test_windows_cover_and_blend():
    for n in (2, LONGEST_TRACK, LONGEST_TRACK + 1, 2 * LONGEST_TRACK + 50, 1000):
        starts = window_starts(n)
        total = np.zeros(n)
        for start in starts:
            length = min(LONGEST_TRACK, n - start)
            total[start : start + length] += window_weights(length, start, n)
        assert (total > 0).all() and starts[-1] + min(LONGEST_TRACK, n) == n
        assert np.diff(starts, prepend=0).max() <= (LONGEST_TRACK // 2)


class OneValue(torch.nn.Module):
    """A network whose log10 K is the squared scale of the window alone: one level for each window."""

    def forward(self, feats, length, *sample):
        shape = feats.shape[:2]
        return {"k": torch.zeros(shape), "alpha": torch.ones(shape), "state": torch.zeros(*shape, 4)}


def test_blending_has_no_seam():
    """Windows that disagree fade into each other: from frame to frame by their difference over half a window."""
    rng = np.random.default_rng(8)
    track = np.cumsum(rng.normal(size=(600, 2)) * np.logspace(0, 2, 600)[:, None], axis=0)
    predictor = Predictor({"all": OneValue()}, {})
    levels = [predictor.predict([track[s : s + LONGEST_TRACK]])[0].log10_k[0] for s in window_starts(600)]
    largest = np.abs(np.diff(levels)).max()
    found = predictor.predict([track])[0].log10_k
    assert largest > 0.5 and np.abs(np.diff(found)).max() < 1.05 * largest / (LONGEST_TRACK // 2)
    assert np.allclose(found[[0, -1]], [levels[0], levels[-1]])


def test_predictions_do_not_depend_on_the_batch():
    rng = np.random.default_rng(9)
    tracks = [walk(rng, n)[["x", "y"]].to_numpy() for n in (2, 5, 20, 77, 200, 333)]
    predictor = Predictor(random_nets(), {})
    together = predictor.predict(tracks, sigma=[np.nan, 0.1, np.nan, 0.2, 0.1, np.nan])
    sigmas = (None, 0.1, None, 0.2, 0.1, None)
    alone = [predictor.predict([track], sigma=s)[0] for track, s in zip(tracks, sigmas, strict=True)]
    for a, b in zip(together, alone, strict=True):
        assert np.allclose(a.log10_k, b.log10_k, atol=1e-5)
        assert np.allclose(a.state_probs, b.state_probs, atol=1e-5)
    assert features(torch.zeros(1, 2, 2), torch.tensor([2]))[0].isfinite().all()


def test_batches_of_short_tracks_are_larger_and_none_is_too_large():
    lengths = np.sort(np.random.default_rng(0).integers(5, 200, 3000))
    batches = [lengths[rows] for rows in cut_batches(lengths, 32)]
    assert np.array_equal(np.concatenate(batches), lengths)
    assert len(batches[0]) > 100 and len(batches[-2]) == 32
    assert all(len(batch) <= 32 or len(batch) * batch[-1] <= 32 * FULL_BATCH_FRAMES for batch in batches)
