"""The folder of a training run (parameters, metrics, checkpoint), and stopping a run cleanly."""

from __future__ import annotations

import csv
import json
import signal
import threading
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from main.utils import distributed
from main.utils.files import write_atomically

MAY_CHANGE = ("minutes", "val_every", "bf16", "steps")  # options that may differ when a run is resumed


class RunFolder:
    """The folder of one run: params_given.json, params.json, metrics.csv, events, last.pt, best.safetensors.

    When several processes train together, only rank 0 writes.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.writes = distributed.rank() == 0
        self.board = None
        self.rows = 0

    def open(self, given: dict, settled: dict, resume: bool) -> None:
        """Make the folder and write the parameters, as given and as run.

        Parameters
        ----------
        given : dict
            Options of the run and settings of its training data.
        settled : dict
            Values that follow from them: device, versions.
        resume : bool
            Append to the metrics instead of writing a new file.
        """
        if not self.writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "params_given.json").write_text(json.dumps(given, indent=1) + "\n")
        (self.path / "params.json").write_text(json.dumps({**given, **settled}, indent=1) + "\n")
        self.rows = int(resume and (self.path / "metrics.csv").exists())
        try:
            from torch.utils.tensorboard import SummaryWriter  # takes a second to import; runs without tensorboard too

            self.board = SummaryWriter(str(self.path))
        except ImportError:
            self.board = None

    def check_resumable(self, given: dict) -> None:
        """Refuse to continue a run with other parameters than it was started with.

        Raises
        ------
        ValueError
            If there is nothing to resume, or an option or a setting of the data differs.
        """
        if not (self.path / "last.pt").exists():
            raise ValueError(f"{self.path}: nothing to resume (last.pt is missing)")
        before = json.loads((self.path / "params_given.json").read_text())
        fixed = [n for n in given if n not in MAY_CHANGE or (n == "steps" and given["schedule"] == "onecycle")]
        for name in fixed:
            if before.get(name) != given[name]:
                hint = "; to prolong a run use --schedule trapezoid" if name == "steps" else ""
                raise ValueError(f"{self.path}: was run with {name} {before.get(name)!r}, not {given[name]!r}{hint}")

    def write(self, row: dict) -> None:
        """Append one row to metrics.csv and, where TensorBoard is installed, to its events."""
        if not self.writes:
            return
        with (self.path / "metrics.csv").open("a" if self.rows else "w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if not self.rows:
                writer.writeheader()
            writer.writerow(row)
        self.rows += 1
        if self.board:
            for name, value in row.items():
                self.board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Flush the events."""
        if self.board:
            self.board.close()

    def save_best(self, net: torch.nn.Module) -> None:
        """Write best.safetensors."""
        if not self.writes:
            return
        tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
        save_file(tensors, self.path / "best.safetensors")

    def save(self, parts: dict, train, state: dict) -> None:
        """Write last.pt, whole or not at all: network, optimiser, schedule, position in the data, random state."""
        checkpoint = {
            **{name: part.state_dict() for name, part in parts.items()},
            "stream": train.state_dict() if hasattr(train, "state_dict") else {},
            "rng": distributed.gather(torch.get_rng_state()),
            "cuda_rng": distributed.gather(torch.cuda.get_rng_state()) if torch.cuda.is_available() else None,
            **state,
        }
        if not self.writes:
            return
        write_atomically(self.path / "last.pt", lambda part: torch.save(checkpoint, part))

    def load(self, parts: dict, train) -> dict:
        """Restore everything that `save` wrote; returns the step and the best loss."""
        checkpoint = torch.load(self.path / "last.pt", weights_only=True, map_location="cpu")
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])
        if hasattr(train, "load_state_dict"):
            train.load_state_dict(checkpoint["stream"])
        _set_random_state(checkpoint["rng"], torch)
        if torch.cuda.is_available() and checkpoint["cuda_rng"] is not None:
            _set_random_state(checkpoint["cuda_rng"], torch.cuda)
        return {"step": checkpoint["step"], "best": checkpoint["best"]}


def _set_random_state(states: torch.Tensor, of) -> None:
    """Restore the random state of this rank from those of all ranks; a rank that is new keeps its present state."""
    states = states.view(-1, of.get_rng_state().numel())
    if distributed.rank() < len(states):
        of.set_rng_state(states[distributed.rank()].clone())  # torch 2.13 crashes on a view into a larger tensor


class PoliteStop:
    """Context in which Ctrl-C (or SIGTERM) asks for a stop after the current step; a second one stops at once.

    Parameters
    ----------
    minutes : float
        Also ask for a stop after so many minutes; 0: never.
    """

    def __init__(self, minutes: float = 0.0):
        self.end = time.monotonic() + 60 * minutes if minutes else float("inf")

    def due(self) -> bool:
        """Whether to stop now."""
        return self.asked or time.monotonic() > self.end

    def __enter__(self):
        self.asked = False
        main = threading.current_thread() is threading.main_thread()
        self.old = {n: signal.signal(n, self._ask) for n in (signal.SIGINT, signal.SIGTERM)} if main else {}
        return self

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *error):
        for number, handler in self.old.items():
            signal.signal(number, handler)
