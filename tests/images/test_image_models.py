"""The networks of the original method: sizes, dead weights, invariance of the input, training as published."""

import json

import pytest
import torch

from main.images.task import ImageOptions, ImageTask, scale_images
from main.models import build
from main.models.images.networks import ORIGINALS
from main.train_images import main, make_stream

PUBLISHED_SIZES = {
    "simple_cnn": 1_584_097,
    "paper_cnn": 2_160_145,
    "paper_cnn_strides": 2_160_145,
    "resnet_2d": 4_908_993,
    "resnet_3d": 3_611_841,
    "resnet_3d_time": 3_611_841 - 15 * 64 * 27,  # its first convolution has one channel instead of 16
}


def make(name, **options):
    return build({"family": "images", "body": name, **options})


@pytest.mark.parametrize("name", ORIGINALS)
def test_originals_have_the_published_numbers_of_weights(name):
    assert sum(p.numel() for p in make(name, n_outputs=1).parameters()) == PUBLISHED_SIZES[name]


@pytest.mark.parametrize("name", ORIGINALS)
def test_originals_give_mean_and_log_sd(name):
    torch.manual_seed(0)
    images = torch.randn(2, 16, 64, 64)
    assert make(name)(images).shape == (2, 2) and make(name, n_outputs=1)(images).shape == (2, 1)


def count_dead(net, images):
    net(images).square().sum().backward()
    return sum(int((p.grad == 0).sum()) for n, p in net.named_parameters() if p.dim() == 5)


def test_two_thirds_of_the_published_3d_network_never_learn():
    """Its depth is 1, so that the outer layers of its 3x3x3 kernels only meet padding."""
    torch.manual_seed(0)
    images = torch.randn(2, 16, 64, 64)
    assert count_dead(make("resnet_3d"), images) == 2_377_728
    assert count_dead(make("resnet_3d_time"), images[:, :, :16, :16]) < 2_377_728 // 100


def test_strides_are_not_pooling():
    kinds = {name: {type(m).__name__ for m in make(name).modules()} for name in ORIGINALS}
    assert "MaxPool2d" in kinds["paper_cnn"] and "MaxPool2d" not in kinds["paper_cnn_strides"]


def test_gain_and_offset_leave_the_input_as_it_is():
    generator = torch.Generator().manual_seed(1)
    images = torch.poisson(torch.full((3, 16, 64, 64), 20.0), generator=generator)
    images[:, :, 30:34, 30:34] += 50
    torch.testing.assert_close(scale_images(4 * images + 64), scale_images(images), rtol=0, atol=0)


def test_originals_learn_on_the_stream(tmp_path):
    argument = "--model simple_cnn --steps 2 --batch 2 --val-batches 1 --val-every 2"
    assert main([*argument.split(), "--run", str(tmp_path / "run")]) == 0
    params = json.loads((tmp_path / "run" / "params.json").read_text())
    assert "simple_cnn" in str(params)


def test_as_published_has_its_target_and_loss():
    options = ImageOptions(model="simple_cnn", as_published=True)
    task, stream = ImageTask(options), make_stream(options, batch=256, seed=3)
    batch = next(iter(stream))
    label = task.published_label(batch)
    assert (batch["d"] == batch["d"][0]).all()  # one D for all: the label is the luck of a fit
    assert 15 < label.mean() < 25 and label.std() > 0.6 * label.mean()
    losses = task.losses(lambda images: torch.full((len(images), 1), 20.0), batch)
    torch.testing.assert_close(losses["loss"], (label - 20).square().mean())


def test_published_options_need_an_original(capsys):
    assert main(["--model", "blur_net", "--as-published"]) == 2
    assert "as-published" in capsys.readouterr().err
