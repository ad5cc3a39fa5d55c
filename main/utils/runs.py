"""The folder of a training run (parameters, metrics, checkpoint), and stopping a run cleanly."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file

from main.utils import distributed
from main.utils.files import claim_folder, sha256, write_atomically

MAY_CHANGE = ("minutes", "val_every", "bf16", "steps")  # options that may differ when a run is resumed
CHECKPOINT, BEST, GIVEN = "last.pt", "best.safetensors", "params_given.json"
FILES = (CHECKPOINT, BEST, "metrics.csv", "params.json", GIVEN)  # of a run; a new one removes them in this order
CHECKSUM = b"\ntracewise sha256 "  # in last.pt after what torch wrote; then 64 hexadecimal digits and a line feed
PARTS = {"net", "optimizer", "schedule", "stream", "rng", "cuda_rng", "given", "step", "best"}  # of a checkpoint


class RunFolder:
    """The folder of one run: params_given.json, params.json, metrics.csv, events, last.pt, best.safetensors.

    When several processes train together, only rank 0 writes.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.writes = distributed.rank() == 0
        self.board = None
        self.rows = 0
        self.saved: int | None = None  # step of last.pt

    def check(self, resume: bool = False, overwrite: bool = False) -> None:
        """Check that a run may start or continue here; nothing is written.

        A run that was stopped before its first checkpoint may be replaced, for it left nothing but its parameters.

        Raises
        ------
        ValueError
            If there is nothing to resume; the folder holds a run, and neither option is set; or it holds other files.
        """
        if resume and overwrite:
            raise ValueError("--resume and --overwrite contradict: continue the run, or replace it")
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path}: is a file, give a folder for the run")
        names = {path.name for path in self.path.glob("*") if not path.name.startswith(".")}
        if resume and CHECKPOINT not in names:
            raise ValueError(f"{self.path}: nothing to resume ({CHECKPOINT} is missing)")
        if names and (GIVEN not in names or not (names & {CHECKPOINT, BEST} or self._holds_parameters())):
            raise ValueError(f"{self.path}: holds files but no run ({GIVEN} of train.py), give another folder")
        if names & {CHECKPOINT, BEST} and not (resume or overwrite):
            raise ValueError(
                f"{self.path}: holds a run already; continue it with --resume, replace it with --overwrite, or give "
                "another folder"
            )

    def _holds_parameters(self) -> bool:
        """Whether params_given.json is that of a run."""
        try:
            given = json.loads((self.path / GIVEN).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(given, dict) and {"steps", "schedule", "seed"} <= set(given)

    @contextmanager
    def claim(self, resume: bool = False, overwrite: bool = False) -> Iterator[None]:
        """Keep other trainings out of the folder until the end of the block.

        Raises
        ------
        ValueError
            If another process trains there, the folder cannot be written, or `check` refuses.
        """
        with ExitStack() as stack:
            with distributed.all_or_none():
                if self.writes:
                    self.check(resume, overwrite)
                    stack.enter_context(claim_folder(self.path))
                    self.check(resume, overwrite)  # another run may have ended here since
            yield

    def open(self, given: dict, settled: dict, resume: bool) -> None:
        """Write the parameters, as given and as run; if the run is new, remove the files of an earlier one.

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
        if not resume:
            for path in (*(self.path / name for name in FILES), *self.path.glob("events.out.tfevents.*")):
                path.unlink(missing_ok=True)
        for name, values in ((GIVEN, given), ("params.json", {**given, **settled})):
            text = json.dumps(values, indent=1) + "\n"
            write_atomically(self.path / name, lambda part, text=text: part.write_text(text))
        self.rows = int(resume and (self.path / "metrics.csv").exists())
        try:
            from torch.utils.tensorboard import SummaryWriter  # takes a second to import; runs without tensorboard too

            self.board = SummaryWriter(str(self.path))
        except ImportError:
            self.board = None

    def read_resumable(self, given: dict) -> dict:
        """Read the checkpoint to continue from.

        Parameters
        ----------
        given : dict
            Options of the run, and settings of its training data; or some of them.

        Raises
        ------
        ValueError
            If the checkpoint is damaged, an option or a setting is not the one it was trained with, or it has done
            more steps than `given` asks for.
        """
        checkpoint = read_checkpoint(self.path)
        before, done = checkpoint["given"], checkpoint["step"]
        for name, value in json.loads(json.dumps(given)).items():
            if before.get(name) == value:
                continue
            if name == "steps" and given["schedule"] == "onecycle":
                raise ValueError(
                    f"{self.path}: was run with steps {before['steps']}, not {value}; the rate of onecycle follows "
                    "from the steps, so only runs with --schedule trapezoid or plateau can be prolonged"
                )
            if name not in MAY_CHANGE:
                change = describe_difference(name, before.get(name), value)
                raise ValueError(
                    f"{self.path}: was run with {change}; replace it with --overwrite, or use another folder"
                )
        if done > given["steps"]:
            raise ValueError(f"{self.path}: {done} steps are done already, --steps {given['steps']} is less")
        return checkpoint

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
        """Write best.safetensors, whole or not at all."""
        if not self.writes:
            return
        tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
        write_atomically(self.path / BEST, lambda part: save_file(tensors, part))

    def save(self, parts: dict, train, state: dict, given: dict) -> None:
        """Write last.pt, whole or not at all.

        It holds network, optimiser, schedule, position in the data, random state, parameters, and a checksum.
        """
        checkpoint = {
            **{name: part.state_dict() for name, part in parts.items()},
            "stream": train.state_dict() if hasattr(train, "state_dict") else {},
            "rng": distributed.gather(torch.get_rng_state()),
            "cuda_rng": distributed.gather(torch.cuda.get_rng_state()) if torch.cuda.is_available() else None,
            "given": json.dumps(given),
            **state,
        }
        self.saved = state["step"]
        if self.writes:
            write_atomically(self.path / CHECKPOINT, lambda part: _write_checkpoint(part, checkpoint))

    def restore(self, checkpoint: dict, parts: dict, train) -> dict:
        """Restore everything that `save` wrote; returns the step and the best loss.

        Raises
        ------
        ValueError
            If the checkpoint is of another network.
        """
        try:
            for name, part in parts.items():
                part.load_state_dict(checkpoint[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise ValueError(f"{self.path / CHECKPOINT}: does not fit this network ({_first_line(error)})") from None
        if hasattr(train, "load_state_dict"):
            train.load_state_dict(checkpoint["stream"])
        _set_random_state(checkpoint["rng"], torch)
        if torch.cuda.is_available() and checkpoint["cuda_rng"] is not None:
            _set_random_state(checkpoint["cuda_rng"], torch.cuda)
        self.saved = checkpoint["step"]
        return {"step": checkpoint["step"], "best": checkpoint["best"]}


def read_checkpoint(run: Path) -> dict:
    """Read last.pt of a run folder; nothing that the file may contain is executed.

    Returns
    -------
    dict
        State of "net", "optimizer" and "schedule", "step", "best" (loss), and "given", the parameters of the run.

    Raises
    ------
    ValueError
        If the file is missing, cut off or altered, or was not written by a training run.
    """
    path = Path(run) / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"{run}: holds no training run ({CHECKPOINT} is missing)")
    written, mark, digest = path.read_bytes().rpartition(CHECKSUM)
    if not mark:
        raise ValueError(
            f"{path}: has no checksum, so it is cut off or an earlier version wrote it; use it with that version, or "
            "train anew with --overwrite or in another folder"
        )
    if hashlib.sha256(written).hexdigest().encode() != digest.strip():
        raise ValueError(f"{path}: is damaged (its checksum does not match), restore it or train anew with --overwrite")
    try:
        checkpoint = torch.load(io.BytesIO(written), weights_only=True, map_location="cpu")
        return {**{name: checkpoint[name] for name in PARTS}, "given": dict(json.loads(checkpoint["given"]))}
    except Exception as error:  # a foreign file can raise nearly anything
        raise ValueError(f"{path}: is no checkpoint of a training run ({_first_line(error)})") from None


def _write_checkpoint(path: Path, checkpoint: dict) -> None:
    """Write a checkpoint and, behind it, its checksum; torch reads the file with and without that."""
    torch.save(checkpoint, path)
    mark = CHECKSUM + sha256(path).encode() + b"\n"
    with path.open("ab") as file:
        file.write(mark)


def describe_difference(name: str, before, now) -> str:
    """Say how a parameter differs from that of a run; of a dictionary, its first entry that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        key = next(key for key in (*before, *now) if before.get(key) != now.get(key))
        return f"{name} {describe_difference(key, before.get(key), now.get(key))}"
    return f"{name} {_shorten(before)}, not {_shorten(now)}"


def _shorten(value) -> str:
    """A value as text of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _first_line(error: Exception) -> str:
    """First line of an error that says something, at most 150 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:150]


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
