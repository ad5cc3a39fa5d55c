"""The training loop: it learns, resumes exactly, and leaves trapped frames and padding out."""

import csv
import json
import math
import signal
import threading
from itertools import islice
from pathlib import Path

import pytest
import torch
from helpers import fit_tracks, split_options

from main import benchmark, calibrate, train
from main.ship import main as ship_main
from main.ship import ship
from main.tracks.inference.predictor import Predictor
from main.tracks.learning.data import DatasetBatches
from main.tracks.learning.losses import balanced_weights, change_labels, losses, pinball
from main.tracks.learning.task import TrackTask, is_part
from main.train import main
from main.utils.runs import read_checkpoint
from main.utils.training import validation
from main.utils.weights import load_weights
from simulations.dataset import TrackDataset
from simulations.parameters import microscope
from simulations.resumable import ResumableBatches
from simulations.stream import TrackStream

TINY = {"body": "conv_bilstm", "hidden": 8, "steps": 8, "val_every": 4, "dropout": 0.2}


def stream(batch=16, seed=0):
    return TrackStream("broad", batch, "cpu", seed, chunk=64)


@pytest.fixture(scope="module")
def held_out():
    return list(islice(stream(32, seed=5), 1))


def test_training_lowers_the_loss(tmp_path, held_out):
    options = TINY | dict(steps=60, val_every=60, hidden=16, lr=1e-2)
    task = TrackTask(split_options(options)[0])
    before = validation(task, task.network(), held_out)
    after = validation(task, fit_tracks(held_out, held_out, options, tmp_path / "run"), held_out)
    assert after["loss"] < 0.7 * before["loss"]


def data_set():
    """24 walks of 6 to 52 frames with one change each, as batches that augment them."""
    generator = torch.Generator().manual_seed(0)
    length = torch.arange(6, 54, 2)
    labels = torch.cat([(torch.arange(n) >= n // 2).float() + 1 for n in length])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
    xy = torch.randn(len(labels), 2, generator=generator).cumsum(0)
    tracks = TrackDataset(
        xy,
        labels,
        labels / 2,
        torch.full(labels.shape, 2, dtype=torch.int8),
        offsets,
        torch.full((24,), 0.1),
        torch.ones(24, dtype=torch.int8),
    )
    return DatasetBatches(tracks, batch=8)


@pytest.mark.parametrize("schedule", ["onecycle", "trapezoid", "plateau"])
@pytest.mark.parametrize("source", [stream, data_set])
def test_a_run_stopped_by_ctrl_c_and_resumed_equals_an_uninterrupted_one(tmp_path, held_out, schedule, source):
    options = TINY | dict(schedule=schedule)
    whole = fit_tracks(source(), held_out, options, tmp_path / "whole")

    class Interrupted(type(source())):
        def __iter__(self):
            for i, batch in enumerate(super().__iter__()):
                if i == 4:
                    signal.raise_signal(signal.SIGINT)
                yield batch

    interrupted = source()
    interrupted.__class__ = Interrupted
    fit_tracks(interrupted, held_out, options, tmp_path / "parts")
    assert torch.load(tmp_path / "parts" / "last.pt", weights_only=True)["step"] == 5
    resumed = fit_tracks(source(), held_out, options, tmp_path / "parts", resume=True)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


class Numbers(ResumableBatches):
    """Chunks of four numbers; chunk 2 cannot be made. Says which chunks are made."""

    def __init__(self):
        self.made = [threading.Event() for _ in range(4)]

    def _batches(self, chunk):
        self.made[chunk].set()
        if chunk == 2:
            raise OSError("no chunk 2")
        return [lambda i=i: 10 * chunk + i for i in range(4)]


def test_the_next_chunk_and_no_other_is_made_while_this_one_is_used():
    numbers = Numbers()
    batches = iter(numbers)
    assert next(batches) == 0 and numbers.made[1].wait(timeout=30)
    assert [*islice(batches, 3)] == [1, 2, 3] and not numbers.made[2].is_set()
    assert numbers.state_dict() == {"position": [0, 4]}  # of what was handed out, not of what was made
    assert next(batches) == 10 and numbers.state_dict() == {"position": [1, 1]}
    batches.close()
    assert not numbers.made[3].is_set()


def test_an_error_of_the_thread_reaches_the_training_and_the_thread_ends():
    before, numbers = threading.active_count(), Numbers()
    batches, given = iter(numbers), []
    with pytest.raises(OSError, match="no chunk 2"):
        for number in batches:
            given.append(number)
    assert given == [0, 1, 2, 3, 10, 11, 12, 13] and numbers.state_dict() == {"position": [1, 4]}
    assert threading.active_count() == before
    unfinished = iter(Numbers())
    next(unfinished)
    assert threading.active_count() == before + 1
    unfinished.close()
    assert threading.active_count() == before


def test_a_stream_gives_what_its_chunks_hold_whatever_else_draws_random_numbers():
    source, expected = stream(), []
    for chunk in (0, 1):
        made = source._batches(chunk)
        expected += [batch() for batch in source._ordered(made, len(made), chunk)]
    state = torch.get_rng_state()
    given = list(islice(stream(), len(expected)))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(given, expected, strict=True):
        assert all(torch.equal(a[n].nan_to_num(), b[n].nan_to_num()) for n in a)


def test_epochs_hold_every_track_once_and_leave_the_data_set_alone():
    batches = data_set()
    batches.augmented = False
    before = batches.dataset.xy.clone()
    epochs = [torch.cat([b["length"] for b in islice(iter(batches), 3)]) for _ in range(2)]
    assert all(sorted(e.tolist()) == sorted(batches.dataset.length.tolist()) for e in epochs)
    assert not torch.equal(*epochs)
    batches.augmented = True
    list(islice(iter(batches), 6))
    assert torch.equal(batches.dataset.xy, before)


def test_run_folder(tmp_path, held_out):
    fit_tracks(stream(), held_out, TINY, tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [int(r["step"]) for r in rows] == [4, 8]
    assert all(math.isfinite(float(v)) for r in rows for v in r.values())
    assert json.loads((tmp_path / "params.json").read_text())["hidden"] == 8
    assert (tmp_path / "best.safetensors").exists() and list(tmp_path.glob("events*"))


def test_a_run_is_not_resumed_with_other_parameters(tmp_path, held_out):
    fit_tracks(stream(), [], TINY, tmp_path)
    for other, words in ((TINY | dict(lr=1e-4), "lr 0.002"), (TINY | dict(steps=16), "trapezoid")):
        with pytest.raises(ValueError, match=words):
            fit_tracks(stream(), [], other, tmp_path, resume=True)
    with pytest.raises(ValueError, match="was run with data"):
        fit_tracks(stream(batch=8), [], TINY, tmp_path, resume=True)
    with pytest.raises(ValueError, match="nothing to resume"):
        fit_tracks(stream(), [], TINY, tmp_path / "other", resume=True)
    assert not (tmp_path / "other").exists()


def test_a_level_run_can_be_prolonged(tmp_path):
    options = TINY | dict(schedule="trapezoid")
    fit_tracks(stream(), [], options, tmp_path)
    fit_tracks(stream(), [], options | dict(steps=16), tmp_path, resume=True)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 16
    given, run = (json.loads((tmp_path / n).read_text()) for n in ("params_given.json", "params.json"))
    assert given["steps"] == 16 and given["data"]["priors"] == ["broad"] and run["net"]["body"] == "conv_bilstm"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--prior", "narrow"], "unknown prior 'narrow'"),
        (["--resume"], "nothing to resume"),
        (["--body", "gru"], "unknown body 'gru'"),
        (["--only", "k"], "unknown part 'k'"),
        (["--body", "sample"], "a multiple of 64"),
        (["--only", "intervals", "--target", "state"], "no interval heads"),
        (["--data", "{}"], "train.pt"),
        (["--data", "{}/absent"], "neither train.pt nor Parquet files"),
        (["--device", "cuda:99"], "this machine has"),
        (["--device", "tpu"], "expected auto, cpu, cuda"),
        (["--batch", "0"], "--batch 0: expected a number from 1 to 100,000"),
        (["--chunk", "0"], "--chunk 0: expected"),
        (["--val-batches", "-1"], "--val-batches -1: expected"),
        (["--hidden", "0"], "--hidden 0: expected a number from 1 to 4,096"),
        (["--dropout", "nan"], "--dropout nan: expected"),
        (["--layers", "2,,1"], "--layers 2,,1: expected"),
        (["--lr", "nan"], "--lr nan: expected"),
    ],
)
def test_train_refuses_in_one_sentence(tmp_path, capsys, arguments, words):
    (tmp_path / "foreign").mkdir()
    torch.save(Foreign(), tmp_path / "foreign" / "train.pt")
    arguments = [a.format(tmp_path / "foreign") for a in arguments]
    small = ["--val-batches", "0", "--chunk", "64", "--batch", "8", "--steps", "1"]
    assert main([*small, *arguments, "--run", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error
    assert not (tmp_path / "run").exists() and not Foreign.executed


def test_train_asks_before_it_replaces_or_resumes_and_before_data_are_made(tmp_path, capsys, monkeypatch):
    small = ["--val-batches", "0", "--chunk", "64", "--batch", "8", "--hidden", "4", "--body", "conv_bilstm"]
    command = [*small, "--device", "cpu", "--steps", "2", "--run", str(tmp_path / "run")]
    assert main(command) == 0 and "ends at step 2" in capsys.readouterr().out
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(train, "make_batches", lambda *args, **kwargs: pytest.fail("data were made"))
        for again, words in (
            ([], "holds a run already"),
            (["--resume", "--steps", "1"], "only runs with --schedule trapezoid or plateau can be prolonged"),
            (["--resume", "--hidden", "8"], "was run with hidden 4, not 8"),
            (["--run", str(tmp_path / "other"), "--overwrite"], "holds files but no run"),
        ):
            assert main([*command, *again]) == 2
            error = capsys.readouterr().err.strip()
            assert words in error and "\n" not in error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert main([*command, "--overwrite", "--steps", "1"]) == 0
    assert read_checkpoint(tmp_path / "run")["step"] == 1


def test_a_run_on_a_prior_of_ones_own_is_resumed(tmp_path):
    """Its ranges are tuples, which parameters on disk hold as lists."""
    prior = microscope(0.1, 0.02, 0.02, (0.01, 1.0), n_frames=100)
    options = TINY | {"schedule": "trapezoid", "steps": 1}
    fit_tracks(TrackStream([prior], 16, "cpu", 0, 64), [], options, tmp_path)
    fit_tracks(TrackStream([prior], 16, "cpu", 0, 64), [], options | {"steps": 2}, tmp_path, resume=True)
    assert read_checkpoint(tmp_path)["step"] == 2
    with pytest.raises(ValueError, match="was run with data priors"):
        fit_tracks(stream(), [], options | {"steps": 2}, tmp_path, resume=True)


def test_own_weights_land_in_the_working_directory_and_are_replaced_only_when_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fit_tracks(stream(), [], TINY | dict(steps=1), tmp_path / "runs" / "mine")
    assert ship_main(["--name", "mine", "runs/mine"]) == 0
    assert set(load_weights("weights/mine")[0]) == {"combined"}
    assert "--weights weights/mine" in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in Path("weights/mine").iterdir()}
    for name, words in (
        ("mine", "holds weights already; replace them with --overwrite"),
        ("default", "is a name of shipped weights"),
        ("..", "is a name of shipped weights or none at all"),
        ("runs/mine", "holds files but no weights"),
        ("runs/mine/last.pt", "is a file"),
    ):
        assert ship_main(["--name", name, "runs/mine"]) == 2
        assert words in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in Path("weights/mine").iterdir()} == before
    assert ship_main(["--name", "mine", "--overwrite", "runs/mine"]) == 0


def test_what_last_pt_says_is_shipped(tmp_path):
    """Also where the parameters beside it are those of another run."""
    fit_tracks(stream(), [], TINY | dict(steps=1), tmp_path / "run")
    (tmp_path / "run" / "params.json").write_text("{}")
    assert ship([tmp_path / "run"], tmp_path / "set")["nets"]["combined"]["hidden"] == 8
    path = tmp_path / "run" / "last.pt"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="has no checksum"):
        ship([tmp_path / "run"], tmp_path / "other")


@pytest.mark.parametrize(
    ("command", "options"),
    [(calibrate, []), (benchmark, ["--fit-penalty"])],
    ids=["calibrate", "benchmark"],
)
def test_weights_of_the_package_are_not_changed_by_their_name(capsys, command, options):
    assert command.main(["--weights", "default", *options]) == 2
    assert "would change the weights of the package" in capsys.readouterr().err


class Foreign:
    """A class that no data set holds; unpickling it would execute something."""

    executed = False

    def __reduce__(self):
        return (setattr, (Foreign, "executed", True))


def test_the_clock_stops_a_run(tmp_path):
    fit_tracks(stream(), [], TINY | dict(steps=10_000, minutes=1e-4), tmp_path)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] < 100


def labelled(state):
    n = len(state)
    return {
        "xy": torch.zeros(1, n + 2, 2),
        "length": torch.tensor([n]),
        "k": torch.tensor([[float(s > 0) for s in state] + [0, 0]]),
        "alpha": torch.tensor([[float(s > 0) for s in state] + [0, 0]]),
        "state": torch.tensor([state + [0, 0]]),
    }


def test_trapped_frames_and_padding_do_not_count():
    batch = labelled([2, 2, 0, 0, 1])
    out = {"k": torch.tensor([[0.0, 0, 9, 9, 0, 9, 9]]), "alpha": torch.tensor([[1.0, 1, 9, 9, 1, 9, 9]])}
    result = losses(out, batch, torch.zeros(1))
    assert result["k"] == 0 and result["alpha"] == 0
    out["k"][0, 1] = 3.0
    assert losses(out, batch, torch.zeros(1))["k"] == pytest.approx(1.0)  # |3| over the three moving frames


def test_k_is_learned_relative_to_the_scale():
    batch = labelled([2, 2, 2])
    out = {"k": torch.full((1, 5), -2.0)}
    assert losses(out, batch, torch.ones(1))["k"] == 0  # K = 1 = 10 ** (-2 + 2 * 1)


def test_pinball_is_smallest_at_the_quantiles():
    above = torch.linspace(-1, 2, 3001)[None]  # 5 % lie below -.85, 5 % above 1.85

    def loss(below, over):
        return float(pinball(above, torch.tensor([[[below, over]]])).mean())

    best = loss(0.85, 1.85)
    for shift in (-0.05, 0.05):
        assert best < loss(0.85 + shift, 1.85) and best < loss(0.85, 1.85 + shift)


def test_intervals_of_trapped_frames_and_padding_do_not_count():
    batch = labelled([2, 2, 0, 0, 1])
    out = {"k": torch.zeros(1, 7), "k_interval": torch.zeros(1, 7, 2)}
    out["k_interval"][0, 2:4] = out["k_interval"][0, 5:] = 9.0
    assert losses(out, batch, torch.zeros(1))["k_interval"] == 0
    out["k_interval"][0, 0] = 1.0  # .05 for either end, over three moving frames
    assert losses(out, batch, torch.zeros(1))["k_interval"] == pytest.approx(0.1 / 3)


def test_intervals_do_not_change_what_the_other_heads_learn(tmp_path):
    options = TINY | dict(dropout=0.0, clip=0.1)
    with_heads, without = (
        fit_tracks(stream(), [], options | dict(intervals=i), tmp_path / str(i)) for i in (True, False)
    )
    learnt = with_heads.state_dict()
    assert all(torch.equal(v, learnt[n]) for n, v in without.state_dict().items())


def test_interval_heads_are_trained_alone_on_older_weights(tmp_path):
    fit_tracks(stream(), [], TINY | dict(steps=1, intervals=False), tmp_path / "old")
    ship([tmp_path / "old"], tmp_path / "set")
    options = TINY | dict(init=str(tmp_path / "set"), only="intervals", lr=1e-2)
    start = {n: v.clone() for n, v in TrackTask(split_options(options)[0]).network().state_dict().items()}
    fit_tracks(stream(), [], options, tmp_path / "run")
    ship([tmp_path / "run"], tmp_path / "new")
    old, new = (load_weights(str(tmp_path / n))[0]["combined"].state_dict() for n in ("set", "new"))
    assert all(torch.equal(v, new[n]) for n, v in old.items())
    assert len(new) > len(old) and all(is_part(n, "intervals") != torch.equal(v, start[n]) for n, v in new.items())


def test_change_labels():
    assert change_labels(labelled([2, 2, 0, 0, 1]))[0, :5].tolist() == [0, 0, 1, 0, 1]


def test_focal_loss_and_class_weights():
    batch = labelled([2, 2, 1, 2])
    logits = torch.zeros(1, 6, 4)
    plain = losses({"state": logits}, batch, torch.zeros(1))["state"]
    focal = losses({"state": logits}, batch, torch.zeros(1), focal=2.0)["state"]
    assert plain == pytest.approx(math.log(4)) and focal == pytest.approx(math.log(4) * 0.75**2)
    weights = balanced_weights([batch])
    assert weights[1] == pytest.approx(3 * float(weights[2])) and float(3 * weights[2] + weights[1]) == pytest.approx(4)


def test_unknown_schedule_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown schedule 'cosine'"):
        fit_tracks(stream(), [], TINY | dict(schedule="cosine"), tmp_path)


def test_shipped_weights_say_the_lengths_that_they_were_trained_on(tmp_path):
    """Also where the run was on one's own prior; windows and flags follow it."""
    prior = microscope(0.1, 0.02, 0.02, (0.01, 1.0), n_frames=100)
    fit_tracks(TrackStream([prior], 16, "cpu", 0, 64), [], TINY | {"steps": 1}, tmp_path / "run")
    config = ship([tmp_path / "run"], tmp_path / "set")
    assert config["training_range"] == {"n_frames": [20, 100]}
    predictor = Predictor(*load_weights(str(tmp_path / "set")))
    assert predictor.window == 100
    fit_tracks(data_set(), [], TINY | {"steps": 1}, tmp_path / "data")
    assert ship([tmp_path / "data"], tmp_path / "other")["training_range"] == {"n_frames": [6, 52]}


def test_runs_become_weights(tmp_path, held_out):
    runs = []
    for target in ("k", "alpha", "state"):
        runs.append(tmp_path / target)
        fit_tracks(stream(), [], TINY | dict(target=target, steps=1), runs[-1])
    ship(runs, tmp_path / "set")
    nets, config = load_weights(str(tmp_path / "set"))
    assert set(nets) == {"k", "alpha", "state"} and config["features"] == "default"
    saved = torch.load(runs[0] / "last.pt", weights_only=True)["net"]
    assert all(torch.equal(v, saved[n]) for n, v in nets["k"].state_dict().items())
    with pytest.raises(ValueError, match="expected one combined run"):
        ship(runs[:2], tmp_path / "other")


def test_fine_tuning_starts_from_weights(tmp_path):
    fit_tracks(stream(), [], TINY | dict(steps=1), tmp_path / "run")
    ship([tmp_path / "run"], tmp_path / "set")
    start = TrackTask(split_options(TINY | {"target": "alpha", "init": str(tmp_path / "set")})[0]).network()
    saved = load_weights(str(tmp_path / "set"))[0]["combined"].state_dict()
    assert all(torch.equal(v, saved[n]) for n, v in start.state_dict().items())
    with pytest.raises(ValueError, match="do not fit a lstm network"):
        TrackTask(split_options(TINY | {"body": "lstm", "init": str(tmp_path / "set")})[0]).network()


def test_corrupted_weights_are_refused(tmp_path):
    fit_tracks(stream(), [], TINY | dict(steps=1), tmp_path / "run")
    ship([tmp_path / "run"], tmp_path / "set")
    path = tmp_path / "set" / "combined.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="corrupted"):
        load_weights(str(tmp_path / "set"))
