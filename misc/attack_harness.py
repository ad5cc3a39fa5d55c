"""Runs a command of the project in a process of its own, with limits on time and memory, and sees what it left.

The process is forked from one that has imported all commands, because importing them takes seconds.
"""

import contextlib
import hashlib
import importlib
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

tqdm.monitor_interval = 0  # no second thread: a process with threads cannot be forked safely

COMMANDS = ("infer", "check", "kinetics", "figures", "report", "train", "ship", "calibrate", "benchmark")
MAX_SECONDS = 60.0  # beyond it a case is a hang
MAX_BYTES = 2 * 2**30  # of resident memory
HARD_MAX_BYTES = 12 * 2**30  # of private memory; protects the machine, far above MAX_BYTES
MAX_DIGESTED_BYTES = 10**8  # a larger file is told by its size and time
NOBODY = 65534  # user without rights, for files that cannot be read
POLL_SECONDS = 0.004


@dataclass(frozen=True)
class Done:
    """What a process did.

    Parameters
    ----------
    code : int
        Exit code; negative: the signal that ended it.
    out, err : str
        What it printed.
    seconds : float
    n_bytes : int
        Largest resident memory.
    timed_out : bool
    """

    code: int
    out: str
    err: str
    seconds: float
    n_bytes: int
    timed_out: bool = False


def import_commands() -> None:
    """Import every command, and what it imports only when it runs, before processes are forked."""
    torch.set_num_threads(1)
    modules = [f"main.{name}" for name in COMMANDS]
    for name in (*modules, "main.tracks.analysis", "main.tracks.report.write", "simulations.simulate"):
        importlib.import_module(name)
    for name in ("ascii", "cp1252", "latin_1", "utf_8_sig", "utf_16", "utf_32", "idna"):
        importlib.import_module(f"encodings.{name}")  # a user without rights may not be able to read Python's files


def call_command(command: list[str]) -> int:
    """Call the main function of a command, as its script does; returns the exit code."""
    name, *arguments = command
    room = "simulations" if name == "simulate" else "main"
    return importlib.import_module(f"{room}.{name}").main(arguments) or 0


class Process:
    """A call of a function in a forked process, with its own folder and its output in files.

    Parameters
    ----------
    call : callable
        Returns the exit code.
    folder : Path
        Working directory of the call.
    logs : Path
        Existing folder outside `folder` for what is printed.
    file_bytes : int, optional
        Largest file that it may write, as on a full disk.
    as_nobody : bool
        Whether to give up the rights of root, if it has them.
    """

    def __init__(self, call, folder: Path, logs: Path, file_bytes: int | None = None, as_nobody: bool = False):
        self.started = time.perf_counter()
        number = len(list(logs.iterdir()))
        self.paths = [logs / f"{number}.out", logs / f"{number}.err"]
        for path in self.paths:
            path.touch()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(call, folder, file_bytes, as_nobody)

    def _run(self, call, folder, file_bytes, as_nobody):
        code = 1
        try:
            os.setsid()
            for descriptor, path, flags in zip((0, 1, 2), ("/dev/null", *self.paths), (0, 1, 1), strict=True):
                os.dup2(os.open(path, flags), descriptor)
            sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
            sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
            os.chdir(folder)
            resource.setrlimit(resource.RLIMIT_DATA, (HARD_MAX_BYTES, HARD_MAX_BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if file_bytes is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
            if as_nobody and os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            code = call() or 0
        except SystemExit as stop:
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:  # whatever ends a script is printed and judged
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def kill(self) -> None:
        """End the process and its children at once."""
        for kill in (os.killpg, os.kill):  # it may not have made its group yet
            with contextlib.suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)

    def wait(self, max_seconds: float = MAX_SECONDS) -> Done:
        """Wait for the end; the process is killed when its time is over."""
        timed_out = False
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            seconds = time.perf_counter() - self.started
            if pid:
                break
            if seconds > max_seconds:
                timed_out = True
                self.kill()
            time.sleep(POLL_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # children that it left behind
        texts = [path.read_text(encoding="utf-8", errors="backslashreplace") for path in self.paths]
        return Done(os.waitstatus_to_exitcode(status), *texts, seconds, usage.ru_maxrss * 1024, timed_out)


def start(command: list[str], folder: Path, logs: Path, **options) -> Process:
    """Start a command of the project; see `Process`."""
    return Process(lambda: call_command(command), folder, logs, **options)


def describe_tree(folder: Path) -> dict[str, str]:
    """Describe everything in a folder: path -> kind and digest; links are not followed."""
    found = {}
    for root, folders, files in os.walk(os.fsencode(folder)):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            key = os.fsdecode(os.path.relpath(path, os.fsencode(folder)))
            if os.path.islink(path):
                found[key] = f"link to {os.fsdecode(os.readlink(path))}"
            elif os.path.isdir(path):
                found[key] = "folder"
            elif os.path.isfile(path) and os.path.getsize(path) > MAX_DIGESTED_BYTES:
                found[key] = f"{os.path.getsize(path)} bytes of {os.stat(path).st_mtime_ns}"
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[key] = hashlib.file_digest(file, "sha1").hexdigest()
            else:
                found[key] = "other"
    return found
