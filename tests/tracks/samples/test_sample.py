"""Tracks of a sample analysed together: symmetries of the network, samples of the stream, smaller errors."""

import numpy as np
import pytest
import torch
from helpers import track_network

from main.models import build
from main.tracks.benchmark.scores import fast_scores
from main.tracks.features import N_FEATURES, features
from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import MIN_SAMPLE_TRACKS, Predictor
from main.tracks.inference.segments import Segment
from main.tracks.samples import decode
from main.tracks.samples.read import analyse_sample
from main.utils.weights import load_weights
from simulations.batched import simulate_batched
from simulations.experiments import EXPERIMENTS
from simulations.parameters import SIGMA_PX
from simulations.stream import SampleStream, cut_samples

CONFIG = {"body": "sample", "target": "combined", "in_features": N_FEATURES["default"], "hidden": 16, "intervals": True}
WEIGHTS = "sample"


def experiment(number, n, seed=0):
    """`n` labelled tracks of one benchmark experiment: dicts of xy, k, alpha, state."""
    tracks = simulate_batched(EXPERIMENTS[number - 1][np.zeros(3, int)], torch.Generator().manual_seed(seed))
    names = ("xy", "k", "alpha", "state")
    return [
        {m: tracks[m][i, :length].double().numpy() for m in names}
        for i, length in enumerate(tracks["length"][:n].tolist())
    ]


def random_net():
    """A network whose last part does something."""
    torch.manual_seed(0)
    net = build(CONFIG).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


@pytest.fixture(scope="module")
def batch():
    tracks = experiment(5, 8)
    length = torch.tensor([len(t["xy"]) for t in tracks])
    xy = torch.zeros(8, int(length.max()), 2)
    for row, track in zip(xy, tracks, strict=True):
        row[: len(track["xy"])] = torch.as_tensor(track["xy"])
    return xy, length


def run(net, xy, length, group):
    feats, log10_scale = features(xy, length, torch.full((len(xy),), 0.1))
    with torch.no_grad():
        out = net(feats, length, log10_scale, group)
    valid = torch.arange(xy.shape[1]) < length[:, None]
    return {name: torch.where(valid[..., None], v.reshape(*valid.shape, -1), 0.0) for name, v in out.items()}


def test_it_starts_as_the_network_of_one_track(batch):
    net = build(CONFIG).eval()
    feats, log10_scale = features(*batch, torch.full((8,), 0.1))
    with torch.no_grad():
        alone, together = net.single(feats, batch[1]), net(feats, batch[1], log10_scale, 8)
    for name, value in alone.items():
        assert torch.equal(value, together[name])


def test_other_tracks_matter_their_order_and_their_padding_do_not(batch):
    net, (xy, length) = random_net(), batch
    together = run(net, xy, length, 8)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    shuffled = run(net, xy[order], length[order], 8)
    padded = run(net, torch.cat([xy, torch.full((8, 13, 2), 9.0)], 1), length, 8)
    alone = run(net, xy, length, 1)
    for name, value in together.items():
        assert torch.allclose(value[order], shuffled[name], atol=2e-4), name
        assert torch.allclose(value, padded[name][:, : xy.shape[1]], atol=2e-4), name
    assert (together["alpha"] - alone["alpha"]).abs().max() > 0.01


def test_a_sample_of_one_does_not_know_the_others(batch):
    net, (xy, length) = random_net(), batch
    alone = run(net, xy, length, 1)
    first = run(net, xy[:1], length[:1], 1)
    for name, value in alone.items():
        assert torch.allclose(value[:1], first[name], atol=2e-4), name


def test_a_change_of_unit_changes_nothing(batch):
    net, (xy, length) = random_net(), batch
    pixels = run(net, xy, length, 8)
    feats, log10_scale = features(0.16 * xy, length, torch.full((8,), 0.016))
    with torch.no_grad():
        micrometres = net(feats, length, log10_scale, 8)
    valid = torch.arange(xy.shape[1]) < length[:, None]
    assert torch.allclose(pixels["k"][..., 0][valid], micrometres["k"][valid], atol=1e-3)


def test_the_stream_gives_whole_samples():
    batches = SampleStream("challenge", 64, seed=3, chunk=1024)._batches(0)
    sizes = {int(make()["group"]) for make in batches}
    assert sizes <= {1, 4, 16, 64} and len(sizes) > 1
    world = np.repeat(np.arange(60), 70)
    pure = []
    for size, rows in cut_samples(world, np.random.default_rng(0)).items():
        assert len(set(rows)) == len(rows) and len(rows) % size == 0
        worlds = world[rows].reshape(-1, size)
        if size == 64:
            pure += (worlds == worlds[:, :1]).all(1).tolist()
    assert 0.4 < np.mean(pure) < 1


def test_only_what_reads_the_sample_is_trained():
    net = track_network(body="sample", hidden=16, only="sample")
    assert not any(p.requires_grad for p in net.single.parameters())
    assert all(p.requires_grad for p in net.last.parameters())
    assert not net.train().single.training
    with pytest.raises(ValueError, match="no part that reads the sample"):
        track_network(body="conv_bilstm", hidden=16, only="sample")


@pytest.fixture(scope="module")
def predictor():
    return Predictor(*load_weights(WEIGHTS))


def errors(predictor, tracks, samples):
    """Mean error of alpha and of log10 K over untrapped frames, share of states missed."""
    predictions = predictor.predict([t["xy"] for t in tracks], SIGMA_PX, samples=samples)
    state = np.concatenate([t["state"] for t in tracks])
    alpha, k = (np.concatenate([t[name] for t in tracks]) for name in ("alpha", "k"))
    moving = state > 0
    alpha_found = np.concatenate([p.alpha for p in predictions])
    k_found = np.concatenate([p.log10_k for p in predictions])
    missed = np.concatenate([p.state_probs.argmax(1) for p in predictions]) != state
    return np.array(
        [
            np.abs(alpha - alpha_found)[moving].mean(),
            np.abs(np.log10(k[moving]) - k_found[moving]).mean(),
            missed.mean(),
        ]
    )


@pytest.mark.parametrize("number", [4, 5])
def test_a_sample_of_60_tracks_helps(predictor, number):
    tracks = experiment(number, 60, seed=20)
    alone, together = errors(predictor, tracks, None), errors(predictor, tracks, [0] * len(tracks))
    assert together[0] < 0.9 * alone[0]
    assert together[2] < 0.5 * alone[2]


def test_a_decoded_sample_has_better_segments_in_every_score(predictor, monkeypatch):
    """EXP 5, from a mixture of 30 tracks, against `default` with one track at a time."""
    monkeypatch.setattr(decode, "MAX_FIT_TRACKS", 30)
    tracks = experiment(5, 60, seed=21)
    paths, truths = [t["xy"] for t in tracks], [segments_of(t) for t in tracks]
    nets, config = load_weights("default")
    alone = fast_scores(truths, segment_many(Predictor(nets, config).predict(paths, SIGMA_PX), config))
    _, segments, report = analyse_sample(predictor, load_weights(WEIGHTS)[1], paths, SIGMA_PX)
    assert report["networks"] and report["mixture"], report
    together = fast_scores(truths, segments)
    assert together["mae_alpha"] < 0.7 * alone["mae_alpha"] and together["msle_k"] < alone["msle_k"]
    assert together["jsc"] > alone["jsc"] and together["f1"] > alone["f1"]


def segments_of(track):
    """True segments of a labelled track."""
    edges = [0, *(np.flatnonzero(np.diff(track["k"]) != 0) + 1), len(track["k"])]
    return [
        Segment(start=a, end=b, k=track["k"][a], alpha=track["alpha"][a], state=int(track["state"][a]))
        for a, b in zip(edges, edges[1:], strict=False)
    ]


@pytest.mark.parametrize("number", [2, 9])
def test_k_gains_where_particles_are_alike(predictor, number):
    tracks = experiment(number, 60, seed=50 + number)
    alone, together = errors(predictor, tracks, None), errors(predictor, tracks, [0] * len(tracks))
    assert together[1] < alone[1]


@pytest.mark.parametrize("numbers", [(2, 3), (5, 9)])
def test_two_kinds_mixed_do_not_hurt(predictor, numbers):
    tracks = [t for number in numbers for t in experiment(number, 30, seed=7)]
    alone, together = errors(predictor, tracks, None), errors(predictor, tracks, [0] * len(tracks))
    assert (together < 1.02 * alone + 0.001).all(), (alone, together)


def test_a_tiny_sample_is_read_track_by_track(predictor):
    tracks = [t["xy"] for t in experiment(5, MIN_SAMPLE_TRACKS - 1, seed=40)]
    for a, b in zip(predictor.predict(tracks), predictor.predict(tracks, samples=[0] * len(tracks)), strict=True):
        assert np.array_equal(a.alpha, b.alpha)


def test_weights_that_read_one_by_one_say_so():
    other = Predictor({"combined": build(CONFIG | {"body": "conv_bilstm"})}, {})
    with pytest.raises(ValueError, match="one by one"):
        other.predict([np.zeros((20, 2))], samples=[0])
