"""Augmentations: pure, and labels that keep their alignment with the steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from main.tracks.learning import augment as augmentations
from main.tracks.learning.augment import (
    LABELS,
    STEP_ENDS_AT_LABEL,
    add_noise,
    augment,
    crop,
    flip_x,
    flip_y,
    reverse_time,
    rotate,
)
from simulations.andi import seeded, simulate_world
from simulations.dataset import TrackDataset
from simulations.parameters import MODELS, sample_worlds

ALL = (crop, rotate, add_noise, flip_x, flip_y, reverse_time)


def switching_item(model: str, rng, lengths=(9, 12, 4, 20, 7)) -> dict[str, torch.Tensor]:
    """A noiseless track whose every step has length sqrt(K) of its label, K switching between 0.01 and 4."""
    k = np.repeat([0.01, 4.0, 0.01, 4.0, 0.01][: len(lengths)], lengths)
    governing = k[1:] if model in STEP_ENDS_AT_LABEL else k[:-1]
    angle = rng.uniform(0, 2 * np.pi, len(governing))
    steps = np.sqrt(governing)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return {
        "xy": torch.tensor(np.concatenate([np.zeros((1, 2)), steps.cumsum(0)]), dtype=torch.float32),
        "k": torch.tensor(k, dtype=torch.float32),
        "alpha": torch.tensor(np.where(k == 4, 1.5, 0.5), dtype=torch.float32),
        "state": torch.tensor(np.where(k == 4, 2, 1)),
        "sigma": torch.tensor(0.1),
        "model": torch.tensor(MODELS.index(model)),
    }


def misaligned_steps(item) -> int:
    """Steps whose length is not sqrt(K) of the label that governs them in the item's model."""
    length = item["xy"].diff(dim=0).norm(dim=1)
    ends = MODELS[int(item["model"])] in STEP_ENDS_AT_LABEL
    governing = item["k"][1:] if ends else item["k"][:-1]
    return int((length - governing.sqrt()).abs().gt(1e-3).sum())


@pytest.mark.parametrize("model", MODELS)
def test_reversal_keeps_the_alignment_of_the_model(model):
    rng = np.random.default_rng(0)
    item = switching_item(model, rng)
    assert misaligned_steps(item) == 0
    back = reverse_time(item, rng)
    assert torch.equal(back["xy"], item["xy"].flip(0))
    assert misaligned_steps(back) == 0
    plain = back | {"k": item["k"].flip(0)}
    assert misaligned_steps(plain) == 4  # labels[::-1] alone is off by one at each of the four changes
    torch.testing.assert_close(back["alpha"], torch.where(back["k"] == 4, 1.5, 0.5))
    assert torch.equal(back["state"], torch.where(back["k"] == 4, 2, 1))


@pytest.mark.parametrize("model", MODELS)
def test_reversing_twice_changes_at_most_the_two_ends(model):
    rng = np.random.default_rng(1)
    item = switching_item(model, rng)
    twice = reverse_time(reverse_time(item, rng), rng)
    for name in item:
        assert torch.equal(twice[name], item[name])
    short = switching_item(model, rng, lengths=(3, 20, 3))
    once = reverse_time(short, rng)
    runs = torch.unique_consecutive(once["k"], return_counts=True)[1]
    assert runs.min() >= 3  # the segment that lost its third frame is absorbed, as the library's filter does
    assert sorted(runs.tolist()) == [4, 22]


@pytest.mark.parametrize("model", ["multi_state", "immobile_traps"])
def test_reversal_keeps_the_alignment_of_the_library(model):
    """Noiseless tracks of andi_datasets: labels in the model's alignment tell which steps are long, but for
    the short segments that the label filter removed; backwards as well as forwards."""
    items = library_items(model)
    rng = np.random.default_rng(0)
    forwards = agreement(items, model)
    assert forwards > 0.95
    assert agreement([reverse_time(item, rng) for item in items], model) == pytest.approx(forwards, abs=0.004)
    plain = [i | {"xy": i["xy"].flip(0)} | {n: i[n].flip(0) for n in LABELS} for i in items]
    assert agreement(plain, model) < forwards - 0.01


def library_items(model: str) -> list[dict]:
    """Tracks in which K switches between 1 and nearly (multi-state) or exactly (traps) 0, without noise."""
    world = sample_worlds("andi2", model, 1, np.random.default_rng(0))
    world = replace(world, n_particles=30, sigma=world.sigma * 0, fov=world.box * 2)
    if model == "multi_state":
        world = replace(
            world,
            k_mean=np.array([[1.0, 1e-8]]),
            k_var=world.k_var * 0,
            transition=np.array([[[0.93, 0.07], [0.07, 0.93]]]),
        )
    else:
        world = replace(world, p_unbind=np.array([0.05]), radius=np.array([4.0]))
    with seeded(np.random.SeedSequence(2)):
        tracks = simulate_world(world)
    code = torch.tensor(MODELS.index(model))
    return [
        {"xy": torch.tensor(t.xy), "sigma": torch.tensor(0.0), "model": code}
        | {n: torch.tensor(getattr(t, n)) for n in LABELS}
        for t in tracks
    ]


def agreement(items, model: str) -> float:
    """Share of steps that are long where the governing label has K > 0.01 and short elsewhere."""
    ends = model in STEP_ENDS_AT_LABEL
    long = torch.cat([item["xy"].diff(dim=0).norm(dim=1) > 5e-3 for item in items])
    fast = torch.cat([(item["k"][1:] if ends else item["k"][:-1]) > 0.01 for item in items])
    return float((long == fast).double().mean())


def test_nothing_touches_the_data_set():
    rng = np.random.default_rng(0)
    source = [switching_item(model, rng) for model in MODELS]
    steps = torch.tensor([0] + [len(i["xy"]) for i in source]).cumsum(0)
    frames = {n: torch.cat([i[n] for i in source]) for n in ("xy", *LABELS)}
    frames["state"] = frames["state"].to(torch.int8)
    model = torch.stack([i["model"] for i in source]).to(torch.int8)
    dataset = TrackDataset(**frames, offsets=steps, sigma=torch.full((5,), 0.1), model=model)
    before = {name: getattr(dataset, name).clone() for name in ("xy", "sigma", *LABELS)}
    for item in source:
        kept = {name: value.clone() for name, value in item.items()}
        for _ in range(20):
            for change in (*ALL, augment):
                change(item, rng)
        assert all(torch.equal(item[name], kept[name]) for name in item)
    for _ in range(50):
        for i in range(len(dataset)):
            augment(dataset[i], rng)
    assert all(torch.equal(getattr(dataset, name), value) for name, value in before.items())


def test_crop_is_a_stretch_of_the_track():
    rng = np.random.default_rng(0)
    item = switching_item("multi_state", rng)
    sizes = set()
    for _ in range(300):
        cut = crop(item, rng)
        n_frames = len(cut["xy"])
        sizes.add(n_frames)
        starts = [s for s in range(53 - n_frames) if torch.equal(item["xy"][s : s + n_frames], cut["xy"])]
        assert len(starts) == 1 and all(len(cut[name]) == n_frames for name in LABELS)
        assert torch.unique_consecutive(cut["k"], return_counts=True)[1].min() >= 3
        inner = slice(3, n_frames - 3)
        assert torch.equal(cut["k"][inner], item["k"][starts[0] :][inner])
    assert min(sizes) == 24 and max(sizes) == 52
    short = {n: v[:20] if n in ("xy", *LABELS) else v for n, v in item.items()}
    assert len(crop(short, rng)["xy"]) == 20


def test_rotation_and_flips_keep_distances_and_labels():
    rng = np.random.default_rng(0)
    item = switching_item("confinement", rng)
    for change in (rotate, flip_x, flip_y):
        moved = change(item, rng)
        torch.testing.assert_close(torch.pdist(moved["xy"]), torch.pdist(item["xy"]), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(moved["xy"], item["xy"])
        assert all(torch.equal(moved[name], item[name]) for name in (*LABELS, "sigma", "model"))
    assert torch.equal(flip_x(item, rng)["xy"][:, 1], item["xy"][:, 1])
    assert torch.equal(flip_y(item, rng)["xy"][:, 0], item["xy"][:, 0])


def test_noise_is_accounted_for_in_sigma():
    rng = np.random.default_rng(0)
    item = switching_item("single_state", rng, lengths=(4000,))
    for _ in range(5):
        noisy = add_noise(item, rng)
        added = float((noisy["sigma"] ** 2 - item["sigma"] ** 2).sqrt())
        assert added == pytest.approx(float((noisy["xy"] - item["xy"]).std()), rel=0.05)
    unknown = add_noise(item | {"sigma": torch.tensor(float("nan"))}, rng)
    assert unknown["sigma"].isnan() and unknown["xy"].isfinite().all()


def test_every_augmentation_has_its_chance(monkeypatch):
    counts = dict.fromkeys([change.__name__ for change in ALL], 0)

    def counted(name):
        def change(item, rng):
            counts[name] += 1
            return item

        return change

    for name in counts:
        monkeypatch.setattr(augmentations, name, counted(name))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        augment({}, rng)
    assert all(500 < count < 700 for count in counts.values()), counts


def test_same_seed_same_result():
    item = switching_item("dimerization", np.random.default_rng(0))
    for seed in range(20):
        one, two = (augment(item, np.random.default_rng(seed)) for _ in range(2))
        assert all(torch.equal(one[name], two[name]) for name in item)
