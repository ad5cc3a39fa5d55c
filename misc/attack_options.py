"""Cases of options: hostile values for the options of every command."""

from __future__ import annotations

from functools import partial

from attack_cases import OPTIONS, Case, Plan, Reading, infer, join, make_rows, write

FAMILY = "options"
NUMBERS = (
    "nan;inf;-inf;-1;0;1e-300;1e-12;1e154;1e155;1e300;1e999;text;;5um;0,1;1_0;0x10;true;½;１;--1;1e-400;9e9;1/3;None"
).split(";")
RIGHT = {  # option -> values above that can be used
    "--pixel-size": (),
    "--frame-interval": (),
    "--localization-error": ("0", "1e-400"),  # Python reads it as 0
    "--exposure": ("0", "1e-300", "1e-12", "1e-400", "-0"),
    "--min-length": (),
}
UNUSUAL = ("１", "1_0", "9e9")  # Python reads these as numbers, so they may be taken


def give_number(option, value, folder, rng):
    """One option that takes a number."""
    rows = make_rows(rng)
    plan = Plan(infer(write(folder, join(rows)), f"{option}={value}"), (option,))
    if value in RIGHT[option] or value in UNUSUAL:
        plan.check = check_finite
    if option == "--frame-interval" and value in ("1e-12",):
        plan.check = check_finite
    return plan


def check_finite(folder) -> str:
    """Say whether the tables hold infinite values, which no option of a sane size makes."""
    import numpy as np  # as below
    from attack_judge import read_result  # the judge imports the neighbours of this module

    for name, table in read_result(folder / "out")[1].items():
        numbers = table.select_dtypes("number").to_numpy(dtype=float)
        if np.isinf(numbers).any():
            return f"{name} holds infinite values"
    return ""


SANE = {
    "--pixel-size 0.1": dict(um_per_unit=0.1),
    "--pixel-size 1e-3": dict(um_per_unit=1e-3),
    "--frame-interval 0.02": dict(frame_interval_s=0.02),
    "--frame-interval 3600": dict(frame_interval_s=3600.0),
    "--pixel-size 0.16 --frame-interval 1e-3": dict(um_per_unit=0.16, frame_interval_s=1e-3),
    "--localization-error 0.1": {},
    "--exposure 1": {},
    "--min-length 6": {},
    "--csv --report": {},
    "--adapt sample": {},
    "--adapt none --device cpu": {},
    "--correct-drift": {},
}


def give_sane(options, folder, rng):
    """Ordinary options work, and units come out as they are given."""
    rows = make_rows(rng)
    command = infer(write(folder, join(rows)), *options.split())
    if "sample" in options:
        command[command.index("fast")] = "sample"
    plan = Plan(command, None, [Reading(rows, **SANE[options])])
    plan.check_d = "error" not in options
    return plan


WRONG = {  # name: options of infer
    "unknown option": ["--nope"],
    "abbreviated option": ["--pix", "0.1"],
    "option twice": ["--pixel-size", "0.1", "--pixel-size", "nan"],
    "no value": ["--pixel-size"],
    "min-length of a fraction": ["--min-length", "5.5"],
    "min-length of 4": ["--min-length", "4"],
    "min-length huge": ["--min-length", "1" + "0" * 5000],
    "min-length of 10^18": ["--min-length", str(10**18)],
    "device tpu": ["--device", "tpu"],
    "device cuda": ["--device", "cuda"],
    "adapt both": ["--adapt", "both"],
    "scheduler nowhere": ["--scheduler", "tcp://127.0.0.1:1"],
    "scheduler of text": ["--scheduler", "not an address"],
    "scheduler empty": ["--scheduler", ""],
    "scheduler a file": ["--scheduler", "tracks.csv"],
    "weights missing": ["--weights", "nowhere"],
    "weights empty": ["--weights", ""],
    "weights above": ["--weights", "../../etc"],
    "weights of a file": ["--weights", "tracks.csv"],
    "weights of an empty folder": ["--weights", "empty"],
    "weights of NUL": ["--weights", "a\0b"],
    "weights for other data": ["--weights", "brownian"],
    "sample with weights of single tracks": ["--adapt", "sample", "--weights", "fast"],
    "condition without files": ["--condition", "wt"],
    "condition and files": ["--condition", "wt", "tracks.csv"],
    "estimate of little": ["--localization-error", "estimate"],
    "two error words": ["--localization-error", "estimated"],
    "out empty": ["--out", ""],
    "format empty": ["--format", ""],
    "surrogate": ["--weights", "\udcff"],
    "argument file": ["@/etc/passwd"],
    "correct-drift with a value": ["--correct-drift=1"],
}
MAY_WORK = ("abbreviated option", "sample with weights of single tracks", "min-length of 10^18", "estimate of little")
MAY_WORK += ("scheduler empty", "weights for other data")


def give_wrong(which, folder, rng):
    """Options that cannot be used."""
    rows = make_rows(rng)
    (folder / "empty").mkdir()
    file = write(folder, join(rows))
    options = WRONG[which]
    plan = Plan(["infer", file, *OPTIONS, *options], (options[0].split("=")[0], *options[1:], "weights", "wt", file))
    plan.check = (lambda _: "") if which in MAY_WORK else None
    return plan


CONDITIONS = {
    "two": ["--condition", "wt", "a.csv", "--condition", "mutant", "b.csv"],
    "same name twice": ["--condition", "wt", "a.csv", "--condition", "wt", "b.csv"],
    "odd names": ["--condition", "<b>\n&", "a.csv", "--condition", "../x", "b.csv"],
    "empty name": ["--condition", "", "a.csv", "--condition", "b", "b.csv"],
    "long name": ["--condition", "n" * 5000, "a.csv", "--condition", "b", "b.csv"],
    "pattern": ["--condition", "wt", "*.csv"],
    "same file in both": ["--condition", "wt", "a.csv", "--condition", "b", "a.csv"],
    "surrogate": ["--condition", "\udcff", "a.csv", "--condition", "b", "b.csv"],
    "control": ["--condition", "\x1b[31m", "a.csv", "--condition", "b", "b.csv"],
}


def name_conditions(which, folder, rng):
    """Names and files of conditions."""
    for i, name in enumerate(("a.csv", "b.csv")):
        write(folder, join(make_rows(rng, first_id=10 * i)), name)
    plan = Plan(["infer", *OPTIONS, *CONDITIONS[which], "--report"], ("condition", "a.csv"))
    plan.check = count_two if which != "same file in both" else None
    return plan


def count_two(folder) -> str:
    """Say whether the two files of conditions were not both read."""
    from attack_judge import read_result  # as above

    record, tables = read_result(folder / "out")
    if record["counts"]["points"] != 96 or len(tables["tracks"]) != 8:
        return f"{record['counts']['points']} points of {len(tables['tracks'])} tracks, expected 96 of 8"
    return ""


OTHERS = (  # commands with wrong options; none may be accepted
    "kinetics",
    "kinetics a b",
    "kinetics --nope",
    "kinetics nowhere",
    "report",
    "report nowhere",
    "report a b",
    "figures",
    "figures nowhere",
    "check",
    "check nowhere.csv",
    "check --pixel-size nan tracks.csv",
    "check --min-length 0 tracks.csv",
    "check .",
    "check tracks.csv --columns x=no",
    "train --steps -1 --run run",
    "train --steps 0.5 --run run",
    "train --steps nan --run run",
    "train --lr nan --steps 1 --run run",
    "train --lr -1 --steps 1 --run run",
    "train --lr inf --steps 1 --run run",
    "train --batch 0 --steps 1 --run run",
    "train --batch -5 --steps 1 --run run",
    "train --chunk 0 --steps 1 --run run",
    "train --hidden 0 --steps 1 --run run",
    "train --hidden -1 --steps 1 --run run",
    "train --layers 0 --steps 1 --run run",
    "train --layers a,b --steps 1 --run run",
    "train --dropout 2 --steps 1 --run run",
    "train --dropout nan --steps 1 --run run",
    "train --gaps -1 --steps 1 --run run",
    "train --gaps nan --steps 1 --run run",
    "train --focal nan --steps 1 --run run",
    "train --clip 0 --steps 1 --run run",
    "train --clip nan --steps 1 --run run",
    "train --val-every 0 --steps 1 --run run",
    "train --val-batches -1 --steps 1 --run run",
    "train --minutes nan --steps 1 --run run",
    "train --minutes -1 --steps 1 --run run",
    "train --weight-decay nan --steps 1 --run run",
    "train --target nothing --steps 1 --run run",
    "train --body none --steps 1 --run run",
    "train --schedule none --steps 1 --run run",
    "train --features none --steps 1 --run run",
    "train --only nothing-known --steps 1 --run run",
    "train --init nowhere --steps 1 --run run",
    "train --prior nowhere --steps 1 --run run",
    "train --prior tracks.csv --steps 1 --run run",
    "train --data nowhere --steps 1 --run run",
    "train --data . --steps 1 --run run",
    "train --device tpu --steps 1 --run run",
    "train --device cuda --steps 1 --run run",
    "train --resume --run nowhere --steps 1",
    "train --seed -1 --steps 1 --run run",
    "train --seed x --steps 1 --run run",
    "train --run tracks.csv --steps 1",
    "train --run tracks.csv/run --steps 1",
    "train --run /proc/self/run --steps 1",
    "ship",
    "ship --name a/b",
    "ship --name a/b nowhere",
    "ship --name a/b .",
    "ship --name a/b tracks.csv",
    "calibrate --weights nowhere",
    "calibrate --weights .",
    "calibrate --tracks 0 --weights empty",
    "calibrate --tracks -5 --weights empty",
    "calibrate --prior nowhere --weights empty",
    "benchmark --weights nowhere --out b",
    "benchmark --fovs 0 --out b",
    "benchmark --fovs -1 --out b",
    "benchmark --methods none --out b",
    "benchmark --seed x --out b",
    "benchmark --out tracks.csv",
    "benchmark --fit-penalty --out b",
    "simulate --out tracks.csv",
    "simulate --tracks 0 --out sims",
    "simulate --tracks -1 --out sims",
    "simulate --frames 0 --out sims",
    "simulate --frames -3 --out sims",
    "simulate --models 9 --out sims",
    "simulate --prior nowhere --out sims",
    "simulate --seed x --out sims",
    "simulate --workers x --out sims",
)


def call_wrongly(line, folder, rng):
    """A command with options that cannot be used."""
    write(folder, join(make_rows(rng)))
    (folder / "empty").mkdir()
    command = line.split(" ")
    words = tuple(word for word in command[1:] if word)
    return Plan(command, (*words, "RESULTS", "TRACKS", "--name", "runs", "nothing", "weights"))


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values):
        text = ", ".join((build.__name__.replace("_", " "), *values))
        cases.append(
            Case(FAMILY, text, partial(build, *values), quick=not values[-1].startswith(("benchmark", "cali")))
        )

    for option in RIGHT:
        for value in NUMBERS:
            add(give_number, option, value)
    for options in SANE:
        add(give_sane, options)
    for which in WRONG:
        add(give_wrong, which)
    for which in CONDITIONS:
        add(name_conditions, which)
    for line in OTHERS:
        add(call_wrongly, line)
    return cases
