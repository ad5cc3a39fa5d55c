"""Exported networks give what torch gives, at any length, alone and in the whole analysis."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from helpers import random_nets

from main.tracks.features import features
from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import Predictor
from main.utils.weights import load_weights
from misc.export_onnx import OnnxNet, main, to_onnx

LENGTHS = (1, 2, 3, 5, 20, 33, 77, 150, 199, 200)
TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=["default", "fast"])
def pair(request):
    """Networks of torch, the same of ONNX Runtime, and their configuration."""
    nets, config = load_weights(request.param)
    return nets, {name: OnnxNet(to_onnx(net)) for name, net in nets.items()}, config


def tracks():
    rng = np.random.default_rng(0)
    return [
        np.cumsum(rng.normal(size=(n, 2)) * np.where(np.arange(n) < n // 2, 1, 0.2)[:, None], axis=0) for n in LENGTHS
    ]


@torch.inference_mode()
def test_every_head_of_padded_tracks(pair):
    nets, exported, _ = pair
    length = torch.tensor(LENGTHS)
    xy = torch.nn.utils.rnn.pad_sequence([torch.as_tensor(t, dtype=torch.float32) for t in tracks()], True)
    feats, _ = features(xy, length, torch.full((len(length),), 0.1))
    valid = torch.arange(200) < length[:, None]
    for junk in (0.0, 1e3):  # padding is not read
        padded = torch.where(valid[..., None], feats, junk)
        for name, net in nets.items():
            expected, found = net(feats, length), exported[name](padded, length)
            assert set(found) == set(expected)
            for head, values in expected.items():
                assert found[head].shape == values.shape
                assert (found[head] - values)[valid].abs().max() < TOLERANCE


def test_predictions_and_segments(pair):
    nets, exported, config = pair
    long = [*tracks()[1:], np.concatenate([t + 3 for t in tracks()])]  # the last is read in windows
    one, other = (Predictor(n, config).predict(long, 0.1) for n in (nets, exported))
    for a, b in zip(one, other, strict=True):
        for name, values in vars(a).items():
            np.testing.assert_allclose(values, getattr(b, name), rtol=0, atol=TOLERANCE)
    for a, b in zip(segment_many(one, config), segment_many(other, config), strict=True):
        assert [(s.start, s.end, s.state) for s in a] == [(s.start, s.end, s.state) for s in b]


def test_other_bodies_are_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="not TrackNet of StackedBiLSTM"):
        to_onnx(random_nets()["k"])
    assert main(["sample", "--out", str(tmp_path / "out")]) == 2
    assert "not SampleNet" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_command_writes_files_that_can_be_read(tmp_path):
    done = subprocess.run([sys.executable, "misc/export_onnx.py", "fast", "--out", tmp_path], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["fast_combined.onnx"]
    onnx.checker.check_model(tmp_path / "fast_combined.onnx", full_check=True)
