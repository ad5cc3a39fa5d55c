"""Missing frames: what networks see of them, how they learn to fill them, and that filling beats cutting."""

import numpy as np
import pytest
import torch
from helpers import fit_tracks, track_network

from main.models import build
from main.ship import ship
from main.tracks.features import N_FEATURES, features
from main.tracks.inference.predictor import Prediction, load_predictor
from main.tracks.pieces import bridge as straight
from main.tracks.samples.read import draw_missing
from main.utils.weights import load_weights
from misc.limits import cut_at_gaps
from simulations.missing_frames import bridge_batch, with_gaps
from simulations.parameters import LONGEST_GAP
from simulations.stream import TrackStream


def padded(n=64, frames=60):
    generator = torch.Generator().manual_seed(3)
    length = torch.randint(5, frames + 1, (n,), generator=generator)
    xy = torch.randn(n, frames, 2, generator=generator).cumsum(1)
    return {"xy": xy, "length": length}


def test_simulated_gaps_are_short_and_inside():
    tracks = padded()
    gappy = with_gaps(tracks, 0.5, torch.Generator().manual_seed(0))
    missing, length = ~gappy["seen"], tracks["length"]
    assert missing.any(1).float().mean() < 0.6 and missing.any(1).sum() > 10
    assert not missing[:, 0].any() and not missing[torch.arange(64), length - 1].any()
    runs = torch.nn.functional.avg_pool1d(missing.float()[:, None], LONGEST_GAP + 1, 1)
    assert runs.max() < 1.0 and torch.nn.functional.avg_pool1d(missing.float()[:, None], LONGEST_GAP, 1).max() == 1.0
    beyond = torch.arange(60) >= length[:, None] - 1
    assert not (missing & beyond).any() and torch.equal(gappy["xy"][~missing], tracks["xy"][~missing])


def test_bridge_is_a_straight_line():
    xy = torch.tensor([[[0.0, 0.0], [9.0, 9.0], [9.0, 9.0], [3.0, 6.0]]])
    seen = torch.tensor([[True, False, False, True]])
    assert torch.allclose(bridge_batch(xy, seen), torch.tensor([[[0.0, 0.0], [1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]]))


def test_features_name_missing_frames_and_keep_the_scale():
    tracks = padded(frames=200)
    tracks["length"][:] = 200
    gappy = with_gaps(tracks, 1.0, torch.Generator().manual_seed(0))
    plain, scale = features(tracks["xy"], tracks["length"])
    feats, other = features(gappy["xy"], tracks["length"], seen=gappy["seen"])
    assert feats.shape[-1] == N_FEATURES["default"] + 1 and torch.equal(feats[..., -1] == 1, ~gappy["seen"])
    assert abs(float((other - scale).mean())) < 0.005  # of the steps that were seen, not of the straight lines
    _, lines = features(gappy["xy"], tracks["length"])
    assert float((lines - scale).mean()) < -0.01
    alternate = torch.arange(200).expand(64, -1) % 2 == 0
    assert features(bridge_batch(tracks["xy"], alternate), tracks["length"], seen=alternate)[0].isfinite().all()


@pytest.mark.parametrize("body", ["lstm", "conv_bilstm", "sample"])
def test_a_filler_changes_nothing_where_nothing_is_missing(body):
    config = {"body": body, "target": "combined", "in_features": 21, "hidden": 8}
    torch.manual_seed(0)
    net = build(config | {"gaps": True}).eval()
    filler = (net.single if body == "sample" else net).gaps
    torch.nn.init.normal_(filler.layers[-1].weight)
    feats, length = torch.randn(4, 50, 21), torch.full((4,), 50)
    missing = torch.zeros(4, 50, 1)
    none = net(feats, length)
    for name, value in net(torch.cat([feats, missing], -1), length).items():
        assert torch.allclose(value, none[name], atol=1e-6)
    missing[0, 25] = 1.0
    changed = net(torch.cat([feats, missing], -1), length)
    assert (changed["k"][0] - none["k"][0]).abs().max() > 1e-3


def test_training_gaps_alone_freezes_the_rest():
    net = track_network(body="conv_bilstm", init="fast", gaps=1.0, only="gaps")
    assert {n.split(".")[0] for n, p in net.named_parameters() if p.requires_grad} == {"gaps"}
    with pytest.raises(ValueError, match="no gap filler"):
        track_network(body="conv_bilstm", init="fast", only="gaps")


def test_stream_with_gaps_is_the_same_stream_otherwise():
    plain, gappy = (next(iter(TrackStream("broad", 32, "cpu", 1, 256, gaps=share))) for share in (0.0, 1.0))
    assert "seen" not in plain and not gappy["seen"].all()
    assert torch.equal(plain["xy"][gappy["seen"]], gappy["xy"][gappy["seen"]])
    assert torch.equal(plain["alpha"], gappy["alpha"])


def errors(predictions, tracks, seen):
    """Mean absolute error of log10 K and of alpha over the frames that were seen and in which something moves."""
    found = []
    for prediction, track, there in zip(predictions, tracks, seen, strict=True):
        use = there & (track["k"] > 0)
        found.append(
            np.stack(
                [
                    np.abs(prediction.log10_k - np.log10(np.maximum(track["k"], 1e-9)))[use],
                    np.abs(prediction.alpha - track["alpha"])[use],
                ]
            )
        )
    return np.concatenate(found, axis=1).mean(axis=1)


@pytest.mark.parametrize("name", ["default", "fast", "sample"])
def test_a_gap_costs_less_than_cutting(name):
    """One frame in fifteen missing: seen through, gaps cost a fraction of what cutting the tracks there does."""
    stream = TrackStream(["broad", "challenge"], 64, "cpu", 71005, 512)
    batch = stream.simulate_chunk(0)
    long = [i for i, length in enumerate(batch["length"].tolist()) if length >= 60][:150]
    names = ("xy", "k", "alpha", "state")
    tracks = [{n: batch[n][i, : batch["length"][i]].double().numpy() for n in names} for i in long]
    rng, predictor = np.random.default_rng(0), load_predictor(name, "cpu")[0]
    seen = [rng.random(len(t["xy"])) > 1 / 15 for t in tracks]
    for there in seen:
        there[[0, -1]] = True
    sigma = batch["sigma"][long].numpy()
    whole = errors(predictor.predict([t["xy"] for t in tracks], sigma), tracks, seen)
    gappy = [np.where(s[:, None], t["xy"], np.nan) for t, s in zip(tracks, seen, strict=True)]
    filled = errors(predictor.predict(gappy, sigma), tracks, seen)
    cut = errors(*cut_and_predict(predictor, tracks, sigma, seen))
    assert (filled < whole + 0.25 * (cut - whole)).all()
    assert (filled < 1.07 * whole).all()


def cut_and_predict(predictor, tracks, sigma, seen):
    """Predictions, truth and "seen" of the stretches between gaps, as tracks of their own."""
    given = [track | {"sigma": error} for track, error in zip(tracks, sigma, strict=True)]
    pieces = [piece for track, there in zip(given, seen, strict=True) for piece in cut_at_gaps(track, there)]
    predictions = predictor.predict([p["xy"] for p in pieces], [p["sigma"] for p in pieces])
    return predictions, pieces, [np.ones(len(p["xy"]), bool) for p in pieces]


def test_drawn_positions_step_as_the_seen_ones_do():
    """What a likelihood reads in missing frames has the variance of motion and noise, where a line has too little."""
    rng, k, sigma = np.random.default_rng(1), 0.3, 0.2
    true = np.cumsum(rng.normal(0, np.sqrt(2 * k), (40, 200, 2)), axis=1) + rng.normal(0, sigma, (40, 200, 2))
    gappy = np.where(rng.random((40, 200, 1)) < 0.15, np.nan, true)
    gappy[:, [0, -1]] = true[:, [0, -1]]
    states = np.eye(4)[np.full(200, 2)]
    preds = [Prediction(np.full(200, np.log10(k)), np.ones(200), states, np.zeros(200))] * 40
    drawn = np.array(draw_missing(list(gappy), preds, sigma))
    lines = np.array([straight(track)[0] for track in gappy])
    whole, filled, bridged = (np.diff(xy, axis=1).var() for xy in (true, drawn, lines))
    assert filled == pytest.approx(whole, rel=0.03) and bridged < 0.9 * whole
    seen = ~np.isnan(gappy)
    assert np.array_equal(drawn[seen], true[seen]) and np.isfinite(drawn).all()
    assert np.array_equal(draw_missing(list(gappy), preds, sigma), drawn)
    still = [Prediction(np.zeros(200), np.zeros(200), np.eye(4)[np.zeros(200, int)], np.zeros(200))] * 40
    assert np.allclose(draw_missing(list(gappy), still, None), lines)


def test_shipped_fillers_keep_everything_else(tmp_path):
    """A run of gap fillers alone becomes weights that differ in nothing else, segmentation and calibration included."""
    options = {"body": "conv_bilstm", "init": "fast", "gaps": 1.0, "only": "gaps", "steps": 2, "val_every": 2}
    fit_tracks(TrackStream("broad", 16, "cpu", 1, 64, gaps=1.0), [], options, tmp_path / "run")
    config = ship([tmp_path / "run"], tmp_path / "weights")
    new, old = (load_weights(name) for name in (tmp_path / "weights", "fast"))
    assert all(new[1][name] == old[1][name] for name in ("segmentation", "calibration", "features"))
    assert config["training"]["combined"]["gaps"]["steps"] == 2
    same = {n: torch.equal(v, old[0]["combined"].state_dict()[n]) for n, v in new[0]["combined"].state_dict().items()}
    assert {n.split(".")[0] for n, equal in same.items() if not equal} == {"gaps"}
    alone = [tmp_path / name for name in ("k", "alpha", "state")]
    for run, init in zip(alone, ("default", "default", "fast"), strict=True):
        one = options | {"target": run.name, "init": init, "steps": 1}
        fit_tracks(TrackStream("broad", 16, "cpu", 1, 64, gaps=1.0), [], one, run)
    with pytest.raises(ValueError, match="go together"):
        ship(alone, tmp_path / "mixed")
