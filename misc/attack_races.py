"""Cases of rivals and kills: two commands at once in one folder, a file rewritten while it is read, kill -9 and again.

Two commands at once must end with one whole result: each that reports success finds its result there, and each other
says one sentence.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import torch
from attack_cases import Case, Reading, infer, join, make_rows, write
from attack_harness import Process, describe_tree, start
from attack_judge import OK, Verdict, compare, find_fault_of_sentence, read_result

FAMILY = "races"
ROUNDS = 2  # times that each pair is started
TINY = "--body lstm --hidden 4 --layers 1,1,1 --batch 8 --chunk 64 --val-batches 1 --val-every 4 --device cpu".split()
REWRITES = 25


def find_fault_of_end(done, names=()) -> Verdict | None:
    """Say what is wrong with how one of two processes ended; None if nothing is."""
    if done.timed_out:
        return Verdict("hang", "one of two processes")
    if done.code not in (0, 2) or "Traceback" in done.err:
        return Verdict("traceback", f"exit code {done.code}: {done.err.strip()[-300:]}")
    fault = find_fault_of_sentence(done.err, names, full_stop=False) if done.code == 2 else ""
    return Verdict("several sentences", f"{fault}: {done.err.strip()[:300]}") if fault else None


def wait_all(processes: list[Process]) -> tuple[list, Verdict | None]:
    """Wait for all processes; returns how they ended and the first fault."""
    ends = [process.wait() for process in processes]
    return ends, next((fault for fault in map(find_fault_of_end, ends) if fault), None)


def check_whole(folder: Path, rows: list[list], winners: list[int]) -> Verdict:
    """Check that the results are those of one of the processes that reported success."""
    if not winners:
        return Verdict("wrongly refused", "both were refused")
    left = [path for path in describe_tree(folder) if path.endswith(".part") or ".tracewise" in path]
    if left:
        return Verdict("half result", f"left {', '.join(left[:4])}")
    problems = [compare(folder / "out", Reading(rows[i])) for i in winners]
    if len(winners) > 1 and any(problems):
        return Verdict("silent change", f"both report success: {'; '.join(filter(None, problems))}")
    return Verdict("silent change", problems[0]) if problems[0] else OK


def infer_twice(how, folder, logs, rng) -> Verdict:
    """Two analyses of different files into one folder at once."""
    rows = [make_rows(rng, 6 + 20 * i, 30, first_id=100 * i) for i in range(2)]
    files = [write(folder, join(each), f"t{i}.csv") for i, each in enumerate(rows)]
    overwrite = ("--overwrite",) if "overwrite" in how else ()
    if overwrite:
        start(infer(files[0]), folder, logs).wait()
    if how == "infer twice, in one after 50 ms":
        processes = [start(infer(files[0], *overwrite), folder, logs)]
        time.sleep(0.05)
        processes.append(start(infer(files[1], *overwrite), folder, logs))
    else:
        processes = [start(infer(file, *overwrite), folder, logs) for file in files]
    ends, fault = wait_all(processes)
    winners = [i for i, end in enumerate(ends) if end.code == 0]
    return fault or check_whole(folder, rows, winners[-1:] if overwrite else winners)


def read_during_infer(command, how, folder, logs, rng) -> Verdict:
    """A command that reads results while they are replaced."""
    rows = [make_rows(rng, 6, 30, first_id=10 * i) for i in range(2)]
    files = [write(folder, join(each), f"t{i}.csv") for i, each in enumerate(rows)]
    start(infer(files[0]), folder, logs).wait()
    processes = [start(infer(files[1], "--overwrite"), folder, logs), start([command, "out"], folder, logs)]
    ends, fault = wait_all(processes)
    if fault:
        return fault
    record = read_result(folder / "out")[0]
    which = record["inputs"][0]["path"] if "path" in record["inputs"][0] else record["inputs"][0].get("file", "")
    true = rows[1] if str(which).endswith("t1.csv") else rows[0]
    if ends[0].code == 0 and true is rows[0]:
        return Verdict("silent change", "reports success, and the earlier results stand there")
    problem = compare(folder / "out", Reading(true))
    return Verdict("silent change", problem) if problem else OK


def read_twice(command, how, folder, logs, rng) -> Verdict:
    """The same command twice at once on finished results."""
    rows = make_rows(rng, 12, 30)
    start(infer(write(folder, join(rows))), folder, logs).wait()
    ends, fault = wait_all([start([command, "out"], folder, logs) for _ in range(2)])
    if fault:
        return fault
    problem = compare(folder / "out", Reading(rows))
    left = [path for path in describe_tree(folder) if path.endswith(".part") or ".tracewise" in path]
    if problem or left or all(end.code for end in ends):
        return Verdict("half result", problem or f"left {left[:3]}, exit codes {[end.code for end in ends]}")
    return OK


def train_command(run: str, *options: str) -> list[str]:
    """A training of seconds."""
    return ["train", "--run", run, "--target", "alpha", *TINY, *options]


def train_twice(how, folder, logs, rng) -> Verdict:
    """Two trainings into one run folder at once; afterwards it can be resumed."""
    options = [("--seed", "1", "--steps", "8"), ("--seed", "2", "--steps", "8")]
    if how == "train and resume":
        start(train_command("run", "--seed", "1", "--steps", "4", "--schedule", "trapezoid"), folder, logs).wait()
        options = [("--seed", "1", "--steps", "12", "--schedule", "trapezoid", "--resume")] * 2
    ends, fault = wait_all([start(train_command("run", *each), folder, logs) for each in options])
    if fault:
        return fault
    if all(end.code for end in ends):
        return Verdict("wrongly refused", ends[0].err.strip()[:300])
    if [end.code for end in ends] == [0, 0] and how == "train twice":
        return Verdict("silent change", "both report success")
    torch.load(folder / "run" / "last.pt", weights_only=True)
    left = [path for path in describe_tree(folder) if path.endswith(".part")]
    return Verdict("half result", f"left {left[:3]}") if left else OK


def rewrite_while_read(ending, folder, logs, rng) -> Verdict:
    """A file that is rewritten while it is analysed: the result is one of its states, or it is refused."""
    rows = [make_rows(rng, 300, 30, first_id=1000 * i) for i in range(2)]
    texts = [join(each) for each in rows]
    write(folder, texts[0])
    process = start(infer("tracks.csv", "--out", "out"), folder, logs)
    for i in range(REWRITES):
        time.sleep(float(rng.uniform(0, 0.03)))
        if ending == "in place":
            write(folder, texts[i % 2])
        else:
            write(folder, texts[i % 2], "new.csv")
            (folder / "new.csv").replace(folder / "tracks.csv")
    end = process.wait()
    fault = find_fault_of_end(end, ("tracks.csv",))
    if fault or end.code == 2:
        return fault or OK
    from main.utils.files import sha256  # of the state that the record claims

    record = read_result(folder / "out")[0]
    for true, text in zip(rows, texts, strict=True):
        (folder / "state.csv").write_text(text)
        if sha256(folder / "state.csv") == record["inputs"][0]["sha256"]:
            problem = compare(folder / "out", Reading(true))
            return Verdict("silent change", f"results are not those of its sha256: {problem}") if problem else OK
    return Verdict("silent change", "sha256 is that of no state of the file")


def kill_infer(seed, folder, logs, rng) -> Verdict:
    """Kill -9 at a random moment: no half table; the command that was killed works when it is called again."""
    rows = make_rows(rng, 200, 25)
    command = infer(write(folder, join(rows)), "--csv", "--report")
    before = describe_tree(folder)
    process = start(command, folder, logs)
    time.sleep(float(rng.uniform(0.02, 1.5)))
    process.kill()
    killed = process.wait()
    if any(describe_tree(folder).get(path) != value for path, value in before.items()):
        return Verdict("user's file lost", "after kill -9")
    finished = (folder / "out" / "run.json").exists()
    if finished and (problem := compare(folder / "out", Reading(rows))):
        return Verdict(
            "half result", f"killed (code {killed.code}), but run.json stands beside wrong tables: {problem}"
        )
    again = start(command if not (folder / "out").exists() else [*command, "--overwrite"], folder, logs).wait()
    if again.code != 0:
        fault = find_fault_of_end(again)
        return fault or Verdict("wrongly refused", f"after kill -9: {again.err.strip()[:300]}")
    return check_whole(folder, [rows], [0])


def kill_overwrite(seed, folder, logs, rng) -> Verdict:
    """Kill -9 while results are replaced: the tables are whole, and run.json belongs to them or is missing."""
    rows = [make_rows(rng, 60, 25, first_id=1000 * i) for i in range(2)]
    for i, each in enumerate(rows):
        write(folder, join(each), f"t{i}.csv")
    start(infer("t0.csv"), folder, logs).wait()
    process = start(infer("t1.csv", "--overwrite"), folder, logs)
    time.sleep(float(rng.uniform(0.02, 0.8)))
    process.kill()
    process.wait()
    if (folder / "out" / "run.json").exists():
        problems = [compare(folder / "out", Reading(each)) for each in rows]
        if all(problems):
            return Verdict("half result", f"run.json beside tables of another run: {' / '.join(problems)}")
    for path in (folder / "out").glob("*.parquet"):
        pq.ParquetFile(path).close()
    again = start(infer("t1.csv", "--overwrite"), folder, logs).wait()
    if again.code:
        return find_fault_of_end(again) or Verdict("wrongly refused", again.err.strip()[:300])
    return check_whole(folder, [rows[1]], [0])


def kill_training(seed, folder, logs, rng) -> Verdict:
    """Kill -9 in a training: --resume goes on, or says that there is nothing to go on with."""
    command = train_command("run", "--seed", "1", "--steps", "400")
    process = start(command, folder, logs)
    time.sleep(float(rng.uniform(0.1, 3)))
    process.kill()
    process.wait()
    again = start([*command[: command.index("400")], "12", "--resume"], folder, logs).wait()
    return find_fault_of_end(again) or OK


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(name, play, *values, quick=False):
        for i in range(ROUNDS):
            cases.append(Case(FAMILY, f"{name}, {i}", play=partial(play, *values), quick=quick and i == 0))

    for how in ("infer twice, fresh", "infer twice, overwrite", "infer twice, in one after 50 ms"):
        add(how, infer_twice, how, quick="fresh" in how)
    for command in ("kinetics", "report", "figures"):
        add(f"infer --overwrite and {command}", read_during_infer, command, "")
        add(f"{command} twice", read_twice, command, "")
    for how in ("train twice", "train and resume"):
        add(how, train_twice, how)
    for ending in ("in place", "by another file"):
        add(f"file rewritten {ending} while it is read", rewrite_while_read, ending)
    for seed in range(8):
        cases.append(Case(FAMILY, f"kill -9 of infer, {seed}", play=partial(kill_infer, seed), quick=seed == 0))
        cases.append(
            Case(FAMILY, f"kill -9 of infer --overwrite, {seed}", play=partial(kill_overwrite, seed), quick=False)
        )
    for seed in range(4):
        cases.append(Case(FAMILY, f"kill -9 of train, {seed}", play=partial(kill_training, seed), quick=False))
    return cases
