"""What a case of the attack is, what a right answer to it is, and tables of tracks to make files from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

HEADER = ("track_id", "frame", "x", "y")
OPTIONS = ("--out", "out", "--weights", "fast", "--min-length", "5")  # of infer, in every case
FREE = ("infer.py", "--")  # words for a refusal that need not name the file


@dataclass(frozen=True)
class Reading:
    """What a right reading of a file gives.

    Parameters
    ----------
    rows : list of (track_id, frame, x, y)
        The points, in the unit of the file.
    n_rows : int, optional
        Number of data rows of the file; by default that of the points.
    position : {"px", "um", "nm"}
    um_per_unit, frame_interval_s : float or None
    any_ids : bool
        Whether the numbers of tracks are free, because the file does not give them.
    interval_error : float
        Relative error of the frame interval that is allowed, for times with jitter.
    """

    rows: list
    n_rows: int | None = None
    position: str = "px"
    um_per_unit: float | None = None
    frame_interval_s: float | None = None
    any_ids: bool = False
    interval_error: float = 1e-6

    def table(self) -> pd.DataFrame:
        """The points as a table."""
        table = pd.DataFrame(self.rows, columns=HEADER)
        table["x"], table["y"] = table["x"].astype(float), table["y"].astype(float)
        for name in HEADER[:2]:
            whole = [int(value) for value in table[name]]
            fits = all(-(2**63) <= value < 2**63 for value in whole)
            table[name] = pd.Series(whole, dtype="int64" if fits else object)
        return table


@dataclass
class Plan:
    """A command, and what may come of it.

    Parameters
    ----------
    command : list of str
        The first word is the name of the command.
    refusal : tuple of str or None
        The command may be refused, with a sentence that holds one of these; None: it must be accepted.
    readings : list of Reading
        The command may be accepted with one of these. With none, and without `check`, it must be refused.
    out : str
        Folder that an accepted command may write.
    check : callable, optional
        (folder) -> what is wrong with what an accepted command wrote, or an empty text; replaces `readings`.
    check_d : bool
        Whether D of each track must be that of the covariance-based estimator.
    may_write : tuple of str
        Beginnings of paths that an accepted command may write besides `out`.
    process : dict
        Options of `attack_harness.Process`.
    """

    command: list[str]
    refusal: tuple[str, ...] | None = None
    readings: list[Reading] = field(default_factory=list)
    out: str = "out"
    check: Callable[[Path], str] | None = None
    check_d: bool = True
    may_write: tuple[str, ...] = ()
    process: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One case.

    Parameters
    ----------
    family, name : str
    build : callable, optional
        (empty folder, random generator) -> Plan; writes the files of the user.
    play : callable, optional
        (empty folder, folder for logs, random generator) -> Verdict, for cases of several processes.
    quick : bool
        Whether it stays under 5 s and 500 MB.
    """

    family: str
    name: str
    build: Callable[[Path, np.random.Generator], Plan] | None = None
    play: Callable | None = None
    quick: bool = True

    @property
    def key(self) -> str:
        """Family and name."""
        return f"{self.family}: {self.name}"


def make_rows(rng, n_tracks=4, n_points=12, first_id=0, first_frame=0, scale=1.0, offset=50.0, digits=4) -> list[list]:
    """Make points of Brownian tracks, as [track_id, frame, x, y] of texts."""
    rows = []
    for track in range(first_id, first_id + n_tracks):
        xy = offset + np.cumsum(rng.normal(0, scale, (n_points, 2)), axis=0)
        rows += [
            [str(track), str(first_frame + i), f"{x:.{digits}f}", f"{y:.{digits}f}"]
            for i, (x, y) in enumerate(xy.tolist())
        ]
    return rows


def join(rows: Iterable[Iterable[str]], header: Iterable[str] | None = HEADER, sep: str = ",", end: str = "\n") -> str:
    """Join fields to the text of a table."""
    lines = [] if header is None else [sep.join(header)]
    return "".join(line + end for line in (*lines, *(sep.join(row) for row in rows)))


def infer(file: str, *options: str) -> list[str]:
    """The command that analyses one file."""
    return ["infer", file, *OPTIONS, *options]


def write(folder: Path, text: str | bytes, name: str = "tracks.csv") -> str:
    """Write a file of the user; returns its name."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return name


def must_read(folder: Path, text, rows, name="tracks.csv", options=(), **reading) -> Plan:
    """A file that must be read, and read so."""
    return Plan(infer(write(folder, text, name), *options), None, [Reading(rows, **reading)])


def may_read(folder: Path, text, rows, name="tracks.csv", options=(), names=(), **reading) -> Plan:
    """A file that is read so, or refused by a sentence that names it."""
    return Plan(infer(write(folder, text, name), *options), (name, *names), [Reading(rows, **reading)])


def must_refuse(folder: Path, text, name="tracks.csv", options=(), names=()) -> Plan:
    """A file that is refused by a sentence that names it."""
    return Plan(infer(write(folder, text, name), *options), (name, *names))
