"""The command check: what was understood of a file, and the same refusals as those of infer."""

import argparse
import sys

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT

from main import check, cli
from main.tracks.arguments import parse_columns

RECEPTORS, TRACKS = ROOT / "samples" / "receptors.csv", ROOT / "samples" / "tracks.csv"


def shown(capsys, *arguments) -> dict[str, str]:
    """First words of each line of the output -> its text."""
    assert check.main([str(argument) for argument in arguments]) == 0
    return {line[:10].strip(): line[11:] for line in capsys.readouterr().out.splitlines()[1:]}


def test_sample_with_units(capsys):
    lines = shown(capsys, RECEPTORS)
    table = pd.read_csv(RECEPTORS)
    lengths = table.groupby("track_id").size()
    assert "x from 'x_um'" in lines["read as"]
    assert lines["units"].startswith("positions in um, 0.02 s between frames; results in um and s")
    assert lines["rows"] == f"{len(table)} in the file: {len(table)} read, dropped none"
    assert lines["tracks"].startswith(f"{len(lengths)}, of {lengths.min()} to {lengths.max()} points")
    used = lengths[lengths >= 20]
    assert lines["analysed"].startswith(f"{len(used)} tracks with {used.sum()} of {len(table)} points; ")
    assert "--localization-error" in lines["error"]


def test_options_are_those_of_infer(capsys):
    lines = shown(capsys, TRACKS, "--pixel-size", "0.1", "--localization-error", "0.12", "--min-length", "201")
    assert "0.1 um per px" in lines["units"] and "give --frame-interval" in lines["units"]
    assert lines["error"] == "localisation error: 0.12 px, as given"
    assert lines["analysed"].startswith("0 tracks with 0 of")


def test_dropped_rows_and_gaps_are_counted(tmp_path, capsys):
    table = pd.DataFrame({"track_id": np.repeat([3, -1], [40, 5]), "frame": np.arange(45), "x": 0.0, "y": 1.0})
    table.drop(index=[10, 11, *range(20, 25)]).to_csv(tmp_path / "t.csv", index=False)
    lines = shown(capsys, tmp_path / "t.csv", "--min-length", "15")
    assert lines["rows"] == "38 in the file: 33 read, dropped 5 unassigned"
    assert lines["tracks"].endswith("2 gaps, the longest 5 frames")
    assert "1 tracks with 33 of 33 points" in lines["analysed"] and "into 2 pieces" in lines["analysed"]


def test_a_bad_file_does_not_hide_the_others(tmp_path, capsys):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert check.main([str(tmp_path / "bad.csv"), str(TRACKS)]) == 2
    printed = capsys.readouterr()
    assert "no column" in printed.err and printed.err.count("\n") == 1
    assert str(TRACKS) in printed.out and not list(tmp_path.glob("results*"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("track=a,x=b", {"track_id": "a", "x": "b"}),
        ("x=Position, um,y = y=1", {"x": "Position, um", "y": "y=1"}),
        ("x=a,x=b", None),
        ("track=a,track_id=b", None),
        ("z=a", None),
        ("x=", None),
        ("", None),
    ],
)
def test_columns_option(text, named):
    if named is not None:
        assert parse_columns(text) == named
    else:
        with pytest.raises(argparse.ArgumentTypeError, match="expected track=NAME"):
            parse_columns(text)


@pytest.mark.parametrize("options", [["--pixel-size", "0"], ["--min-length", "2"], ["--format", "none"]])
def test_wrong_options_are_one_sentence(options, capsys):
    try:
        code = check.main([str(TRACKS), *options])
    except SystemExit as ended:
        code = ended.code
    assert code == 2 and capsys.readouterr().err.count("\n") == 1


def test_torch_is_not_loaded(monkeypatch, capsys):
    """So that the answer comes within a second."""
    for name in [name for name in sys.modules if name.split(".")[0] == "main"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cli.main(["check", str(TRACKS)]) == 0
    assert "60, of" in capsys.readouterr().out
