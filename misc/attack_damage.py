"""Cases of real damage: copies of real files with bytes, spans, columns and digits changed.

An accepted copy must account for every row, and each point of the result must stand on one line of the damaged file.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

from attack_cases import OPTIONS, Case, Plan
from attack_judge import read_result

FAMILY = "real damage"
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "tracks"  # real files; no cases without them
FILES = (
    "saspt_u2os_ht_nls_region_0.csv",
    "trackmate_example.csv",
    "trackmate_example.xml",
    "andi2_challenge/exp_0/trajs_fov_0.csv",
    "andi2_challenge/exp_7/trajs_fov_0.csv",
)
MAX_LINES = 400  # of a copy
HOWS = (
    "flip a byte;flip ten bytes;delete a span;delete lines;duplicate a span;duplicate a line;truncate;insert a quote"
    ";insert two quotes;swap columns;replace digits;insert a separator;delete a separator;swap two lines;zero a block"
    ";insert a line end;change a minus;change a decimal point;join with itself;insert a high byte"
).split(";")
SEEDS = 3
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def damage(text: bytes, how: str, rng) -> bytes:
    """Change a text in one way, at a random place."""
    at = int(rng.integers(len(text)))
    span = int(rng.integers(1, 300))
    lines = text.split(b"\n")
    line = int(rng.integers(1, max(2, len(lines) - 2)))
    byte = bytes([int(rng.integers(256))])
    if how == "flip a byte":
        return text[:at] + byte + text[at + 1 :]
    if how == "flip ten bytes":
        changed = bytearray(text)
        for place in rng.integers(len(text), size=10):
            changed[place] = int(rng.integers(32, 127))
        return bytes(changed)
    if how in ("delete a span", "duplicate a span"):
        return text[:at] + (text[at + span :] if how.startswith("delete") else text[at : at + span] + text[at:])
    if how == "truncate":
        return text[:at]
    if how == "insert two quotes":
        first, second = sorted(rng.integers(len(text), size=2))
        return text[:first] + b'"' + text[first:second] + b'"' + text[second:]
    inserted = {"insert a quote": b'"', "insert a separator": b",", "insert a line end": b"\n"}
    inserted |= {"insert a high byte": bytes([int(rng.integers(128, 256))])}
    if how in inserted:
        return text[:at] + inserted[how] + text[at:]
    replaced = {
        "delete a separator": (b",", b""),
        "change a minus": (b"-", b""),
        "change a decimal point": (b".", b","),
    }
    if how in replaced:
        old, new = replaced[how]
        place = text.find(old, at)
        return text if place < 0 else text[:place] + new + text[place + 1 :]
    if how == "replace digits":
        changed = bytearray(text)
        for place in [i for i in range(at, min(at + span, len(text))) if chr(text[i]).isdigit()][:10]:
            changed[place] = ord("0") + int(rng.integers(10))
        return bytes(changed)
    if how == "zero a block":
        return text[:at] + bytes(min(span, len(text) - at)) + text[at + span :]
    if how == "swap columns":
        lines = (
            [swap_fields(each, rng.integers(1, 5)) for each in lines]
            if span % 2
            else [swap_fields(lines[0], rng.integers(1, 5)), *lines[1:]]
        )
    elif how == "delete lines":
        del lines[line : line + span % 7 + 1]
    elif how == "duplicate a line":
        lines.insert(line, lines[line])
    elif how == "swap two lines":
        lines[line], lines[-2] = lines[-2], lines[line]
    else:
        return text + text
    return b"\n".join(lines)


def swap_fields(line: bytes, i: int) -> bytes:
    """Swap two neighbouring fields of a line, or attributes of an element."""
    mark = b" " if b"<" in line else b","
    fields = line.split(mark)
    if len(fields) > i + 1:
        fields[i], fields[i + 1] = fields[i + 1], fields[i]
    return mark.join(fields)


def shorten(path: Path) -> bytes:
    """The first lines of a real file; an XML file keeps its end."""
    lines = path.read_bytes().split(b"\n")
    if len(lines) <= MAX_LINES:
        return b"\n".join(lines)
    if path.suffix != ".xml":
        return b"\n".join(lines[:MAX_LINES]) + b"\n"
    last = max(i for i, line in enumerate(lines[:MAX_LINES]) if b"</particle>" in line)
    return b"\n".join([*lines[: last + 1], b"</Tracks>", b""])


def spoil(name, how, folder, rng):
    """A damaged copy of a real file."""
    text = damage(shorten(REAL / name), how, rng)
    copy = Path(name).name
    (folder / copy).write_bytes(text)
    command = ["infer", copy, *OPTIONS]
    if name.startswith("andi2"):
        command += ["--format", "andi"] if rng.random() < 0.3 else []
    return Plan(command, (copy, "--format"), check=partial(account, copy=copy))


def list_units(text: str, is_xml: bool) -> list[str]:
    """The parts of a file that may hold a point each: lines, or elements."""
    if is_xml:
        return [part for part in text.split("<") if part.startswith("detection")]
    return [line for line in text.splitlines()[1:] if re.search(r"\d", line)]


def account(folder: Path, copy: str) -> str:
    """Say which rows of a damaged file a result lost, or which of its points do not stand in the file."""
    text = (folder / copy).read_bytes().decode("utf-8", "replace")
    is_xml = copy.endswith(".xml")
    units = list_units(text, is_xml)
    record, tables = read_result(folder / "out")
    counts = record["counts"]
    n_read = counts["points"] + sum(counts["dropped"].values())
    described = 0 if is_xml else sum(not NUMBER.search(unit) for unit in units[:3])
    if n_read not in {len(units), len(units) - described}:
        return f"{n_read} rows read or dropped of {len(units)}"
    where: dict[str, set[int]] = {}
    for i, unit in enumerate(units):
        for number in NUMBER.findall(unit):
            where.setdefault(f"{float(number):.12g}", set()).add(i)
    named = ("frame", "x", "y") if is_xml else ("track_id", "frame", "x", "y")
    for row in tables["points"][list(named)].itertuples(index=False):
        lines = set.intersection(*(find_lines(where, float(value)) for value in row))
        if not lines:
            return f"no line of the file holds {json.dumps([float(v) for v in row])}"
    return ""


def find_lines(where: dict[str, set[int]], value: float) -> set[int]:
    """Lines that hold a number; the last digit of 16 may differ, as fast parsing of numbers leaves it."""
    return set().union(*(where.get(f"{value * scale:.12g}", set()) for scale in (1 - 4e-16, 1, 1 + 4e-16)))


def list_cases() -> list[Case]:
    """All cases of this family; none without the real files."""
    if not REAL.exists():
        return []
    return [
        Case(FAMILY, f"{name}, {how}, {seed}", partial(spoil, name, how))
        for name in FILES
        for how in HOWS
        for seed in range(SEEDS)
    ]
