"""The folder of results: one process at a time, only our files are replaced, and all of them or none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers import ROOT, run
from report_tables import make_tables, write_results

from main import figures, infer, kinetics, report
from main.tracks.results.folder import TABLES, add_to_results, claim_new_results, claim_results, list_own_files
from main.tracks.results.record import read_record
from main.utils.errors import InputError
from main.utils.files import claim_folder


def contents(folder):
    """Bytes of every file below a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, weights):
    """A folder of results of two tracks, with a report and CSV copies."""
    folder = tmp_path_factory.mktemp("finished")
    table = pd.concat([make_tables(2)[0]])[["track_id", "frame", "x", "y"]]
    table.to_csv(folder / "tracks.csv", index=False)
    assert run(folder / "tracks.csv", folder / "out", weights, "--csv", "--report") == 0
    return folder


@pytest.fixture
def results(finished, tmp_path):
    """A copy of that folder, which a test may change; returns the track file and the results."""
    for name, data in contents(finished).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path / "tracks.csv", tmp_path / "out"


def test_of_two_runs_into_a_new_folder_one_ends_and_one_is_refused(results, weights, tmp_path):
    out = tmp_path / "new" / "folder"
    command = [sys.executable, infer.__file__, results[0], "--out", out, "--weights", weights]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    runs = [subprocess.Popen(command, **pipes) for _ in range(2)]
    printed = [process.communicate() for process in runs]
    assert sorted(process.returncode for process in runs) == [0, 2]
    error = next(text for process, (_, text) in zip(runs, printed, strict=True) if process.returncode == 2)
    winner = next(process.pid for process in runs if process.returncode == 0)
    assert f"is in use by process {winner} of " in error or "exists already" in error
    assert len(error.strip().splitlines()) == 1
    assert set(contents(out)) == {"run.json", *(f"{name}.parquet" for name in TABLES)} == set(list_own_files(out))


@pytest.mark.parametrize("command", ["infer", "kinetics", "report", "figures"])
def test_a_folder_in_use_is_refused_and_stays(command, results, weights, capsys):
    tracks, out = results
    before = contents(out)
    with claim_folder(out):
        if command == "infer":
            code = run(tracks, out, weights, "--overwrite")
        else:
            code = {"kinetics": kinetics, "report": report, "figures": figures}[command].main([str(out)])
    printed = capsys.readouterr()
    assert code == 2 and f"is in use by process {os.getpid()} of " in printed.err and printed.out == ""
    assert contents(out) == before


def test_a_new_folder_in_use_is_named_so_and_not_as_an_old_one(results, weights, tmp_path, capsys):
    with claim_folder(tmp_path / "new"):
        assert run(results[0], tmp_path / "new", weights) == 2
        assert kinetics.main([str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.count(f"is in use by process {os.getpid()} of ") == 2


def test_what_a_killed_first_run_left_is_taken_over(results, weights, tmp_path):
    out = tmp_path / "new"
    (out / ".tracewise" / "temporary").mkdir(parents=True)
    (out / ".tracewise" / "temporary" / "points.parquet").write_bytes(b"half")
    (out / ".tracewise" / "lock").write_text("")
    assert run(results[0], out, weights) == 0
    assert set(contents(out)) == {"run.json", *(f"{name}.parquet" for name in TABLES)}


def test_overwrite_replaces_the_files_of_the_run_and_no_others(results, weights, tmp_path):
    tracks, out = results
    assert kinetics.main([str(out)]) == 0 and figures.main([str(out)]) == 0
    mine = ("notes.txt", "points.parquet.part", "figures/mine.svg", "figures/tracks_state_mine.svg", "track_2/mine.txt")
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    assert {"report.html", "kinetics.csv", "figures/distributions.svg", "points.csv"} <= set(contents(out))
    assert run(tracks, out, weights, "--overwrite") == 0
    assert set(contents(out)) == {"run.json", *(f"{name}.parquet" for name in TABLES), *mine}
    assert all((out / name).read_text() == "mine" for name in mine)


@pytest.mark.parametrize(
    ("name", "options"), [("points.csv", ["--csv"]), ("report.html", ["--report"]), ("kinetics.csv", None)]
)
def test_a_file_of_the_user_with_a_name_of_ours_is_not_replaced(name, options, results, weights, capsys):
    tracks, out = results
    assert run(tracks, out, weights, "--overwrite") == 0  # without CSV copies and report
    (out / name).write_text("mine")
    before = contents(out)
    assert (kinetics.main([str(out)]) if options is None else run(tracks, out, weights, "--overwrite", *options)) == 2
    assert f"{out / name}: would be replaced, but infer.py did not write it" in capsys.readouterr().err
    assert contents(out) == before


def test_a_link_is_replaced_and_not_what_it_leads_to(results, weights, tmp_path):
    tracks, out = results
    (out / "points.parquet").rename(tmp_path / "elsewhere.parquet")
    (out / "points.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    before = (tmp_path / "elsewhere.parquet").read_bytes()
    (tmp_path / "link").symlink_to(out)
    assert run(tracks, tmp_path / "link", weights, "--overwrite", "--localization-error", "0.1") == 0
    assert (tmp_path / "elsewhere.parquet").read_bytes() == before
    assert not (out / "points.parquet").is_symlink() and (out / "points.parquet").read_bytes() != before


def test_names_in_a_record_do_not_leave_the_folder(results, weights, tmp_path):
    tracks, out = results
    (tmp_path / "mine").write_text("mine")
    record = json.loads((out / "run.json").read_text())
    names = ["../mine", str(tmp_path / "mine"), "a/../../mine", 5, None, ".", ""]
    (out / "run.json").write_text(json.dumps(record | {"files": record["files"] + names}))
    assert run(tracks, out, weights, "--overwrite") == 0
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("at", range(6))
def test_new_files_come_in_whole_although_the_moves_break_off(at, results, weights, monkeypatch, capsys):
    """Whatever move fails, the folder shows no record beside other tables, and the next command ends the moves."""
    tracks, out = results
    calls, replace = [], os.replace

    def fail(*paths):
        calls.append(paths)
        if len(calls) == at + 1:
            raise OSError(5, "Input/output error")
        replace(*paths)

    old = read_record(out)
    monkeypatch.setattr(os, "replace", fail)
    code = run(tracks, out, weights, "--overwrite", "--localization-error", "0.1")
    monkeypatch.undo()
    assert code == (2 if at < 5 else 0)  # run.json is moved away, then three tables and run.json come
    assert (
        at == 5 or "are complete, but cannot be moved to their places (Input/output error)" in capsys.readouterr().err
    )
    assert (out / "run.json").exists() == (at in (0, 5))
    assert at or (read_record(out) == old and (out / "points.csv").exists())
    with claim_results(out) as (record, _):
        pass
    assert set(contents(out)) == set(record["files"])
    assert (pd.read_parquet(out / "tracks.parquet")["localization_error"] == 0.1).all()


def test_an_interruption_is_one_line_and_leaves_nothing(results, weights, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("main.tracks.results.writer.Writer.add", interrupt)
    assert run(results[0], tmp_path / "a" / "out", weights) == 130
    assert capsys.readouterr().err == "interrupted: nothing was written.\n" and not (tmp_path / "a").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("odd"), KeyboardInterrupt()])
def test_a_report_that_fails_says_that_the_tables_are_complete(error, results, weights, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr("main.tracks.report.write.make_page", fail)
    out = tmp_path / "new"
    assert run(results[0], out, weights, "--report") == (130 if isinstance(error, KeyboardInterrupt) else 2)
    message = capsys.readouterr().err
    assert f"the tables in {out} are complete; write the report again with python main/report.py {out}" in message
    assert len(message.splitlines()) == 1
    assert set(contents(out)) == {"run.json", *(f"{name}.parquet" for name in TABLES)}


def test_a_command_that_fails_leaves_the_folder_as_it_was(results, monkeypatch, capsys):
    _, out = results
    before = contents(out)
    for module, function in (("kinetics.describe", "draw_kinetics"), ("figures", "save")):

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(f"main.tracks.{module}.{function}", fail)
    assert kinetics.main([str(out)]) == 2 and figures.main([str(out)]) == 2
    assert capsys.readouterr().err.count("No space left on device") == 2
    assert contents(out) == before and not (out / "figures").exists()


def test_files_of_a_run_before_they_were_listed_are_known(tmp_path):
    folder = write_results(tmp_path / "out", *make_tables(3))
    (folder / "kinetics.csv").write_text("old")
    (folder / "mine.csv").write_text("mine")
    assert list_own_files(folder) == {"run.json", "kinetics.csv", *(f"{name}.parquet" for name in TABLES)}
    with claim_results(folder) as (record, temporary):
        (temporary / "kinetics.csv").write_text("new")
        add_to_results(folder, temporary, record, ["kinetics.csv"])
    assert (folder / "kinetics.csv").read_text() == "new" and "mine.csv" not in list_own_files(folder)


@pytest.mark.parametrize("damage", ["missing", "empty", "damaged"])
@pytest.mark.parametrize("command", [kinetics, report, figures])
def test_a_table_that_cannot_be_read_is_one_sentence(command, damage, results, capsys):
    path = results[1] / "segments.parquet"
    path.unlink() if damage == "missing" else path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:300])
    assert command.main([str(results[1])]) == 2
    error = capsys.readouterr().err
    assert f"{path}: " in error and "analyse the files again" in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "--out is empty"),
        ("nul\0", "holds a control character"),
        ("\udce9", "no text in UTF-8"),
        ("n" * 300, "cannot be written"),
        ("file", "this is a file"),
        ("file/below", "cannot be written"),
        ("dangling", "is a link to a folder that does not exist"),
        (".", "exists already"),
        ("/", "exists already"),
        ("/proc/out", "cannot be written"),
    ],
)
def test_a_name_that_no_folder_can_have_is_one_sentence(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("dangling").symlink_to("nowhere")
    with pytest.raises(InputError, match=message), claim_new_results(name, False):
        pass
    for place in (".", "/"):
        with pytest.raises(InputError, match="holds files but no results"), claim_new_results(place, True):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file"]
