"""Cases of results folders: files of the user in them, links, a full disk, results that are damaged."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

from attack_cases import Case, Plan, Reading, infer, join, make_rows, write
from attack_harness import start

FAMILY = "results folder"
OWN_FILES = (  # names that results have too
    "points.parquet",
    "segments.parquet",
    "tracks.parquet",
    "points.csv",
    "run.json",
    "report.html",
    "kinetics.csv",
    "comparison.csv",
    "points.parquet.part",
    "run.json.part",
    "notes.txt",
    "figures/dwell_times.png",
    "figures/distributions.svg",
    "figures/mine.png",
    "track_2/exp_0/fov_0.txt",
    "track_2/exp_0/fov_0.txt.part",
    ".hidden",
    "old/points.parquet",
    ".tracewise",
)
DAMAGES = (
    "run.json missing;run.json empty;run.json a list;run.json cut;run.json null;run.json of another version"
    ";run.json without units;run.json without counts;run.json of text values;run.json nested deep;points missing"
    ";points empty;points cut;points a flipped byte;points of text;points without k;points with a row less"
    ";points of another run;segments missing;segments cut;segments a flipped byte;tracks missing;tracks cut"
    ";tracks of text;points a folder;run.json a folder;run.json huge number;segments of NaN;tracks with a row less"
).split(";")


def keep_files(name, options, folder, rng):
    """A folder with a file of the user in it stays as it is, or keeps this file."""
    rows = make_rows(rng)
    own = folder / "out" / name
    own.parent.mkdir(parents=True)
    own.write_text("mine\n")
    return Plan(infer(write(folder, join(rows)), *options), ("out",), [Reading(rows)])


def keep_beside_run(name, folder, rng):
    """--overwrite of a run leaves what the user added to its folder."""
    rows = make_rows(rng)
    file = write(folder, join(rows))
    run_before(infer(file), folder)
    own = folder / "out" / name
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("mine\n")
    plan = Plan(infer(file, "--overwrite", "--csv"), ("out",), [Reading(rows)])
    results = ("run.json", "points.parquet", "segments.parquet", "tracks.parquet", "points.csv")
    plan.may_write = tuple(f"out/{each}" for each in results)
    return plan


def run_before(command, folder: Path) -> None:
    """Run a command whose results a case needs."""
    logs = folder.parent / "before"
    logs.mkdir(exist_ok=True)
    done = start(command, folder, logs).wait()
    if done.code:
        raise RuntimeError(f"{command} failed: {done.err}")


def place_results(which, folder, rng):
    """Paths of --out that cannot be used, or that are odd."""
    rows = make_rows(rng)
    file = write(folder, join(rows))
    out = {
        "is a file": "file",
        "below a file": "file/out",
        "is the track file": file,
        "link to a folder": "link",
        "link to nothing": "gone",
        "link to itself": "loop",
        "empty": "",
        "dot": ".",
        "parent": "..",
        "root": "/",
        "too long": "n" * 300,
        "deep": "/".join(["d"] * 50),
        "deep and too long": "/".join(["d" * 200] * 30),
        "NUL": "a\0b",
        "not UTF-8": "a\udcff",
        "line end": "a\nb",
        "proc": "/proc/self/out",
        "dev null": "/dev/null",
        "dev full": "/dev/full/out",
        "empty folder": "empty",
        "spaces": " a b ",
        "dashes": "--",
    }[which]
    (folder / "file").write_text("mine")
    (folder / "empty").mkdir()
    (folder / "target").mkdir()
    for name, to in (("link", "target"), ("gone", "nowhere"), ("loop", "loop")):
        (folder / name).symlink_to(to)
    plan = Plan(infer(file), None)
    plan.command[3] = out
    plan.refusal = (out[:40], repr(out)[1:9], "--out", "a folder", "\\x") if out.strip() else ("--out",)
    good = ("deep", "not UTF-8", "line end", "spaces", "empty folder", "link to nothing")
    if which in good:
        plan.readings, plan.out = [Reading(rows)], {"link to nothing": "nowhere"}.get(which, out)
        plan.may_write = (out.split("/")[0],)
    return plan


def fill_disk(n_bytes, options, folder, rng):
    """A file that cannot grow beyond some bytes stands for a full disk."""
    rows = make_rows(rng, 40, 30)
    plan = Plan(infer(write(folder, join(rows)), *options), ("out", "written"), [Reading(rows)])
    plan.process = {"file_bytes": n_bytes}
    if "--report" in options:
        plan.command += ["--csv"]
    return plan


def fill_disk_of_run(command, n_bytes, folder, rng):
    """A full disk when results of an earlier run are added to, or replaced: the earlier ones stay."""
    rows = make_rows(rng, 20, 30)
    run_before(infer(write(folder, join(rows))), folder)
    command = infer("tracks.csv", "--overwrite") if command == "infer" else [command, "out"]
    plan = Plan(command, ("out", "written"), [Reading(rows)])
    plan.process = {"file_bytes": n_bytes}
    plan.may_write = (
        ("out",) if command[0] == "infer" else ("out/kinetics.csv", "out/figures", "out/report.html", "out/run.json")
    )  # it lists the files
    return plan


def damage_results(how, command, folder, rng):
    """Results that were damaged after they were written: read right, or refused by a sentence that names them."""
    rows = make_rows(rng, 6, 25)
    run_before(infer(write(folder, join(rows))), folder)
    name, _, what = how.partition(" ")
    path = folder / "out" / (name if name == "run.json" else f"{name}.parquet")
    data = path.read_bytes()
    if what == "missing":
        path.unlink()
    elif what == "a folder":
        path.unlink()
        path.mkdir()
    elif what in ("empty", "cut"):
        path.write_bytes(b"" if what == "empty" else data[: len(data) // 2])
    elif what == "a flipped byte":
        at = int(rng.integers(len(data)))
        path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
    elif name == "run.json":
        path.write_text(change_record(json.loads(data), what))
    else:
        change_table(path, what)
    plan = Plan([command, "out"], ("out",), check=lambda _: "" if what in LENIENT else f"accepted with {how}")
    plan.may_write = ("out/kinetics.csv", "out/figures", "out/report.html", "out/run.json")  # it lists the files
    return plan


REFUSED_AT_ONCE = ("run.json missing", "run.json empty", "run.json a list", "run.json cut", "run.json null")
LENIENT = ("a flipped byte", "of another version", "without counts", "without units", "of text values", "huge number")
LENIENT += ("with a row less", "of NaN", "missing", "of another run", "without k")


def change_record(record: dict, what: str) -> str:
    """Return the text of a run.json that is wrong in some way."""
    if what == "of another version":
        return json.dumps(record | {"code_version": "0.0.1"})
    if what in ("without units", "without counts"):
        return json.dumps({key: value for key, value in record.items() if key != what.split()[1]})
    if what == "of text values":
        return json.dumps({key: "text" for key in record})
    if what == "huge number":
        return json.dumps(record | {"inputs": [record["inputs"][0] | {"frame_interval_s": 1e300}]})
    return {"a list": "[1, 2]", "null": "null", "nested deep": "[" * 100_000}[what]


def change_table(path: Path, what: str) -> None:
    """Replace a table of results by one that is wrong in some way."""
    import pandas as pd  # kept beside the threads of pyarrow, which are closed in a forked process

    table = pd.read_parquet(path)
    if what == "of text":
        table = table.assign(x="text") if "x" in table else table.assign(n_frames="text")
    elif what == "without k":
        table = table.drop(columns="k")
    elif what == "with a row less":
        table = table.iloc[1:]
    elif what == "of another run":
        table = table.assign(track_id=table["track_id"] + 1000)
    elif what == "of NaN":
        table = table.assign(k=float("nan"), msd_1=float("nan"))
    table.to_parquet(path)


def copy_of_folder(command, which, folder, rng):
    """Folders that hold no results."""
    (folder / "out").mkdir()
    (folder / "file").write_text("x")
    name = {"empty folder": "out", "missing": "none", "file": "file", "empty name": "", "NUL": "a\0"}[which]
    shutil.rmtree(folder / "none", ignore_errors=True)
    return Plan([command, name], (name, "folder", "name", "run.json"))


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values, quick=True):
        text = ", ".join((build.__name__.replace("_", " "), *map(str, values)))
        cases.append(Case(FAMILY, text, partial(build, *values), quick=quick))

    for name in OWN_FILES:
        for options in ((), ("--overwrite",), ("--overwrite", "--csv", "--report")):
            add(keep_files, name, options, quick="--report" not in options)
        if name.split("/")[-1] in (
            "notes.txt",
            "mine.png",
            ".hidden",
            "run.json.part",
            "points.parquet.part",
            "mine.txt",
        ):
            add(keep_beside_run, name)
    for which in """is a file;below a file;is the track file;link to a folder;link to nothing;link to itself;empty;dot
            parent;root;too long;deep;deep and too long;NUL;not UTF-8;line end;proc;dev null;dev full;empty folder
            spaces;dashes""".replace("\n", ";").split(";"):
        add(place_results, which.strip())
    for n_bytes in (1000, 4096, 20_000, 60_000, 200_000):
        for options in ((), ("--csv",), ("--report",)):
            add(fill_disk, n_bytes, options, quick=options != ("--report",))
    for command in ("infer", "kinetics", "figures", "report"):
        for n_bytes in (1000, 5000, 20_000):
            add(fill_disk_of_run, command, n_bytes, quick=command == "infer")
    for how in DAMAGES:
        for command in ("kinetics", "report", "figures"):
            add(damage_results, how, command, quick=command == "kinetics" and how in REFUSED_AT_ONCE)
    for command in ("kinetics", "report", "figures"):
        for which in ("empty folder", "missing", "file", "empty name", "NUL"):
            add(copy_of_folder, command, which)
    return cases
