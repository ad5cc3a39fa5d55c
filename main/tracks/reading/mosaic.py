"""The text report of MosaicSuite's Particle Tracker.

Source: https://github.com/mosaic-group/MosaicSuite, methods getTrajectoriesInfo and transferTrajectoriesToResultTable
of ParticleTracker3DModular_, and src/main/java/mosaic/core/detection/Particle.java (toStringBuffer).
"""

import re

import pandas as pd

from main.tracks.reading.points import POINT_COLUMNS, build_tracks, read_lines
from main.tracks.table import Tracks
from main.utils.errors import InputError

TRAJECTORY = re.compile(r"%% Trajectory (\d+)\s*$")
UNIT = re.compile(r"%.*\bx (?:coordinate top-down)?\s*\(([^)]*)\)")
DEPTH = re.compile(r"%.*\bz (?:coordinate|\()")
PIXELS = ("pixel", "pixels", "px", "")


def read_mosaic_report(path) -> Tracks:
    """Read the report of all trajectories, `Traj_NAME.txt`: blocks `%% Trajectory n` of lines `frame x y z m0 ...`.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Tracks
        Positions in pixels; frame from 0. x runs from top to bottom in versions that write "x coordinate top-down",
        which changes no result. Numbers may have a decimal comma, as Java writes them on some computers.

    Raises
    ------
    InputError
        If the header declares a unit other than pixels (some versions wrote pixels under it and some did not), or a
        line cannot be read; see also `main.tracks.table.validate`.
    """
    points, tracks, deep, inside, n_words, mark = [], [], False, False, None, None
    for number, line in read_lines(path):
        if line.startswith("%"):
            _check_unit(UNIT.match(line), path)
            deep = deep or bool(DEPTH.match(line))
            found = TRAJECTORY.match(line)
            tracks += [found.group(1)] if found else []
            inside = inside or bool(found)
        elif tracks and line.strip():
            words = [word.rstrip(",") for word in line.split()]
            marks = set("".join(words)) & {",", "."}
            mark = mark or (marks.pop() if len(marks) == 1 else None)
            if marks - {mark}:
                raise InputError(
                    f"{path}: line {number} has another decimal mark than the lines before, expected one in the file; "
                    "correct the line or save the report again."
                )
            words = [word.replace(",", ".") for word in words]
            n_words = n_words or len(words)
            if not inside or len(words) != n_words:
                raise InputError(
                    f"{path}: line {number} is no point of a trajectory, expected {n_words} numbers below a line "
                    "'%% Trajectory n'; correct the line or save the report again."
                )
            points.append((len(tracks) - 1, *_parse_point(words, number, deep, path)))
        elif not line.strip():
            inside = False
    return build_tracks(pd.DataFrame(points, columns=POINT_COLUMNS), tracks, path, "mosaic-report")


def _check_unit(found: re.Match | None, path) -> None:
    if found and found.group(1).strip().lower() not in PIXELS:
        raise InputError(
            f"{path}: declares x in '{found.group(1)[:20]}', but versions of MosaicSuite differ in whether they wrote "
            "pixels there; give the file Traj_*.csv that it writes beside the report, in pixels, and --pixel-size."
        )


def _parse_point(words: list[str], number: int, deep: bool, path) -> tuple[float, float, float, float]:
    """Return frame, x, y, z; z is NaN in the two-dimensional layout."""
    try:
        frame, x, y, *others = map(float, words)
        return frame, x, y, others[0] if deep else float("nan")
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path}: line {number} holds '{' '.join(words)[:80]}', expected the numbers frame x y and more; correct "
            "the line or save the report again."
        ) from error
