"""The commands in README.md exist, and take the options that it shows; the files it names are there."""

import importlib
import re

import pytest
from helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"python ((?:main|simulations|misc)/\w+\.py)([^`\n]*)", README)))


@pytest.mark.parametrize(("script", "arguments"), COMMANDS, ids=lambda text: text.strip()[:40])
def test_command_takes_these_options(script, arguments, capsys, monkeypatch):
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    monkeypatch.setattr("sys.argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for option in re.findall(r"--[a-z-]+", arguments):
        assert re.search(rf"{option}\b", shown), f"{script} has no {option}"


def test_files_named_in_the_tree_are_there():
    tree = README.split("## Files")[1].split("```")[1]
    folders = ("", "simulations", "main", "main/models", "main/utils", "misc")
    names = re.findall(r"[\w]+\.py", tree)
    assert len(names) > 20
    assert [n for n in names if not any((ROOT / folder / n).exists() for folder in folders)] == []


def test_pictures_shown_are_committed():
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file(), picture
