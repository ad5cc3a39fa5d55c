"""What infer.py cannot use: exit 2, one sentence, nothing written."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT, random_nets, random_options, run, walk

from main import infer
from main.tracks.pipeline import infer_files
from main.tracks.results.folder import TABLES, claim_new_results
from main.tracks.results.writer import open_writer
from main.utils.errors import InputError
from main.utils.weights import save_weights

BAD = {
    "missing-columns": ("a,b\n1,2\n", "no column for"),
    "text": ("track_id,frame,x,y\n0,0,far,2\n", "column 'x' holds 'far'"),
    "nan": ("track_id,frame,x,y\n0,0,,2\n", "column 'x' holds nothing"),
    "duplicate": ("track_id,frame,x,y\n0,0,1,2\n0,0,1,2\n", "repeats frame 0 of track 0"),
    "empty": ("", "is empty"),
}


def refused(capsys, code, message, out):
    """Exit 2, one sentence on stderr, nothing on stdout, nothing written."""
    printed = capsys.readouterr()
    assert code == 2 and message in printed.err and printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path, weights, walks, capsys):
    path = tmp_path / "bad.csv"
    path.write_text(BAD[name][0])
    refused(capsys, run([walks, path], tmp_path / "out", weights), BAD[name][1], tmp_path / "out")


def test_bad_paths(tmp_path, weights, capsys):
    refused(capsys, run(tmp_path, tmp_path / "out", weights), "is a folder", tmp_path / "out")
    refused(capsys, run(tmp_path / "no.csv", tmp_path / "out", weights), "no such file", tmp_path / "out")


@pytest.mark.parametrize(
    "damage",
    ["flip", "truncate", "delete", "config", "list", "deep", "utf-8", "segmentation", "features", "pickle", "range"],
)
def test_corrupted_weights(damage, tmp_path, walks, capsys):
    folder = tmp_path / "weights"
    save_weights(folder, random_nets(), {"features": "default", "nets": random_options()})
    file = folder / "alpha.safetensors"
    data = bytearray(file.read_bytes())
    data[-7] ^= 255
    if damage == "flip":
        file.write_bytes(data)
    elif damage == "truncate":
        file.write_bytes(data[:100])
    elif damage == "delete":
        file.unlink()
    elif damage == "config":
        (folder / "config.json").write_text("{}")
    elif damage == "list":
        (folder / "config.json").write_text("[]")
    elif damage == "deep":
        (folder / "config.json").write_text("[" * 100_000)
    elif damage == "utf-8":
        (folder / "config.json").write_bytes(b'{"nets": "\xff"}')
    elif damage in ("segmentation", "features", "range"):
        broken = {
            "segmentation": {"segmentation": {"weights": 1}},
            "features": {"features": "m4"},
            "range": {"training_range": 5},
        }[damage]
        save_weights(folder, random_nets(), {"nets": random_options()} | broken)
    else:
        torch.save({"a": 1}, file)
    refused(capsys, run(walks, tmp_path / "out", folder), "weights", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pixel-size", "0"], "--pixel-size is 0.0, expected a number from 1e-05 to 10000 um."),
        (["--pixel-size", "1e155"], "--pixel-size is 1e+155, expected a number from 1e-05 to 10000 um."),
        (["--frame-interval", "-1"], "--frame-interval is -1.0, expected a number from 1e-09 to 1e+06 s."),
        (["--frame-interval", "1e-300"], "--frame-interval is 1e-300, expected a number from 1e-09 to 1e+06 s."),
        (["--localization-error", "nan"], "is nan, expected a number from 1e-06 to 1e+06 in the unit of x and y, 0 or"),
        (["--localization-error", "1e155"], "--localization-error is 1e+155, expected a number from 1e-06 to 1e+06"),
        (["--exposure", "1.01"], "--exposure is 1.01, expected a number from 0 to 1 of the frame interval."),
        (["--min-length", "4"], "--min-length is 4, expected a whole number from 5 to 1000000000."),
        (["--scheduler", ""], "--scheduler is '', expected a name"),
        (["--weights", "no-such-weights"], "no-such-weights"),
        (["--columns", "track=id,frame=zzz"], "no column 'id' or 'zzz'"),
        (["--condition", "wild type", "more.csv"], "has no condition, but others have"),
        (["--weights", "n" * 300], "no weights named"),
        (["--scheduler", "tcp://127.0.0.1:9"], "no dask scheduler answers"),
    ],
)
def test_bad_options(options, message, tmp_path, walks, weights, capsys):
    refused(capsys, run(walks, tmp_path / "out", weights, *options), message, tmp_path / "out")


def test_a_condition_without_files_is_refused(tmp_path, capsys):
    code = infer.main(["--condition", "mutant", "--out", str(tmp_path / "out")])
    refused(capsys, code, "--condition mutant: has no track files", tmp_path / "out")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "nul\0", "\udce9", 5])
def test_a_condition_has_a_name_that_can_be_printed(name, tmp_path, walks, weights):
    with pytest.raises(InputError, match="^--condition .*: expected a name"):
        infer_files({name: walks}, tmp_path / "out", weights=weights)
    with pytest.raises(InputError, match="no condition, but others have"):
        infer_files({"wt": walks, None: __file__}, tmp_path / "out", weights=weights)
    assert not (tmp_path / "out").exists()


def test_two_files_for_one_challenge_file_are_refused(tmp_path, walks, weights, capsys):
    other = tmp_path / "others.csv"
    other.write_bytes(walks.read_bytes())
    code = run([walks, other], tmp_path / "out", weights, "--andi")
    refused(capsys, code, f"{walks} and {other} would both be written to track_2/exp_0/fov_0.txt", tmp_path / "out")


def test_a_file_is_given_once(tmp_path, walks, weights, capsys):
    again = walks.parent / "." / walks.name
    refused(capsys, run([walks, again], tmp_path / "out", weights), "given twice", tmp_path / "out")


@pytest.mark.parametrize("options", [["--columns", "colour=red"], ["--format", "xls"], ["--pixel-size", "a"]])
def test_bad_arguments(options, tmp_path, walks, weights, capsys):
    with pytest.raises(SystemExit) as exit:
        run(walks, tmp_path / "out", weights, *options)
    refused(capsys, exit.value.code, f"argument {options[0]}: ", tmp_path / "out")


def test_every_option_states_its_default():
    for action in infer.make_parser()._actions:
        text = infer.make_parser()._get_formatter()._expand_help(action)
        assert action.dest == "help" or "Default: " in text or "Required" in text, action.dest
        assert action.choices is None or all(choice in text for choice in action.choices), action.dest


def test_existing_folder_needs_overwrite(tmp_path, walks, weights, capsys):
    out = tmp_path / "out"
    assert run(walks, out, weights, "--csv", "--andi") == 0
    (out / "notes.txt").write_text("mine")
    before = (out / "points.parquet").read_bytes()
    assert run(walks, out, weights) == 2 and "--overwrite" in capsys.readouterr().err
    assert (out / "points.parquet").read_bytes() == before
    assert run(walks, out, weights, "--overwrite") == 0
    assert not (out / "points.csv").exists() and not list(out.glob("track_2/*/*.txt"))
    assert (out / "notes.txt").exists() and (out / "points.parquet").read_bytes() == before


def test_failed_write_leaves_no_half_table(tmp_path, walks, weights, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("main.tracks.results.writer.pq.ParquetWriter.write_table", fail)
    assert run(walks, tmp_path / "out", weights) == 2
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert run(walks, tmp_path / "out", weights) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    monkeypatch.setattr("main.tracks.results.writer.pq.ParquetWriter.write_table", fail)
    assert run(walks, tmp_path / "out", weights, "--overwrite") == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("name", ["tracks.csv", "points.parquet"])
def test_results_never_replace_the_data_of_a_folder(name, tmp_path, walks, weights, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    table = pd.read_csv(walks)
    table.to_csv(folder / name, index=False) if name.endswith("csv") else table.to_parquet(folder / name)
    before = (folder / name).read_bytes()
    assert run(folder / name, folder, weights, "--overwrite") == 2
    assert "holds files but no results of infer.py" in capsys.readouterr().err
    assert [path.read_bytes() for path in folder.iterdir()] == [before]


def test_results_never_replace_their_input(tmp_path, walks, weights, capsys):
    out = tmp_path / "out"
    assert run(walks, out, weights) == 0
    before = (out / "points.parquet").read_bytes()
    assert run(out / "points.parquet", out, weights, "--overwrite") == 2
    assert "would be replaced by the results" in capsys.readouterr().err
    assert (out / "points.parquet").read_bytes() == before


def test_folders_made_for_nothing_go(tmp_path, walks, weights, capsys):
    out = tmp_path / "a" / "b" / "out"
    assert run(walks, out, weights, "--scheduler", "tcp://127.0.0.1:9") == 2
    assert not (tmp_path / "a").exists()


def test_an_error_between_two_blocks_leaves_no_folder(tmp_path):
    table = walk(np.random.default_rng(0), 5)
    out = tmp_path / "out"
    with pytest.raises(InputError, match="changed"), claim_new_results(out, False) as temporary:
        with open_writer(out, temporary, {}, csv=True) as writer:
            writer.add(dict.fromkeys(TABLES, table))
            assert (temporary / "points.csv").exists()
            raise InputError("a file changed")
    assert not out.exists()


REFUSED = """
import sys
from main.infer import main
assert main(sys.argv[1:]) == 2
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("wrong", ["file", "option", "folder", "missing"])
def test_a_refused_run_does_not_wait_for_torch(wrong, tmp_path, walks):
    path, out = tmp_path / "bad.csv", tmp_path / "out"
    path.write_text(BAD["text"][0])
    given = {
        "file": [path],
        "option": [walks, "--min-length", "1"],
        "folder": [walks],
        "missing": [tmp_path / "no.csv"],
    }
    if wrong == "folder":
        out.mkdir()
    command = [sys.executable, "-c", REFUSED, *given[wrong], "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_different_units_are_refused(tmp_path, walks, weights, capsys):
    other = tmp_path / "um.csv"
    walk(np.random.default_rng(0), 30).rename(columns={"x": "x_um", "y": "y_um"}).to_csv(other, index=False)
    refused(capsys, run([walks, other], tmp_path / "out", weights), "different units", tmp_path / "out")


def test_options_that_contradict_the_file_are_refused(tmp_path, weights, capsys):
    path, out = tmp_path / "um.csv", tmp_path / "out"
    table = walk(np.random.default_rng(0), 30).rename(columns={"x": "x_um", "y": "y_um"})
    table.to_csv(path, index=False)
    refused(capsys, run([path], out, weights, "--pixel-size", "0.1"), "positions are in um already", out)
    table = table.rename(columns={"track_id": "trajectory", "x_um": "x", "y_um": "y"})
    table.assign(t=0.05 * table["frame"]).to_csv(path, index=False)
    spoton = ("--format", "spoton", "--frame-interval")
    refused(capsys, run([path], out, weights, *spoton, "0.06"), "declares 0.05 s between frames", out)
    assert run([path], out, weights, *spoton, "0.0501") == 0
