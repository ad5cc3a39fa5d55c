"""Judges what a command did with a case: whether it was refused in one sentence, or read whole."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from attack_cases import Plan, Reading
from attack_harness import MAX_BYTES, MAX_SECONDS, Done

KINDS = (
    "traceback",
    "silent change",
    "hang",
    "memory",
    "user's file lost",
    "half result",
    "several sentences",
    "wrongly refused",
)
MAX_SENTENCE = 600  # characters
WITHOUT_FULL_STOP = ("train", "ship", "calibrate", "benchmark", "simulate")  # commands of developers: one line will do
RELATIVE_ERROR = 1e-9  # of positions, which the tables hold as they stand in the file
D_ERROR = 1e-6  # of D, relative to the mean squared step
SENTENCE_END = re.compile(r"[a-z0-9)'\"][.!?] +[A-Z]")  # inside a line: a second sentence follows


@dataclass(frozen=True)
class Verdict:
    """ "ok", or one of KINDS and what was seen."""

    kind: str
    detail: str = ""


OK = Verdict("ok")


def judge(plan: Plan, done: Done, before: dict, after: dict, folder: Path) -> Verdict:
    """Judge one command by what it printed and left in the folder of the user."""
    if done.timed_out:
        return Verdict("hang", f"not finished after {MAX_SECONDS:g} s")
    if done.n_bytes > MAX_BYTES:
        return Verdict("memory", f"{done.n_bytes / 2**30:.1f} GiB")
    if done.code not in (0, 2) or "Traceback (most recent call last)" in done.err:
        last = (done.err.strip().splitlines() or ["nothing on stderr"])[-1]
        return Verdict("traceback", f"exit code {done.code}: {last[:300]}")
    lost = [path for path, value in before.items() if after.get(path) != value and not is_written(path, plan, done)]
    if lost:
        return Verdict("user's file lost", ", ".join(sorted(lost)[:5]))
    new = [path for path in after if path not in before]
    return judge_refusal(plan, done, new) if done.code == 2 else judge_acceptance(plan, done, new, folder)


def is_written(path: str, plan: Plan, done: Done) -> bool:
    """Whether an accepted command may change this path."""
    return done.code == 0 and any(path == allowed or path.startswith(allowed) for allowed in plan.may_write)


def judge_refusal(plan: Plan, done: Done, new: list[str]) -> Verdict:
    """Judge an exit code of 2: one sentence with the right name, and nothing written."""
    if new:
        return Verdict("half result", f"refused, but wrote {', '.join(sorted(new)[:5])}; {done.err.strip()[:200]}")
    problem = find_fault_of_sentence(done.err, plan.refusal, plan.command[0] not in WITHOUT_FULL_STOP)
    if problem:
        return Verdict("several sentences", f"{problem}: {done.err.strip()[:300]!r}")
    if plan.refusal is None:
        return Verdict("wrongly refused", done.err.strip()[:400])
    return OK


def find_fault_of_sentence(text: str, names: tuple[str, ...] | None, full_stop: bool = True) -> str:
    """Say what keeps a text from being one sentence that holds one of the names; empty if nothing does."""
    lines = text.strip().splitlines()
    if len(lines) != 1:
        return f"{len(lines)} lines"
    line = lines[0].strip()
    if full_stop and not line.endswith((".", "?")):
        return "no full stop"
    if len(line) > MAX_SENTENCE:
        return f"{len(line)} characters"
    if SENTENCE_END.search(line):
        return "two sentences"
    if names and not any(name in line for name in names):
        return f"names none of {', '.join(names)}"
    return ""


def judge_acceptance(plan: Plan, done: Done, new: list[str], folder: Path) -> Verdict:
    """Judge an exit code of 0: results only in their folder, and those of one of the right readings."""
    allowed = (plan.out, *plan.may_write)
    strange = [path for path in new if not any(path == a or path.startswith(f"{a}/") for a in allowed)]
    strange += [path for path in new if path.endswith(".part") or ".tracewise" in path]
    if strange:
        return Verdict("half result", f"accepted, but left {', '.join(sorted(strange)[:5])}")
    noise = [line for line in done.err.splitlines() if line.strip() and not line.startswith("warning: ")]
    if noise:
        return Verdict("several sentences", f"accepted, but printed {noise[0][:300]!r} on stderr")
    if plan.check is not None:
        problem = plan.check(folder)
        return Verdict("silent change", problem) if problem else OK
    if not plan.readings:
        return Verdict("silent change", f"accepted, must be refused; {describe_result(folder / plan.out)}")
    problems = []
    for reading in plan.readings:
        problem = compare(folder / plan.out, reading, plan.check_d)
        if not problem:
            return OK
        problems.append(problem)
    return Verdict("silent change", " / ".join(problems))


def describe_result(out: Path) -> str:
    """Say in a few words what a result holds."""
    try:
        record = json.loads((out / "run.json").read_text(encoding="utf-8"))
        source, counts = record["inputs"][0], record["counts"]
        return f"{counts['points']} points, format {source['format']}, unit {source['position']}"
    except (OSError, ValueError, LookupError) as error:
        return f"no readable run.json ({error})"


def read_result(out: Path) -> tuple[dict, dict[str, pd.DataFrame]]:
    """Read run.json and the tables of a results folder."""
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    tables = {}
    for name in ("points", "segments", "tracks"):
        # In one thread, because this process is forked.
        tables[name] = pq.ParquetFile(out / f"{name}.parquet", pre_buffer=False).read(use_threads=False).to_pandas()
    return record, tables


def compare(out: Path, reading: Reading, check_d: bool = True) -> str:
    """Say how a result differs from a reading; empty if it does not."""
    try:
        record, tables = read_result(out)
    except (OSError, ValueError, LookupError) as error:
        return f"results cannot be read ({error})"
    source, counts, true = record["inputs"][0], record["counts"], reading.table()
    n_rows = len(true) if reading.n_rows is None else reading.n_rows
    n_dropped = sum(counts["dropped"].values())
    if counts["points"] + n_dropped != n_rows:
        return f"{counts['points']} points and {n_dropped} dropped of {n_rows} rows"
    if counts["points"] + counts["dropped"].get("wrong", 0) != len(true):
        return f"{counts['points']} points, expected {len(true)} (dropped: {counts['dropped']})"
    for name in ("position", "um_per_unit", "frame_interval_s"):
        seen, wanted = source[name], getattr(reading, name)
        same = (
            seen == wanted
            if None in (seen, wanted) or name == "position"
            else np.isclose(seen, wanted, reading.interval_error, 0)
        )
        if not same:
            return f"{name} is {seen}, expected {wanted}"
    return compare_points(tables, true, reading) or (compare_d(tables["tracks"], true, reading) if check_d else "")


def compare_points(tables: dict, true: pd.DataFrame, reading: Reading) -> str:
    """Compare the points of analysed tracks, and the number of points of every track."""
    points, tracks = tables["points"], tables["tracks"]
    if reading.any_ids:
        if sorted(tracks["n_frames"]) != sorted(true.groupby("track_id").size()):
            return "numbers of points of the tracks differ"
        want = set(zip(true["frame"], true["x"], true["y"], strict=True))
        lost = [row for row in zip(points["frame"], points["x"], points["y"], strict=True) if row not in want]
        return f"point {lost[0]} is not in the file" if lost else ""
    sizes = true.groupby("track_id").size()
    seen = tracks.set_index("track_id")["n_frames"]
    if set(sizes.index) != set(seen.index):
        odd = sorted(set(sizes.index) ^ set(seen.index))[:3]
        return f"{len(seen)} tracks, expected {len(sizes)} (differ in {', '.join(map(str, odd))})"
    both = points.merge(true, "left", on=["track_id", "frame"], suffixes=("", "_true"), indicator=True)
    if (both["_merge"] != "both").any():
        row = both[both["_merge"] != "both"].iloc[0]
        return f"frame {row['frame']} of track {row['track_id']} is not in the file"
    for name in ("x", "y"):
        size = max(1e-300, float(true[name].abs().max()))
        wrong = ~np.isclose(both[name], both[f"{name}_true"], RELATIVE_ERROR, RELATIVE_ERROR * size * 1e-3)
        if wrong.any():
            row = both[wrong].iloc[0]
            return f"{name} of track {row['track_id']}, frame {row['frame']} is {row[name]}, not {row[f'{name}_true']}"
    step = true.sort_values(["track_id", "frame"]).groupby("track_id")["frame"].diff()
    cut = set(true["track_id"][step > 4])  # tracks with a gap that is not bridged, whose pieces may be short
    long = set(sizes[sizes >= 5].index)  # --min-length of all cases
    if set(points["track_id"]) - cut != long - cut:
        return f"points of {points['track_id'].nunique()} tracks, expected those of {len(long)}"
    return ""


def compare_d(tracks: pd.DataFrame, true: pd.DataFrame, reading: Reading) -> str:
    """Compare D of each track without gaps with the covariance-based estimator, in the units of the result."""
    scale, dt = reading.um_per_unit or 1.0, reading.frame_interval_s or 1.0
    seen = tracks.set_index("track_id")["d_cve"]
    known = tracks.set_index("track_id")["localization_error"].notna()
    for track, rows in true.sort_values(["track_id", "frame"]).groupby("track_id"):
        if len(rows) < 5 or (rows["frame"].diff().iloc[1:] != 1).any() or known[track]:
            continue
        step = rows[["x", "y"]].diff().iloc[1:].to_numpy() * scale
        d = ((step**2).mean(0) / 2 + (step[1:] * step[:-1]).mean(0)).mean() / dt
        if not abs(seen[track] - d) <= D_ERROR * (step**2).mean() / dt + 1e-300:
            return f"D of track {track} is {seen[track]:.6g}, expected {d:.6g}"
    return ""
