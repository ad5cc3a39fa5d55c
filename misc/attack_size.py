"""Cases of size: many short tracks, one long track, many columns and files. None is quick."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
from attack_cases import Case, Plan, infer

FAMILY = "size"
SIZES = {  # name: tracks, points of each
    "300,000 tracks of 2 points": (300_000, 2),
    "100,000 tracks of 5 points": (100_000, 5),
    "one track of 100,000 points": (1, 100_000),
    "one track of 300,000 points": (1, 300_000),
    "1,000 tracks of 200 points": (1_000, 200),
    "1,000,000 tracks of 1 point": (1_000_000, 1),
}


def write_tracks(folder, rng, n_tracks: int, n_points: int) -> None:
    """Write a table of Brownian tracks."""
    xy = np.cumsum(rng.normal(0, 1, (n_tracks, n_points, 2)), axis=1).reshape(-1, 2)
    track, frame = np.repeat(np.arange(n_tracks), n_points), np.tile(np.arange(n_points), n_tracks)
    table = np.column_stack([track, frame, xy])
    np.savetxt(
        folder / "tracks.csv", table, ["%d", "%d", "%.4f", "%.4f"], ",", header="track_id,frame,x,y", comments=""
    )


def count(n: int, folder) -> str:
    """Say whether rows were lost."""
    counts = json.loads((folder / "out" / "run.json").read_text())["counts"]
    n_read = counts["points"] + sum(counts["dropped"].values())
    return "" if n_read == n else f"{n_read} rows read or dropped of {n}"


def analyse_many(which, options, folder, rng):
    """A large table is analysed within the limits."""
    n_tracks, n_points = SIZES[which]
    write_tracks(folder, rng, n_tracks, n_points)
    plan = Plan(infer("tracks.csv", *options, "--min-length", "20"), None, check=partial(count, n_tracks * n_points))
    return plan


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = [Case(FAMILY, name, partial(analyse_many, name, ()), quick=False) for name in SIZES]
    more = (("300,000 tracks of 2 points", "--andi"), ("100,000 tracks of 5 points", "--andi"))
    more += (("300,000 tracks of 2 points", "--report"), ("one track of 100,000 points", "--report"))
    return cases + [
        Case(FAMILY, f"{name}, {option}", partial(analyse_many, name, (option,)), quick=False) for name, option in more
    ]
