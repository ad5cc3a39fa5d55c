"""Cases of files of MTrackJ, Imaris, Icy, MosaicSuite and u-track: as these programs write them, and damaged."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
from attack_cases import Case, Plan, Reading, infer, make_rows
from attack_damage import HOWS, damage
from attack_judge import read_result
from scipy.io import savemat

FAMILY = "programs"
SEEDS = 2
ENDINGS = {"MTrackJ": "mdf", "Imaris": "csv", "Icy": "xml", "MosaicSuite": "txt", "MosaicSuite table": "csv"}
MAT_HOWS = ("flip a byte", "flip ten bytes", "truncate", "delete a span", "duplicate a span", "zero a block")


def by_track(rows) -> dict[str, list]:
    """Rows of each track."""
    tracks = {}
    for row in rows:
        tracks.setdefault(row[0], []).append(row)
    return tracks


def format_mtrackj(rows) -> str:
    """MTrackJ's data file; its frames start at 1."""
    lines = ["MTrackJ 1.5.1 Data File", "Displaying true true true 1 2 0 3 100 4 0 0 0 2 1 12 0 true true true false"]
    lines += ["Assembly 1 FF0000", "Cluster 1 FF0000"]
    for track, points in by_track(rows).items():
        lines.append(f"Track {track} FF0000 true")
        lines += [f"Point {i} {x} {y} 1.0 {f}.0 1.0" for i, (_, f, x, y) in enumerate(points, 1)]
    return "\n".join([*lines, "End of MTrackJ Data File"]) + "\n"


def format_imaris(rows) -> str:
    """Imaris' Position.csv."""
    head = "Position X,Position Y,Position Z,Unit,Category,Collection,Time,TrackID,ID,"
    lines = [f"{x},{y},0,um,Spot,Position,{f},{t},{i}," for i, (t, f, x, y) in enumerate(rows)]
    return "\n".join(["", "Position", " ==================== ", head, *lines]) + "\n"


def format_icy(rows) -> str:
    """Icy's tracks."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<root>\n<trackfile version="1"/>',
        '<trackgroup description="a">',
    ]
    for track, points in by_track(rows).items():
        lines.append(f'<track id="{track}">')
        lines += [f'<detection t="{f}" x="{x}" y="{y}" z="0" type="1"/>' for _, f, x, y in points]
        lines.append("</track>")
    return "\n".join([*lines, "</trackgroup>", "<linklist/>", "</root>"]) + "\n"


def format_mosaic(rows) -> str:
    """The report of MosaicSuite."""
    lines = ["% Configuration:", "% \tKernel radius: 3", "", "%% Trajectories:", "%%\t 1st column: frame number"]
    for track, points in by_track(rows).items():
        lines += [f"%% Trajectory {track}", "%% frame x (pixel)     y (pixel)    z (pixel)      m0 "]
        lines += [f"{f} {x} {y} 0.000000 4.2 2.1 5.3 15.3 48.2 9.4" for _, f, x, y in points]
        lines.append("")
    return "\n".join(lines)


def format_mosaic_table(rows) -> str:
    """The table of MosaicSuite."""
    lines = [f"{i},{t},{f},{x},{y},0,4.2,2.1,5.3,15.3,48.2,9.4" for i, (t, f, x, y) in enumerate(rows, 1)]
    return "\n".join([" ,Trajectory,Frame,x,y,z,m0,m1,m2,m3,m4,NPscore", *lines]) + "\n"


FORMATS = {
    "MTrackJ": format_mtrackj,
    "Imaris": format_imaris,
    "Icy": format_icy,
    "MosaicSuite": format_mosaic,
    "MosaicSuite table": format_mosaic_table,
}


def make_text(program, rng) -> tuple[list, bytes]:
    """Rows, numbered from 1 where the program does, and the file."""
    rows = make_rows(rng, 4, 12, first_id=1, first_frame=1, digits=6)
    return rows, FORMATS[program](rows).encode()


def read_whole(program, folder, rng):
    """A whole file is read."""
    rows, text = make_text(program, rng)
    name = f"tracks.{ENDINGS[program]}"
    (folder / name).write_bytes(text)
    units = {"position": "um", "um_per_unit": 1.0} if program == "Imaris" else {}
    return Plan(infer(name), None, [Reading(rows, **units)])


def spoil(program, how, seed, folder, rng):
    """A damaged file accounts for all its points, or is refused."""
    _, text = make_text(program, rng)
    text = damage(text, how, rng)
    name = f"tracks.{ENDINGS[program]}"
    (folder / name).write_bytes(text)
    return Plan(infer(name), (name,), check=partial(account, name=name, program=program))


def is_point(line: str, program: str) -> bool:
    """Whether a line of a file looks like a point."""
    if program == "MTrackJ":
        return line.lstrip().lower().startswith("point")
    if program == "Icy":
        return "<detection" in line
    if program == "MosaicSuite":
        return bool(re.search(r"\d", line)) and not line.startswith("%")
    return line.count(",") > 4 and line.strip(" ,\r")[:1].isdigit()


def account(folder, name: str, program: str) -> str:
    """Say how many points of a damaged file a result lost, and whether its positions stand in the file."""
    text = (folder / name).read_bytes().decode("utf-8", "replace")
    n_points = sum(is_point(line, program) for line in text.split("\n"))
    record, tables = read_result(folder / "out")
    counts = record["counts"]
    n_read = counts["points"] + sum(counts["dropped"].values())
    if n_read != n_points:
        return f"{n_read} points read or dropped of {n_points}"
    words = set(text.replace('"', " ").replace(",", " ").split())
    numbers = {float(word) for word in words if word.replace(".", "", 1).replace("-", "", 1).isdigit()}
    for name in ("x", "y"):
        lost = [value for value in tables["points"][name] if value not in numbers]
        if lost:
            return f"{name} = {lost[0]} is not in the file"
    return ""


def write_mat(folder, rows, change=lambda final: final) -> str:
    """u-track's tracksFinal, a compound track of one segment for each track."""
    tracks = by_track(rows)
    final = np.empty(
        (len(tracks), 1), dtype=[(n, object) for n in ("tracksFeatIndxCG", "tracksCoordAmpCG", "seqOfEvents")]
    )
    for i, points in enumerate(tracks.values()):
        first, last = int(points[0][1]), int(points[-1][1])
        held = np.full((1, last - first + 1, 8), np.nan)
        for _, f, x, y in points:
            held[0, int(f) - first] = float(x), float(y), 0, 1, 0.1, 0.1, 0, 0.1
        events = np.array([[first, 1, 1, np.nan], [last, 2, 1, np.nan]])
        final[i, 0] = (np.ones((1, last - first + 1)), held.reshape(1, -1), events)
    savemat(folder / "tracks.mat", {"tracksFinal": change(final)}, do_compression=True)
    return "tracks.mat"


def change_mat(which, folder, rng):
    """u-track's file, whole or with contents that do not fit."""
    rows = make_rows(rng, 4, 12, first_id=1, first_frame=1)

    def change(final):
        """Spoil the first compound track."""
        coordinates, events = final[1, 0]["tracksCoordAmpCG"], final[1, 0]["seqOfEvents"]
        if which == "a coordinate short":
            final[1, 0]["tracksCoordAmpCG"] = coordinates[:, :-1]
        elif which == "a frame short":
            final[1, 0]["tracksCoordAmpCG"] = coordinates[:, :-8]
        elif which == "infinite":
            coordinates[0, 8] = np.inf
        elif which == "complex":
            final[1, 0]["tracksCoordAmpCG"] = coordinates * (1 + 1j)
        elif which == "text":
            final[1, 0]["tracksCoordAmpCG"] = "text"
        elif which == "no events":
            final[1, 0]["seqOfEvents"] = events[:0]
        elif which == "events of NaN":
            events[:] = np.nan
        elif which == "start after end":
            events[0, 0], events[1, 0] = events[1, 0], events[0, 0]
        elif which == "negative start":
            events[0, 0] = -5
        elif which == "fraction of a frame":
            events[0, 0] = 1.5
        elif which == "segment 9":
            events[0, 2] = 9
        elif which == "huge frame":
            events[:, 0] += 1e12
        elif which == "empty":
            final = final[:0]
        elif which == "other fields":
            final = np.array([[1.0, 2.0]])
        elif which == "x without y":
            coordinates[0, 9] = np.nan
        return final

    plan = Plan(infer(write_mat(folder, rows, change)), ("tracks.mat",))
    if which in ("whole", "huge frame", "segment 9", "no events"):
        plan.readings, plan.check_d = [Reading(rows, any_ids=True)], False
        plan.refusal = None if which == "whole" else plan.refusal
    return plan


def spoil_mat(how, seed, folder, rng):
    """A u-track file with damaged bytes, which its checksum shows."""
    rows = make_rows(rng, 4, 12, first_id=1, first_frame=1)
    path = folder / write_mat(folder, rows)
    path.write_bytes(damage(path.read_bytes(), how, rng))
    plan = Plan(infer("tracks.mat"), ("tracks.mat",), [Reading(rows, any_ids=True)])
    plan.check_d = False
    return plan


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values):
        text = ", ".join((build.__name__.replace("_", " "), *map(str, values)))
        cases.append(Case(FAMILY, text, partial(build, *values)))

    for program in FORMATS:
        add(read_whole, program)
        for how in HOWS:
            for seed in range(SEEDS):
                add(spoil, program, how, seed)
    for which in """whole;a coordinate short;a frame short;infinite;complex;text;no events;events of NaN
            start after end;negative start;fraction of a frame;segment 9;huge frame;empty;other fields
            x without y""".replace("\n", ";").split(";"):
        add(change_mat, which.strip())
    for how in MAT_HOWS:
        for seed in range(4):
            add(spoil_mat, how, seed)
    return cases
