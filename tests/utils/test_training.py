"""The shared training loop on a task without tracks: it learns, resumes bit for bit, and runs in two processes."""

import csv
import json
import os
import signal
import socket
from dataclasses import replace
from itertools import islice

import pytest
import torch
from toy_task import Lines, LineTask

from main.utils import distributed
from main.utils.training import Options, fit, in_precision, validation

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
