"""The attack: its quick cases pass, and its judge can tell what a bad command does."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT / "misc"))  # the scripts of misc import each other by their bare names

import attack
import attack_damage
from attack_cases import Plan, Reading, infer, join, make_rows, write
from attack_harness import MAX_BYTES, Done, Process, describe_tree
from attack_judge import KINDS, find_fault_of_sentence, judge

SAMPLE = 16  # every sixteenth of the quick cases; `misc/attack.py` tries all of them
HEAVY = ("races", "results folder", "training")  # families whose cases run several commands


def choose_quick_cases() -> list[str]:
    """Names of the quick cases that the tests try: a share of each family."""
    families = {}
    for key, case in attack.select(["*"], quick=True).items():
        families.setdefault(case.family, []).append(key)
    return [key for family, keys in families.items() for key in keys[:: SAMPLE * (4 if family in HEAVY else 1)]]


def test_quick_cases_pass(tmp_path):
    """In a process of its own, because cases are forked from one that has no threads."""
    options = ["--quick", "--only", *choose_quick_cases(), "--store", tmp_path / "attack.json", "--exact"]
    command = [sys.executable, attack.__file__, *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    verdicts = json.loads((tmp_path / "attack.json").read_text())
    failed = {key: f"{found['kind']}: {found['detail']}" for key, found in verdicts.items() if found["kind"] != "ok"}
    assert not failed and done.returncode == 0, done.stderr
    assert len(verdicts) == len(choose_quick_cases())


class TestCases:
    def test_there_are_more_than_a_thousand_in_every_family(self):
        cases = attack.list_cases()
        families = {case.family for case in cases.values()}
        assert len(cases) >= 1000 and len(families) == len(attack.FAMILIES) - (not attack_damage.REAL.exists())

    def test_files_of_a_case_are_always_the_same(self, tmp_path):
        case = attack.list_cases()["text: damage bytes, quote, 3"]
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            case.build(tmp_path / name, np.random.default_rng(5))
        assert describe_tree(tmp_path / "a") == describe_tree(tmp_path / "b") != {}

    def test_page_counts_what_failed(self):
        cases = dict(list(attack.list_cases().items())[:3])
        verdict = {"kind": "ok", "detail": "", "seconds": 1.0, "mib": 5, "code": "a"}
        stored = {key: verdict for key in cases}
        assert "None." in attack.format_page(stored, cases, "command")
        stored[next(iter(cases))] = verdict | {"kind": "hang", "detail": "not finished"}
        page = attack.format_page(stored, cases, "command")
        assert "| **all** | 3 | 1 |" in page and f"- {next(iter(cases))}: **hang**; not finished" in page


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a.csv: is empty, export it again.\n", ""),
        ("a.csv: is empty, export it again", "no full stop"),
        ("b.csv: is empty.\n", "names none"),
        ("usage: infer.py\na.csv: is wrong.\n", "2 lines"),
        ("a.csv: is wrong. Look at it.\n", "two sentences"),
        ("", "0 lines"),
        ("a.csv: " + "x" * 700 + ".", "characters"),
    ],
)
def test_one_sentence_that_names_the_file(text, fault):
    found = find_fault_of_sentence(text, ("a.csv",))
    assert fault in found and bool(fault) == bool(found)


def merge_tracks(rows):
    """Give the points of track 1 the number of track 0, at later frames."""
    for row in rows:
        if row[0] == "1":
            row[:2] = "0", f"{100 + int(row[1])}"


class TestJudge:
    """Made-up commands, of which each does one thing wrong."""

    @pytest.fixture
    def user(self, tmp_path):
        """The folder of the user with a table in it, its rows, and what a command may do with it."""
        folder = tmp_path / "user"
        folder.mkdir()
        (tmp_path / "logs").mkdir()
        rows = make_rows(np.random.default_rng(0))
        plan = Plan(infer(write(folder, join(rows))), ("tracks.csv",), [Reading(rows)])
        return folder, rows, plan

    def judge_call(self, user, call) -> str:
        folder, _, plan = user
        before = describe_tree(folder)
        done = Process(call, folder, folder.parent / "logs").wait(max_seconds=60)
        return judge(plan, done, before, describe_tree(folder), folder).kind

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("print('tracks.csv: is wrong, save it again.', file=sys.stderr); code = 2", "ok"),
            ("raise ValueError('lost')", "traceback"),
            ("code = 3", "traceback"),
            ("os.kill(os.getpid(), 9)", "traceback"),
            ("open('tracks.csv', 'a').write('x'); print('tracks.csv: is wrong.', file=sys.stderr); code = 2",
             "user's file lost"),
            ("os.remove('tracks.csv')", "user's file lost"),
            ("os.mkdir('out'); print('tracks.csv: is wrong.', file=sys.stderr); code = 2", "half result"),
            ("open('other', 'w').close()", "half result"),
            ("print('tracks.csv: is wrong.\\nSo.', file=sys.stderr); code = 2", "several sentences"),
            ("print('it is wrong.', file=sys.stderr); code = 2", "several sentences"),
            ("pass", "silent change"),
        ],
    )  # fmt: skip
    def test_what_a_command_did(self, user, code, kind):
        def call():
            names = {"os": os, "sys": sys, "code": 0}
            exec(code, names)
            return names["code"]

        assert self.judge_call(user, call) == kind

    def test_a_file_that_must_be_read_is_not_refused(self, user):
        user[2].refusal = None
        assert self.judge_call(user, lambda: print("tracks.csv: is wrong.", file=sys.stderr) or 2) == "wrongly refused"

    def test_limits(self, user):
        folder, _, plan = user
        slow, large = Done(0, "", "", 99.0, 0, timed_out=True), Done(0, "", "", 1.0, MAX_BYTES + 1)
        assert judge(plan, slow, {}, {}, folder).kind == "hang" and judge(plan, large, {}, {}, folder).kind == "memory"
        done = Process(lambda: __import__("time").sleep(9), folder, folder.parent / "logs").wait(max_seconds=0.1)
        assert done.timed_out

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            (lambda rows: None, "ok"),
            (lambda rows: rows.pop(), "silent change"),
            (lambda rows: rows[3].__setitem__(2, "51.2"), "silent change"),
            (merge_tracks, "silent change"),
            (lambda rows: [row.__setitem__(0, "7") for row in rows if row[0] == "1"], "silent change"),
        ],
        ids=("whole", "row lost", "position changed", "tracks merged", "track renamed"),
    )  # fmt: skip
    def test_results_of_other_rows(self, user, change, kind, tmp_path):
        """The file is changed behind the back of the judge, so that the result is not that of the true rows."""
        from main import infer as command

        folder, rows, plan = user
        before = describe_tree(folder)
        read = [list(row) for row in rows]
        change(read)
        other = write(tmp_path, join(read), "other.csv")
        assert command.main([str(tmp_path / other), "--out", str(folder / "out"), *plan.command[4:]]) == 0
        assert judge(plan, Done(0, "", "", 1.0, 0), before, describe_tree(folder), folder).kind == kind

    def test_results_in_other_units(self, user):
        from main import infer as command

        folder, _, plan = user
        before, options = describe_tree(folder), ["--pixel-size", "0.1"]
        out = ["--out", str(folder / "out"), *plan.command[4:]]
        assert command.main([str(folder / "tracks.csv"), *out, *options]) == 0
        found = judge(plan, Done(0, "", "", 1.0, 0), before, describe_tree(folder), folder)
        assert found.kind == "silent change" and "um_per_unit" in found.detail

    def test_kinds_are_listed(self):
        assert len(set(KINDS)) == len(KINDS) == 8


class TestDamage:
    def test_a_lost_row_and_a_foreign_point_are_found(self, tmp_path):
        from main import infer as command

        rows = make_rows(np.random.default_rng(0))
        whole, name = join(rows), write(tmp_path, join(rows))
        out = ["--out", str(tmp_path / "out"), "--weights", "fast", "--min-length", "5"]
        assert command.main([str(tmp_path / name), *out]) == 0
        assert attack_damage.account(tmp_path, name) == ""
        (tmp_path / name).write_text(whole + "9,9,1.5,2.5\n")
        assert "48 rows read or dropped of 49" in attack_damage.account(tmp_path, name)
        (tmp_path / name).write_text(whole.replace(rows[7][2], "1.25"))
        assert "no line of the file holds" in attack_damage.account(tmp_path, name)
