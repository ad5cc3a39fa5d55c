"""The shared training loop on a task without tracks: it learns, resumes bit for bit, and runs in two processes."""

import csv
import hashlib
import io
import json
import os
import signal
import socket
from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
import torch
from toy_task import Lines, LineTask

from main.utils import distributed
from main.utils.runs import CHECKSUM, read_checkpoint
from main.utils.training import DivergedError, Options, fit, in_precision, validation

OPTIONS = Options(steps=12, val_every=4, lr=1e-2)


@pytest.fixture(scope="module")
def held_out():
    return list(islice(Lines(batch=64, seed=9), 2))


def test_it_learns(tmp_path, held_out):
    before = validation(LineTask(), LineTask().network(), held_out)
    after = validation(LineTask(), fit(LineTask(), Lines(), held_out, replace(OPTIONS, steps=400), tmp_path), held_out)
    assert after["loss"] < 0.1 * before["loss"]


def test_the_run_folder_holds_options_settings_and_data(tmp_path, held_out):
    fit(LineTask(), Lines(), held_out, OPTIONS, tmp_path)
    params = json.loads((tmp_path / "params.json").read_text())
    assert params["steps"] == 12 and params["width"] == 16 and params["data"] == {"slope": 3.0}
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    assert {"train_square", "train_loss", "val_loss"} <= set(rows[0])
    assert (tmp_path / "best.safetensors").exists() and list(tmp_path.glob("events*"))


def interrupted_at(step, source, on_rank=0):
    """The source, which asks for a stop before it hands out batch number `step`."""

    class Interrupted(type(source)):
        def __iter__(self):
            for i, batch in enumerate(super().__iter__()):
                if i == step and distributed.rank() == on_rank:
                    signal.raise_signal(signal.SIGTERM)
                yield batch

    source.__class__ = Interrupted
    return source


@pytest.mark.parametrize("schedule", ["onecycle", "trapezoid", "plateau"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, held_out, schedule):
    options = replace(OPTIONS, schedule=schedule)
    whole = fit(LineTask(), Lines(), held_out, options, tmp_path / "whole")
    fit(LineTask(), interrupted_at(5, Lines()), held_out, options, tmp_path / "parts")
    assert torch.load(tmp_path / "parts" / "last.pt", weights_only=True)["step"] == 6
    resumed = fit(LineTask(), Lines(), held_out, options, tmp_path / "parts", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_that_holds_a_run_is_replaced_only_when_asked(tmp_path):
    run = tmp_path / "run"
    fit(LineTask(), Lines(), [], OPTIONS, run)
    (run / "notes.txt").write_text("mine")
    before = files(run)
    with pytest.raises(ValueError, match="holds a run already; continue it with --resume, replace it with --overwrite"):
        fit(LineTask(), Lines(), [], OPTIONS, run)
    assert files(run) == before
    fit(LineTask(), Lines(seed=1), [], OPTIONS, run, overwrite=True)
    after = files(run)
    assert after["last.pt"] != before["last.pt"] and after["notes.txt"] == b"mine"
    assert len([name for name in after if name.startswith("events")]) == 1


@pytest.mark.parametrize("again", [{}, {"overwrite": True}])
def test_a_folder_of_other_files_is_left_alone(tmp_path, again):
    (tmp_path / "metrics.csv").write_text("mine")
    with pytest.raises(ValueError, match="holds files but no run"):
        fit(LineTask(), Lines(), [], OPTIONS, tmp_path, **again)
    assert files(tmp_path) == {"metrics.csv": b"mine"}
    with pytest.raises(ValueError, match="is a file"):
        fit(LineTask(), Lines(), [], OPTIONS, tmp_path / "metrics.csv", **again)


def test_two_trainings_do_not_share_a_folder(tmp_path):
    class Second(LineTask):
        def losses(self, net, batch):
            with pytest.raises(ValueError, match=f"in use by process {os.getpid()}"):
                fit(LineTask(), Lines(), [], OPTIONS, tmp_path, overwrite=True)
            return super().losses(net, batch)

    fit(Second(), Lines(), [], replace(OPTIONS, steps=1), tmp_path)
    assert read_checkpoint(tmp_path)["step"] == 1 and not list(tmp_path.glob(".*"))


def test_a_run_killed_before_its_first_checkpoint_is_not_resumed_from_that_of_another(tmp_path):
    class Killed(LineTask):
        def losses(self, net, batch):
            raise KeyboardInterrupt

    run, other = tmp_path / "run", replace(OPTIONS, lr=1e-3)
    fit(LineTask(), Lines(), [], OPTIONS, run)
    first = (run / "last.pt").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        fit(Killed(), Lines(), [], other, run, overwrite=True)
    with pytest.raises(ValueError, match="nothing to resume"):
        fit(LineTask(), Lines(), [], other, run, resume=True)
    (run / "last.pt").write_bytes(first)  # beside the parameters of the second run
    with pytest.raises(ValueError, match="was run with lr 0.01, not 0.001"):
        fit(LineTask(), Lines(), [], other, run, resume=True)
    (run / "last.pt").unlink()
    fit(LineTask(), Lines(), [], other, run)  # nothing of it is lost
    assert read_checkpoint(run)["given"]["lr"] == 1e-3


def flipped(content, at):
    changed = bytearray(content)
    changed[int(at * len(changed))] ^= 1
    return bytes(changed)


def without_checksum(content):
    return content[: content.rindex(CHECKSUM)]


def of_another_program(content):
    file = io.BytesIO()
    torch.save({"net": 1}, file)
    written = file.getvalue()
    return written + CHECKSUM + hashlib.sha256(written).hexdigest().encode() + b"\n"


@pytest.mark.parametrize(
    "damage",
    [
        *(pytest.param(partial(flipped, at=at), id=f"flipped at {at}") for at in (0, 0.2, 0.5, 0.9, 0.999)),
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1] + b"0",
        lambda content: b"",
        without_checksum,
        of_another_program,
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    fit(LineTask(), Lines(), [], replace(OPTIONS, steps=1), tmp_path)
    path = tmp_path / "last.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"last\.pt: (is damaged|has no checksum|is no checkpoint)"):
        fit(LineTask(), Lines(), [], replace(OPTIONS, steps=1), tmp_path, resume=True)


def test_the_checkpoint_of_another_network_is_refused(tmp_path):
    class Deeper(LineTask):  # its settings do not tell
        def network(self):
            return torch.nn.Sequential(super().network(), torch.nn.Linear(1, 1))

    fit(LineTask(), Lines(), [], OPTIONS, tmp_path)
    with pytest.raises(ValueError, match="does not fit this network"):
        fit(Deeper(), Lines(), [], OPTIONS, tmp_path, resume=True)


@pytest.mark.parametrize("schedule", ["trapezoid", "plateau"])
def test_a_prolonged_run_equals_one_that_was_as_long_from_the_start(tmp_path, held_out, schedule):
    """The trapezoid is stopped while it is level: before the last quarter of its steps."""
    short, long = (replace(OPTIONS, schedule=schedule, steps=steps) for steps in (12, 20))
    whole = fit(LineTask(), Lines(), held_out, long, tmp_path / "whole")
    fit(LineTask(), interrupted_at(7, Lines()), held_out, short, tmp_path / "parts")
    resumed = fit(LineTask(), Lines(), held_out, long, tmp_path / "parts", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_trapezoid_that_came_down_is_level_again_when_it_is_prolonged(tmp_path):
    options = replace(OPTIONS, schedule="trapezoid", steps=300, val_every=300)
    fit(LineTask(), Lines(), [], options, tmp_path)
    before = read_checkpoint(tmp_path)["net"]
    fit(LineTask(), interrupted_at(0, Lines()), [], replace(options, steps=600), tmp_path, resume=True)
    after = read_checkpoint(tmp_path)
    rates = [float(row["lr"]) for row in csv.DictReader((tmp_path / "metrics.csv").open())]
    assert after["step"] == 301 and rates == [0, options.lr]
    assert not any(torch.equal(before[name], value) for name, value in after["net"].items())  # a rate of 0 would


@pytest.mark.parametrize(
    ("schedule", "steps", "words"),
    [
        ("onecycle", 20, "onecycle follows from the steps"),
        ("trapezoid", 8, "12 steps are done already, --steps 8 is less"),
        ("plateau", 8, "12 steps are done already"),
    ],
)
def test_a_number_of_steps_that_cannot_be_is_refused(tmp_path, schedule, steps, words):
    options = replace(OPTIONS, schedule=schedule)
    fit(LineTask(), Lines(), [], options, tmp_path)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=words):
        fit(LineTask(), Lines(), [], replace(options, steps=steps), tmp_path, resume=True)
    assert files(tmp_path) == before


def test_a_finished_run_says_so_when_it_is_resumed(tmp_path, capsys):
    whole = fit(LineTask(), Lines(), [], OPTIONS, tmp_path)
    before = files(tmp_path)
    resumed = fit(LineTask(), Lines(), [], OPTIONS, tmp_path, resume=True)
    assert "all 12 steps are done, nothing is left to train" in capsys.readouterr().out
    assert files(tmp_path) == before
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_run_that_diverges_stops_and_keeps_the_last_good_checkpoint(tmp_path, held_out):
    class Broken(Lines):
        def _make(self, chunk, i):
            batch = super()._make(chunk, i)
            return batch if chunk < 1 else batch | {"y": batch["y"] * torch.nan}

    with pytest.raises(DivergedError, match=r"diverged before step 8 .*last\.pt keeps step 4; try a lower --lr"):
        fit(LineTask(), Broken(), held_out, OPTIONS, tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint["step"] == 4 and all(value.isfinite().all() for value in checkpoint["net"].values())
    assert "nan" not in (tmp_path / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("lr", value) for value in (float("nan"), -1.0, 0.0, 1e6, float("inf"))),
        *(("clip", value) for value in (float("nan"), 0.0, -1.0)),
        *(("minutes", value) for value in (-1.0, float("inf"))),
        *((name, value) for name in ("steps", "val_every") for value in (0, -5)),
        ("weight_decay", -1.0),
        ("seed", -1),
        ("seed", 2**70),
    ],
)
def test_options_are_numbers_within_their_range(name, value):
    with pytest.raises(ValueError, match=rf"^--{name.replace('_', '-')} \S+: expected a number from \S+ to \S+$"):
        replace(OPTIONS, **{name: value})


def test_a_run_of_another_task_is_not_resumed(tmp_path):
    class Wider(LineTask):
        def settings(self):
            return {"width": 32}

    fit(LineTask(), Lines(), [], OPTIONS, tmp_path)
    with pytest.raises(ValueError, match="width 16, not 32"):
        fit(Wider(), Lines(), [], OPTIONS, tmp_path, resume=True)


def test_groups_of_parameters_are_clipped_apart(tmp_path):
    class Apart(LineTask):
        def parameter_groups(self, net):
            norms.append([])
            return [list(net[0].parameters()), list(net[3].parameters())]

    norms, clip = [], torch.nn.utils.clip_grad_norm_

    def recorded(group, most):
        total = clip(group, most)
        norms[-1].append(torch.stack([p.grad.norm() for p in group]).norm())
        return total

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", recorded)
        fit(Apart(), Lines(), [], replace(OPTIONS, steps=1, clip=1e-3), tmp_path)
    assert torch.stack(norms[0]) == pytest.approx([1e-3, 1e-3], rel=1e-2)


def test_the_network_alone_runs_in_bfloat16():
    net = torch.nn.Linear(3, 3)
    assert in_precision(net, "cpu", True)(torch.ones(2, 3)).dtype == torch.bfloat16
    assert in_precision(net, "cpu", False)(torch.ones(2, 3)).dtype == torch.float32


def test_unknown_schedule_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown schedule 'cosine'"):
        fit(LineTask(), Lines(), [], replace(OPTIONS, schedule="cosine"), tmp_path)


def two_processes(rank, port, folder):
    """What each of two processes does: a whole run; one that the other process is asked to stop, resumed."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.join("cpu")
    fit(LineTask(), Lines(seed=rank), [], OPTIONS, folder / "whole")
    fit(LineTask(), interrupted_at(5, Lines(seed=rank), on_rank=1), [], OPTIONS, folder / "parts")
    torch.distributed.barrier()  # rank 0 has written last.pt
    fit(LineTask(), Lines(seed=rank), [], OPTIONS, folder / "parts", resume=True)
    with pytest.raises(ValueError, match="another process" if rank else "holds a run already"):
        fit(LineTask(), Lines(seed=rank), [], OPTIONS, folder / "parts")  # refused on both, and none waits
    distributed.leave()


def test_two_gloo_processes_train_one_network_and_resume_it_exactly(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(two_processes, (port, tmp_path), nprocs=2)
    whole, parts = (torch.load(tmp_path / n / "last.pt", weights_only=True) for n in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 12
    assert all(torch.equal(value, parts["net"][name]) for name, value in whole["net"].items())
    assert len(list((tmp_path / "whole").glob("events*"))) == 1  # one process writes
