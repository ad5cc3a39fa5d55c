"""Give the commands hostile files, options, folders and rivals, and print what was tried and what failed.

    python misc/attack.py --out misc/attack.md
    python misc/attack.py --only values "text: *quotes*" --keep /tmp/failed
    python misc/attack.py --quick

Every case says which outcomes are right: a refusal in one sentence that leaves everything as it was, or results that
hold what the file says. All cases come from a fixed seed. Verdicts are kept in `runs/attack.json`: an attack that was
interrupted goes on, and cases that were judged with other code are tried again.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import attack_columns
import attack_damage
import attack_folders
import attack_kinds
import attack_options
import attack_parquet
import attack_programs
import attack_races
import attack_size
import attack_text
import attack_training
import attack_values
import attack_xml
import numpy as np
from attack_cases import Case
from attack_harness import describe_tree, import_commands, start
from attack_judge import KINDS, OK, Verdict, judge
from tqdm import tqdm

from simulations.files import digest_code, write_atomically

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "runs" / "attack.json"
SEED = 20261125
FAMILIES = (
    attack_text,
    attack_values,
    attack_columns,
    attack_kinds,
    attack_parquet,
    attack_xml,
    attack_programs,
    attack_damage,
    attack_options,
    attack_folders,
    attack_training,
    attack_size,
    attack_races,
)
SAVE_EVERY_SECONDS = 20
INTRODUCTION = """# Attack: hostile files, options, folders and rivals

Printed by `{command}` (seed {seed}; {tried:,} cases, {minutes:.0f} minutes).

A case passes if the command refuses it in one sentence that names the file or the option and leaves every file as it
was, or if the results hold what the file says: all its rows (read or counted as dropped), identifiers, positions,
units and the diffusion coefficient of each track. Each case lists which of these outcomes are right. Limits: 60 s and
2 GiB.
"""


def list_cases() -> dict[str, Case]:
    """All cases by family and name."""
    cases = [case for family in FAMILIES for case in family.list_cases()]
    keyed = {case.key: case for case in cases}
    if len(keyed) < len(cases):
        twice = [key for key, count in Counter(case.key for case in cases).items() if count > 1]
        raise ValueError(f"cases of the same name: {', '.join(twice[:5])}")
    return keyed


@cache
def digest() -> str:
    """Digest of the code that verdicts depend on."""
    return digest_code(ROOT, ["main", "simulations", *(f"misc/{path.name}" for path in ROOT.glob("misc/attack*.py"))])


def try_case(case: Case, keep: Path | None = None) -> tuple[Verdict, float, int]:
    """Try one case in a fresh folder; returns its verdict, the seconds and the bytes of memory that it took."""
    rng = np.random.default_rng([SEED, zlib.crc32(case.key.encode())])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="attack_", ignore_cleanup_errors=True) as scratch:
        folder, logs = Path(scratch, "user"), Path(scratch, "logs")
        os.chmod(scratch, 0o755)  # a case may run as another user
        folder.mkdir()
        logs.mkdir()
        folder.chmod(0o777)
        if case.play:
            verdict, n_bytes = case.play(folder, logs, rng), 0
        else:
            plan = case.build(folder, rng)
            before = describe_tree(folder)
            done = start(plan.command, folder, logs, **plan.process).wait()
            verdict, n_bytes = judge(plan, done, before, describe_tree(folder), folder), done.n_bytes
            (logs / "command.txt").write_text(shlex.join(plan.command) + "\n", encoding="utf-8", errors="replace")
        if keep and verdict != OK:
            place = keep / case.family / "".join(c if c.isalnum() else "_" for c in case.name)[:80]
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(scratch, place, symlinks=True, ignore=ignore_special, ignore_dangling_symlinks=True)
    return verdict, time.perf_counter() - started, n_bytes


def ignore_special(folder: str, names: list[str]) -> list[str]:
    """Names that cannot be copied: neither files nor folders, or large ones."""
    paths = {name: os.path.join(folder, name) for name in names}
    return [
        name
        for name, path in paths.items()
        if not os.path.isdir(path) and (not os.path.isfile(path) or os.path.getsize(path) > 10**7)
    ]


def try_missing(cases: dict[str, Case], store: Path, keep: Path | None, failed: bool = False) -> dict[str, dict]:
    """Try the cases without a verdict of today's code, and store each; returns all stored verdicts.

    With `failed`, cases that passed with other code keep their verdict.
    """
    stored = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    missing = [case for key, case in cases.items() if stored.get(key, {}).get("code") != digest()]
    if failed:
        missing = [case for case in missing if stored.get(case.key, {}).get("kind") != "ok"]
    if not missing:
        return stored
    import_commands()
    store.parent.mkdir(parents=True, exist_ok=True)
    saved = time.perf_counter()
    for case in tqdm(missing, unit="case", disable=not sys.stderr.isatty()):
        try:
            verdict, seconds, n_bytes = try_case(case, keep)
        except Exception as error:  # the other cases are still worth their verdicts; the page names this one
            text = " ".join(traceback.format_exception_only(error)).strip()
            verdict, seconds, n_bytes = Verdict("traceback", f"of the case itself: {text}"), 0.0, 0
        stored[case.key] = {
            "kind": verdict.kind,
            "detail": verdict.detail,
            "seconds": round(seconds, 2),
            "mib": round(n_bytes / 2**20),
            "code": digest(),
        }
        if time.perf_counter() - saved > SAVE_EVERY_SECONDS or case is missing[-1]:
            write_atomically(store, lambda part: part.write_text(json.dumps(stored, indent=1), encoding="utf-8"))
            saved = time.perf_counter()
    return stored


def format_page(stored: dict[str, dict], cases: dict[str, Case], command: str) -> str:
    """Format the page: tried and failed by family and kind, then the failing cases."""
    rows, untried = {}, [key for key in cases if key not in stored]
    cases = {key: case for key, case in cases.items() if key in stored}
    for key, case in cases.items():
        rows.setdefault(case.family, Counter()).update([stored[key]["kind"], "tried"])
    total = sum(rows.values(), Counter())
    lines = [f"| family | tried | failed | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 3) + "|"]
    for family, counts in [*rows.items(), ("**all**", total)]:
        numbers = [counts["tried"], counts["tried"] - counts["ok"], *(counts[kind] for kind in KINDS)]
        lines.append(f"| {family} | {' | '.join(map(str, numbers))} |")
    failed = [key for key in cases if stored[key]["kind"] != "ok"]
    listed = [f"- {key}: **{stored[key]['kind']}**; {format_detail(stored[key]['detail'])}" for key in failed]
    slowest = max(cases, key=lambda key: stored[key]["seconds"])
    largest = max(cases, key=lambda key: stored[key]["mib"])
    introduction = INTRODUCTION.format(
        command=command,
        seed=SEED,
        tried=len(cases),
        minutes=sum(stored[key]["seconds"] for key in cases) / 60,
    )
    earlier = sum(stored[key]["code"] != digest() for key in cases)
    extremes = (
        f"Slowest: {slowest} ({stored[slowest]['seconds']:.1f} s). "
        f"Largest: {largest} ({stored[largest]['mib']} MiB, of which the modules take 300). "
        f"{earlier} verdicts are of earlier code; {len(untried)} cases have not been tried."
    )
    section = ["## Failing cases", "\n".join(listed) or "None."]
    return "\n\n".join([introduction.strip(), "\n".join(lines), extremes, *section]) + "\n"


def format_detail(text: str) -> str:
    """Shorten a detail to one line of the page."""
    line = " ".join("".join(c if c.isprintable() else "?" for c in text).split())
    return line if len(line) <= 300 else f"{line[:300]} ..."


def parse(arguments=None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", default=["*"], metavar="FAMILY", help="families, or patterns of cases (default: all)"
    )
    parser.add_argument("--exact", action="store_true", help="--only lists names of cases (default: off)")
    parser.add_argument("--quick", action="store_true", help="leave out cases of large files (default: off)")
    parser.add_argument(
        "--failed", action="store_true", help="do not try again what passed with other code (default: off)"
    )
    parser.add_argument("--stored", action="store_true", help="try nothing, print what is stored (default: off)")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop (default: off)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for files of failing cases (default: none)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="Markdown file for the page (default: none)")
    parser.add_argument("--store", type=Path, default=STORE, metavar="FILE", help="verdicts (default: %(default)s)")
    return parser.parse_args(arguments)


def select(only: list[str], quick: bool, exact: bool = False) -> dict[str, Case]:
    """Cases of these families, or with names of these patterns; with `exact`, with these names."""
    cases = list_cases()
    if exact:
        return {key: case for key, case in cases.items() if key in only}
    return {
        key: case
        for key, case in cases.items()
        if (case.quick or not quick) and any(case.family == each or fnmatch(key, each) for each in only)
    }


def main(arguments=None) -> int:
    """Print the page and write it to --out; 1 if a case failed, 2 if no case has such a name."""
    args = parse(arguments)
    cases = select(args.only, args.quick, args.exact)
    if not cases:
        print(f"attack.py: no case is named {' or '.join(args.only)}; see --list.", file=sys.stderr)
        return 2
    if args.list:
        print("\n".join(cases))
        return 0
    if args.stored:
        stored = json.loads(args.store.read_text(encoding="utf-8"))
    else:
        stored = try_missing(cases, args.store.absolute(), args.keep and args.keep.absolute(), args.failed)
    command = shlex.join(["python", "misc/attack.py", *(sys.argv[1:] if arguments is None else arguments)])
    page = format_page(stored, cases, command)
    print(page)
    if args.out:
        write_atomically(args.out, lambda part: part.write_text(page, encoding="utf-8"))
    return int(any(stored[key]["kind"] != "ok" for key in cases))


if __name__ == "__main__":
    sys.exit(main())
