"""Networks: size, heads, and outputs that do not depend on what a track is batched with."""

import pytest
import torch

from main.models import build
from main.models.heads import HEAD_SIZES, INTERVAL_HEADS
from main.models.tracks.network import BODIES, TARGET_HEADS
from main.tracks.features import N_FEATURES


def make(body="lstm", target="combined", **options):
    torch.manual_seed(0)
    return build({"body": body, "target": target, "in_features": N_FEATURES["default"], **options}).eval()


@pytest.mark.parametrize("target", ["k", "alpha", "state"])
def test_the_three_networks_have_about_512k_parameters(target):
    n = sum(p.numel() for p in make(target=target).parameters())
    assert 500_000 < n < 550_000


def test_original_features_give_the_original_size():
    net = build({"body": "lstm", "target": "k", "in_features": 10, "norm_input": True})
    assert sum(p.numel() for p in net.parameters()) == 513_223  # counted by hand from the original


@pytest.mark.parametrize("body", BODIES)
@torch.no_grad()
def test_output_does_not_depend_on_the_batch(body):
    net = make(body, hidden=16)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([200, 150, 60, 20, 5, 2, 1])
    feats = torch.randn(7, 200, N_FEATURES["default"], generator=generator)
    feats[torch.arange(200) >= lengths[:, None]] = 1e3  # padding is garbage
    together = net(feats, lengths)
    for i, n in enumerate(lengths):
        alone = net(feats[i : i + 1, :n])
        padded = net(feats[i : i + 1], n[None])
        for head in together:
            assert torch.allclose(alone[head][0], together[head][i, :n], atol=1e-5)
            assert torch.allclose(alone[head][0], padded[head][0, :n], atol=1e-5)


@pytest.mark.parametrize("body", BODIES)
def test_both_ends_of_a_track_reach_every_frame(body):
    net = make(body, hidden=16)
    feats = torch.randn(1, 30, N_FEATURES["default"], generator=torch.Generator().manual_seed(0), requires_grad=True)
    net(feats)["k"][0, 15].backward()
    assert feats.grad[0, 0].abs().sum() > 0 and feats.grad[0, 29].abs().sum() > 0


@pytest.mark.parametrize("intervals", [False, True])
@pytest.mark.parametrize("target", TARGET_HEADS)
def test_heads(target, intervals):
    out = make("conv_bilstm", target, intervals=intervals)(torch.zeros(2, 7, N_FEATURES["default"]))
    assert set(out) == {name for name in TARGET_HEADS[target] if intervals or name not in INTERVAL_HEADS}
    for name, value in out.items():
        assert value.shape == ((2, 7, HEAD_SIZES[name]) if HEAD_SIZES[name] > 1 else (2, 7))
        assert name not in INTERVAL_HEADS or (value > 0).all()


def test_intervals_teach_the_body_nothing():
    net = make("conv_bilstm", hidden=16, intervals=True).train()
    out = net(torch.randn(2, 7, N_FEATURES["default"], generator=torch.Generator().manual_seed(0)))
    (out["k_interval"].sum() + out["alpha_interval"].sum()).backward()
    taught = {name for name, p in net.named_parameters() if p.grad is not None}
    assert taught and all(name.startswith(("heads.k_interval", "heads.alpha_interval")) for name in taught)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown body 'gru'"):
        build({"body": "gru", "target": "k", "in_features": 3})
    with pytest.raises(ValueError, match="unknown target 'd'"):
        build({"body": "lstm", "target": "d", "in_features": 3})


def test_the_former_name_of_a_body_is_accepted():
    config = {"target": "k", "in_features": N_FEATURES["default"], "hidden": 8}
    nets = [build(config | {"body": body}) for body in ("conv_lstm", "conv_bilstm")]
    assert type(nets[0].body) is type(nets[1].body)
    assert list(nets[0].state_dict()) == list(nets[1].state_dict())
