"""Analyse tracks with known answers by the project's own commands, and print what holds and what does not.

    python misc/audit.py --out misc/audit.md
    python misc/audit.py --rows "Intervals*" --scale 0.1

The tracks come from `known_tracks.py`, which shares nothing with `simulations/`, so no network was trained on anything
like them. Finished cells are kept in `runs/audit.json`: an audit that was interrupted goes on, and cells that were
measured with other code are measured again. Never tune anything on these tracks.
"""

import argparse
import json
import shlex
import sys
import time
import traceback
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from fnmatch import fnmatch
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import audit_kinetics
import audit_microscope
import audit_motion
import audit_samples
import numpy as np
import torch
from audit_rows import Cell, Estimate, Row
from tqdm import tqdm

from simulations.files import digest_code, write_atomically

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "runs" / "audit.json"
SEED = 20261124  # of the audit; nothing of the project may be tuned on it
WORKERS = 2  # processes, by default
TABLE_HEAD = "| question | tracks | measured (90 % interval), n | target | verdict |\n|---|---|---|---|---|"
INTRODUCTION = """# Audit: tracks with known answers

Printed by `{command}` (seed {seed}, scale {scale:g}, repetitions {repetitions}; {minutes:.0f} minutes of one core).

Tracks come from generators that share nothing with `simulations/` (`misc/known_tracks.py`: exact fractional Brownian
motion by Cholesky, averages over the exposure, reflecting discs, switching in continuous time), except those of slow
dimers, which are the AnDi-2 challenge's own. They are analysed in um and s. Frames take {frame_interval:g} s, a free
step has a root mean square of {step:g} um along one axis, and "noise" is the localisation error (sigma) over this step.
Intervals are 90 % intervals over tracks or over repetitions; n counts these.

A verdict compares the measured value with the target. "too wide": intervals hold the truth more often than the target
asks. "flagged": the target is missed, and the tool itself warns of these tracks. "no target": shown for information.
"""


def list_cells(repetitions: int) -> dict[str, Cell]:
    """All cells by name, in the order of the page."""
    parts = (
        audit_motion.list_cells(),
        audit_kinetics.list_cells(repetitions),
        audit_microscope.list_cells(),
        audit_samples.list_cells(),
    )
    cells = [cell for part in parts for cell in part]
    return {cell.name: cell for cell in cells}


@cache
def digest(code: tuple[str, ...]) -> str:
    """Digest of the code that a cell depends on, and of the shipped calibrations where it depends on all code."""
    configs = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("main/models/weights/*/config.json"))
    return digest_code(ROOT, [*code, *(configs if "main" in code else [])])


def measure(name: str, scale: float, repetitions: int) -> tuple[list[Row], float]:
    """Measure one cell; returns its rows and the seconds that it took."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    return list_cells(repetitions)[name].measure(rng, scale), time.perf_counter() - started


def load(path: Path) -> dict:
    """Finished cells of earlier runs: name -> {settings, seconds, rows}; empty if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def rows_of(stored: dict) -> list[Row]:
    """Rows of a stored cell."""
    rows = []
    for row in stored["rows"]:
        target = None if row["target"] is None else tuple(row["target"])
        rows.append(Row(**row | {"measured": Estimate(**row["measured"]), "target": target}))
    return rows


def measure_missing(names: list[str], scale: float, repetitions: int, store: Path, workers: int) -> tuple[dict, dict]:
    """Measure the cells that are not stored with these settings and today's code, and store each when it is finished.

    Returns
    -------
    stored : dict
        As returned by `load`, with the new cells.
    failed : dict of str -> str
        Name of a cell -> what went wrong.
    """
    stored, failed, cells = load(store), {}, list_cells(repetitions)
    settings = {name: {"scale": scale, "repetitions": repetitions, "code": digest(cells[name].code)} for name in names}
    missing = [name for name in names if stored.get(name, {}).get("settings") != settings[name]]
    if not missing:
        return stored, failed
    missing.sort(key=lambda name: -stored.get(name, {}).get("seconds", np.inf))  # the longest first
    store.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(measure, name, scale, repetitions): name for name in missing}
        for future in tqdm(as_completed(futures), total=len(futures), unit="cell", disable=not sys.stderr.isatty()):
            name = futures[future]
            try:
                rows, seconds = future.result()
            except Exception as error:  # the other cells are still worth their numbers; the page names this one
                failed[name] = "".join(traceback.format_exception_only(error)).strip()
                print(f"{name}: {''.join(traceback.format_exception(error))}", file=sys.stderr)
                continue
            stored[name] = {
                "settings": settings[name],
                "seconds": round(seconds, 1),
                "rows": [asdict(row) for row in rows],
            }
            write_atomically(store, lambda part: part.write_text(json.dumps(stored, indent=1), encoding="utf-8"))
    return stored, failed


def format_number(value: float) -> str:
    """Format with three decimals, or with three significant digits where these would say too little."""
    return f"{value:.3f}" if 0.01 <= abs(value) < 10 or value == 0 else f"{value:.3g}"


def format_target(target) -> str:
    """Format a target as text."""
    if target is None:
        return "no target"
    low, high = target
    if low is None or high is None:
        return f">= {low:g}" if high is None else f"<= {high:g}"
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def format_row(row: Row) -> str:
    """Format one line of the table."""
    value = row.measured
    ends = f" ({format_number(value.low)} to {format_number(value.high)}), {value.n:,}" if value.n > 1 else ""
    measured = format_number(value.value) + ends
    measured += f"; {row.note}" if row.note else ""
    verdict = f"**{row.verdict}**" if row.verdict in ("missed", "too wide") else row.verdict
    return f"| {row.question} | {row.tracks} | {measured} | {format_target(row.target)} | {verdict} |"


def format_page(stored: dict, names: list[str], failed: dict, args: argparse.Namespace, command: str) -> str:
    """Format the page: how many rows hold, then a table for each section."""
    sections: dict[str, list[str]] = {}
    for name in names:
        sections.setdefault(name.split(":")[0], []).append(name)
    verdicts, tables = [], []
    for section, cells in sections.items():
        rows = [row for name in cells if name in stored and name not in failed for row in rows_of(stored[name])]
        counts = Counter(row.verdict for row in rows) + Counter({"not measured": sum(name in failed for name in cells)})
        verdicts.append((section, counts))
        lines = [f"## {section}", "", TABLE_HEAD, *map(format_row, rows)]
        lines += [f"\n{name}: could not be measured ({failed[name]})." for name in cells if name in failed]
        tables.append("\n".join(lines))
    kinds = ("holds", "missed", "too wide", "flagged", "no target", "not measured")
    total = sum((counts for _, counts in verdicts), Counter())
    summary = [f"| section | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    summary += [
        f"| {section} | {' | '.join(str(counts[kind]) for kind in kinds)} |"
        for section, counts in [*verdicts, ("**all**", total)]
    ]
    seconds = sum(stored[name]["seconds"] for name in names if name in stored)
    introduction = INTRODUCTION.format(
        command=command,
        seed=SEED,
        minutes=seconds / 60,
        frame_interval=audit_motion.FRAME_INTERVAL,
        step=audit_motion.STEP,
        scale=args.scale,
        repetitions=args.repetitions,
    )
    return "\n\n".join([introduction.strip(), "\n".join(summary), *tables]) + "\n"


def parse(arguments=None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="PATTERN", help="cells to measure (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names of the cells and stop (default: off)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of numbers of tracks (default: %(default)s)")
    parser.add_argument(
        "--repetitions", type=int, default=100, metavar="N", help="of samples that switch (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=WORKERS, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="Markdown file for the tables (default: none)")
    parser.add_argument(
        "--store", type=Path, default=STORE, metavar="FILE", help="finished cells (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Print the tables and write them to --out; 1 if a cell could not be measured, 2 if no cell has such a name."""
    args = parse(arguments)
    names = [
        name
        for name in list_cells(args.repetitions)
        if any(fnmatch(name.lower(), pattern.lower()) for pattern in args.rows)
    ]
    if not names:
        print(f"audit.py: no cell is named {' or '.join(args.rows)}; see --list.", file=sys.stderr)
        return 2
    if args.list:
        print("\n".join(names))
        return 0
    stored, failed = measure_missing(names, args.scale, args.repetitions, args.store, args.workers)
    command = shlex.join(["python", "misc/audit.py", *(sys.argv[1:] if arguments is None else arguments)])
    page = format_page(stored, names, failed, args, command)
    print(page)
    if args.out:
        write_atomically(args.out, lambda part: part.write_text(page, encoding="utf-8"))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
