"""Cases of values: scales, offsets, words, types, whole numbers, identifiers, frames, order."""

from __future__ import annotations

from functools import partial

import numpy as np
from attack_cases import HEADER, Case, Plan, Reading, infer, join, make_rows, may_read, must_read, must_refuse, write

FAMILY = "values"
SANE_SCALES = ("1e-3", "1e-2", "1e2", "1e3", "1e4")
ODD_SCALES = ("1e-30", "1e-20", "1e-15", "1e-12", "1e-9", "1e-6", "1e6", "1e9", "1e12", "1e15", "1e20", "1e38", "1e150")
MORE_SCALES = ("1e-300", "1e-310", "1e154", "1e200", "1e300", "1e308")
OFFSETS = ("0", "-50", "1e5", "1e9", "1e12", "1e15", "1e17", "1e20", "-1e9", "1e300")
NO_NUMBERS = (
    "nan;NaN;NAN;inf;-inf;Infinity;+Infinity;1e999;-1e999;NA;N/A;#N/A;null;None;NULL;nil;-;--;?;.;x;abc;1.2.3;1e;e5;"
    "0x1F;0b11;1_000;1 000;1,5;12:30;2026-11-24;1/2;1+2;=1+1;$5;5%;5um;5 µm;true;False;TRUE;<b>;\\N;#DIV/0!;#REF!;"
    "１２;٣;½;²;−5;1e5.5;0o17;(5);[5];{5};+-5;1d5;1f;5L;infinit;nan(1);1.#IND;1.#INF;**;5*"
).split(";")
UNUSUAL_NUMBERS = (
    "+5",
    "5.",
    ".5",
    "-.5",
    "5e0",
    "5E+0",
    "05",
    "5.0000000000000000000000001",
    "  5",
    "-0",
    "0e0",
    "5e-0",
)


def scale_rows(rows, scale: str, offset: str = "0") -> list:
    """Rows with positions times a scale plus an offset, as texts that hold all digits."""
    factor, shift = float(scale), float(offset)
    return [[*row[:2], *(repr(float(v) * factor + shift) for v in row[2:])] for row in rows]


def scale_positions(scale, folder, rng):
    """All positions times a factor."""
    rows = scale_rows(make_rows(rng), scale)
    if scale in SANE_SCALES:
        return must_read(folder, join(rows), rows)
    plan = may_read(folder, join(rows), rows, names=("x",))
    plan.check_d = abs(np.log10(float(scale))) < 100
    return plan


def keep_state(scale, folder, rng):
    """States and alpha of scaled positions are those of scale 1, or the file is refused."""
    rows = make_rows(rng, 4, 25)
    plan = may_read(folder, join(scale_rows(rows, scale)), rows, names=("x",))
    plan.check = partial(compare_states, float(scale), rows)
    return plan


def compare_states(scale, rows, folder) -> str:
    """Say whether K, alpha, or state of segments depend on the unit of length."""
    from attack_judge import read_result  # the judge imports the cases of this module's neighbour

    from main.tracks.analysis import analyse  # imports torch, which only these cases need here

    _, tables = read_result(folder / "out")
    base = analyse(Reading(rows).table(), weights="fast", min_length=5).segments
    seen = tables["segments"]
    if len(seen) != len(base) or (seen["state"].to_numpy() != base["state"].to_numpy()).any():
        return f"states of scale {scale:g} differ from those of scale 1"
    if not np.allclose(seen["alpha"], base["alpha"], atol=1e-3):
        return f"alpha of scale {scale:g} differs from that of scale 1"
    return "" if np.allclose(seen["k"] / scale**2, base["k"], rtol=1e-2) else f"K is not that of scale 1 x {scale:g}^2"


def offset_positions(offset, folder, rng):
    """All positions far from the origin."""
    rows = scale_rows(make_rows(rng), "1", offset)
    plan = (must_read if abs(float(offset)) <= 1e5 else may_read)(folder, join(rows), rows)
    plan.check_d = abs(float(offset)) <= 1e5
    return plan


def place_value(value, column, folder, rng):
    """One field that is no number."""
    rows = make_rows(rng)
    broken = [list(row) for row in rows]
    i = int(rng.integers(len(rows)))
    broken[i][HEADER.index(column)] = value
    text = join(broken, sep=";") if "," in value else join(broken)
    if column == "track_id" and value.lower() in ("nan", "na", "n/a", "#n/a", "null", "none", "-", "--"):
        rest = [row for row in rows if row is not rows[i]]  # a point of no track, as programs write it
        plan = may_read(folder, text, rest, n_rows=len(rows), names=("row",))
        plan.check_d = False
        return plan
    return must_refuse(folder, text)


def place_number(value, column, folder, rng):
    """One field with a number in an unusual spelling."""
    rows = make_rows(rng, offset=5.0)
    rows[6][HEADER.index(column)] = value.strip()
    if column == "track_id" or column == "frame":
        rows = [row for row in rows if row[0] == "0"][:1] + make_rows(rng, first_id=100, n_tracks=2)
        rows[0][HEADER.index(column)] = value
        whole = float(value) == round(float(value))
        true = [[int(float(rows[0][0])), int(float(rows[0][1])), *rows[0][2:]], *rows[1:]] if whole else rows
        return may_read(folder, join(rows), true) if whole else must_refuse(folder, join(rows))
    plan = may_read(folder, join(rows), rows)
    plan.check_d = False
    return plan


def fill_column(value, column, folder, rng):
    """A whole column of one value that is no number."""
    rows = make_rows(rng)
    for row in rows:
        row[HEADER.index(column)] = value
    return must_refuse(folder, join(rows))


def place_whole(value, column, folder, rng):
    """Track numbers and frames of any size: exact, or refused."""
    rows = make_rows(rng)
    i = HEADER.index(column)
    other = str(int(value) + (1 if int(value) >= 0 else -1))
    if column == "track_id":
        change = {"0": value, "1": other}
        for row in rows:
            row[i] = change.get(row[i], row[i])
        plan = may_read(folder, join(rows), rows)
        if int(value) < 0:  # -1 stands for "in no track"
            readings = [Reading([r for r in rows if int(r[0]) >= 0], len(rows))]
            readings += [Reading([r for r in rows if r[0] != "-1"], len(rows))]
            plan.readings = readings + (plan.readings if value != "-1" else [])
        return plan
    for row in rows:
        row[i] = str(int(value) + int(row[i]))
    plan = may_read(folder, join(rows), rows)
    return plan


def place_fraction(value, column, folder, rng):
    """A track number or frame that is no whole number."""
    rows = make_rows(rng)
    rows[5][HEADER.index(column)] = value
    return must_refuse(folder, join(rows))


def merge_ids(first, second, folder, rng):
    """Two tracks whose numbers are equal as 64-bit floats, or after overflow; their frames interleave."""
    rows = make_rows(rng, 2, 24)
    rows = [row for row in rows if (int(row[1]) % 2 == 0) == (row[0] == "0")]
    for row in rows:
        row[0] = first if row[0] == "0" else second
    true = [[row[0].removesuffix(".0"), *row[1:]] for row in rows]
    plan = may_read(folder, join(rows), true)
    plan.check_d = False
    return plan


def mark_unassigned(how, folder, rng):
    """-1 and empty fields stand for points of no track: never analysed as a track."""
    rows = make_rows(rng, 4, 12)
    mark = {"-1": "-1", "empty": "", "-1.0": "-1.0", "nan": "nan", "-2": "-2"}[how.split(" ")[0]]
    once = "repeated frames" not in how
    marked = [
        [mark if row[0] == "3" else row[0], str(int(row[1]) if once else int(row[1]) // 2), *row[2:]] for row in rows
    ]
    if not once:
        marked = [row if row[0] == mark else [*old[:2], *row[2:]] for row, old in zip(marked, rows, strict=True)]
    header = ("trajectory", "frame", "x", "y") if "saspt" in how else HEADER
    plan = may_read(folder, join(marked, header), [row for row in rows if row[0] != "3"], n_rows=len(rows))
    if mark == "-2" and "saspt" not in how:
        plan.readings.append(Reading(marked))  # a number like any other
    return plan


def order_rows(how, folder, rng):
    """Order of rows does not matter; a repeated point does."""
    rows = make_rows(rng, 4, 12)
    if how == "shuffled":
        mixed = [rows[i] for i in rng.permutation(len(rows))]
    elif how == "reversed":
        mixed = rows[::-1]
    elif how == "by frame":
        mixed = sorted(rows, key=lambda row: int(row[1]))
    else:
        extra = {
            "same row twice": rows[7],
            "same frame, other place": [*rows[7][:2], "1", "2"],
            "same row at the end": rows[0],
        }[how]
        plan = must_refuse(folder, join([*rows, extra] if "end" in how else [*rows[:8], extra, *rows[8:]]))
        return plan
    return must_read(folder, join(mixed), rows)


def shape_tracks(how, folder, rng):
    """Tracks that are short, constant, straight, with gaps, or only one."""
    sizes = {"one point each": (30, 1), "two points each": (30, 2), "one track of one point": (1, 1)}
    sizes |= {"one track of 3000 points": (1, 3000), "2000 tracks of 2 points": (2000, 2)}
    rows = make_rows(rng, *sizes.get(how, (3, 20)))
    if how == "constant":
        rows = [[*row[:2], "5.5", "7.25"] for row in rows]
    elif how == "constant x":
        rows = [[*row[:2], "5.5", row[3]] for row in rows]
    elif how == "all zero":
        rows = [[*row[:2], "0", "0"] for row in rows]
    elif how == "straight":
        rows = [[*row[:2], row[1], str(2 * int(row[1]))] for row in rows]
    elif how == "every second frame":
        rows = [[row[0], str(2 * int(row[1])), *row[2:]] for row in rows]
    elif how == "gaps of a thousand":
        rows = [[row[0], str(1000 * int(row[1])), *row[2:]] for row in rows]
    elif how == "gap of 10^15":
        rows = [[row[0], str(int(row[1]) + (10**15 if int(row[1]) > 9 else 0)), *row[2:]] for row in rows]
    elif how == "rounded":
        rows = [[*row[:2], *(f"{float(v):.0f}" for v in row[2:])] for row in rows]
    odd = how in ("constant", "all zero", "gap of 10^15", "gaps of a thousand")
    plan = (may_read if odd else must_read)(folder, join(rows), rows)
    return plan


def give_type(how, folder, rng):
    """Whole columns of other types."""
    rows = make_rows(rng)
    change = {
        "bool x": lambda i, r: [r[0], r[1], ("True", "False")[i % 2], r[3]],
        "bool track": lambda i, r: [("True", "False")[int(r[0]) % 2], str(i), *r[2:]],
        "dates in frame": lambda i, r: [r[0], f"2026-11-{1 + int(r[1]):02d}", *r[2:]],
        "times in frame": lambda i, r: [r[0], f"00:00:{int(r[1]):02d}", *r[2:]],
        "dates in x": lambda i, r: [r[0], r[1], "2026-11-24", r[3]],
        "hex x": lambda i, r: [r[0], r[1], hex(int(float(r[2]))), r[3]],
        "names of tracks": lambda i, r: [f"cell{r[0]}", *r[1:]],
        "letters of tracks": lambda i, r: ["ABCD"[int(r[0])], *r[1:]],
        "complex x": lambda i, r: [r[0], r[1], f"{r[2]}+0j", r[3]],
        "units in values": lambda i, r: [r[0], r[1], f"{r[2]} um", f"{r[3]} um"],
        "pairs in x": lambda i, r: [r[0], r[1], f"({r[2]} {r[3]})", r[3]],
        "floats of whole numbers": lambda i, r: [f"{r[0]}.0", f"{r[1]}.000", *r[2:]],
        "scientific": lambda i, r: [*r[:2], f"{float(r[2]):.6e}", f"{float(r[3]):.6E}"],
        "leading zeros": lambda i, r: [f"{int(r[0]):05d}", f"{int(r[1]):05d}", *r[2:]],
        "plus signs": lambda i, r: [r[0], r[1], f"+{r[2]}", f"+{r[3]}"],
        "17 digits": lambda i, r: [*r[:2], f"{float(r[2]):.17f}", f"{float(r[3]):.17f}"],
        "40 digits": lambda i, r: [*r[:2], r[2] + "0" * 40, r[3] + "0" * 40],
    }[how]
    changed = [change(i, row) for i, row in enumerate(rows)]
    good = ("floats of whole numbers", "scientific", "leading zeros", "plus signs", "17 digits", "40 digits")
    if how in good:
        true = [[row[0], row[1], *new[2:]] for row, new in zip(rows, changed, strict=True)]
        return must_read(folder, join(changed), true)
    if "of tracks" in how:
        plan = may_read(folder, join(changed), rows)
        plan.readings = [Reading(rows, any_ids=True)]
        return plan
    return must_refuse(folder, join(changed))


def add_error_column(name, value, folder, rng):
    """Columns that may be a localisation error, with hostile values."""
    rows = make_rows(rng)
    pair = {"x_err": ("x_err", "y_err"), "lpx": ("lpx", "lpy")}.get(name, (name,))
    text = join([[*row, *[value] * len(pair)] for row in rows], (*HEADER, *pair))
    plan = may_read(folder, text, rows, names=(name, "sigma"))
    plan.check_d = name in ("sigma", "sigma_x", "ep")
    return plan


def add_reserved_column(name, value, folder, rng):
    """Columns of the names that the analysis itself adds."""
    rows = make_rows(rng)
    text = join([[*row, value] for row in rows], (*HEADER, name))
    return Plan(infer(write(folder, text)), (name,), [Reading(rows)])


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values):
        text = ", ".join((build.__name__.replace("_", " "), *map(str, values)))
        cases.append(Case(FAMILY, text, partial(build, *values)))

    for scale in (*SANE_SCALES, *ODD_SCALES, *MORE_SCALES):
        add(scale_positions, scale)
    for scale in ("1e-15", "1e-6", "1e-3", "1e3", "1e6", "1e20", "1e30"):
        add(keep_state, scale)
    for offset in OFFSETS:
        add(offset_positions, offset)
    for i, value in enumerate(NO_NUMBERS):
        for column in {"x", HEADER[i % 4]}:
            add(place_value, value, column)
    for value in UNUSUAL_NUMBERS:
        for column in ("track_id", "frame", "x"):
            add(place_number, value, column)
    for value in ("", "nan", "abc", "inf", "-"):
        for column in HEADER:
            add(fill_column, value, column)
    sizes = (-1, -2, -(10**6), 255, 65536, 2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**62, 2**63 - 100, 2**63, 2**64)
    for value in (*sizes, 10**25, -(2**53), -(2**62), -(2**63), 10**300):
        for column in ("track_id", "frame"):
            add(place_whole, str(value), column)
    for value in ("0.5", "1.0000001", "1e-9", "-0.5", "1e10.5", "3.999999999999"):
        for column in ("track_id", "frame"):
            add(place_fraction, value, column)
    pairs = [(2**53, 2**53 + 1), (2**63, -(2**63)), (2**64, 0), (10**18, 10**18 + 1), (2**32, 0), (2**62, 2**62 + 1)]
    for first, second in [*pairs, (-(2**53), -(2**53) - 1), (10**15, 10**15 + 1), ("9007199254740993.0", 2**53)]:
        add(merge_ids, str(first), str(second))
    for mark in ("-1", "-1.0", "empty", "nan", "-2"):
        for how in ("", " saspt", " repeated frames"):
            add(mark_unassigned, mark + how)
    orders = ("shuffled", "reversed", "by frame", "same row twice", "same frame, other place", "same row at the end")
    for how in orders:
        add(order_rows, how)
    shapes = """one point each;two points each;one track of one point;constant;constant x;all zero;straight
        every second frame;gaps of a thousand;gap of 10^15;one track of 3000 points;2000 tracks of 2 points;rounded"""
    for how in shapes.replace("\n", ";").split(";"):
        add(shape_tracks, how.strip())
    types = """bool x;bool track;dates in frame;times in frame;dates in x;hex x;names of tracks;letters of tracks
        complex x;units in values;pairs in x;floats of whole numbers;scientific;leading zeros;plus signs;17 digits
        40 digits"""
    for how in types.replace("\n", ";").split(";"):
        add(give_type, how.strip())
    for name in ("sigma", "sigma_x", "ep", "localization_error", "x_err", "lpx"):
        for value in ("0.1", "0", "-1", "nan", "inf", "1e200", "1e-200", "text", "", "True"):
            add(add_error_column, name, value)
    for name in (
        "skipped",
        "jump",
        "sigma",
        "index",
        "segment_id",
        "state",
        "file",
        "condition",
        "k",
        "piece",
        "_merge",
    ):
        for value in ("1", "True", "text"):
            add(add_reserved_column, name, value)
    return cases
