"""READMEs: the front page is short, links lead somewhere, and examples run as they are written."""

import importlib
import os
import re
import subprocess
import sys

import pytest
from helpers import ROOT

FOLDERS = ("", "main", "main/tracks", "main/models/weights", "misc", "plots", "simulations")
PAGES = [page for folder in FOLDERS if (ROOT / (page := f"{folder}/README.md".lstrip("/"))).exists()]
TABLES = [page for page in ("misc/benchmark.md", "misc/limits.md", "misc/campaign.md") if (ROOT / page).exists()]
SECONDS_EACH = 300  # a hang, not a target
TOO_LONG = re.compile(
    r"--steps|torchrun|dask |(benchmark|calibrate|limits|m3_scores|bench|export_onnx|equivalence)\.py"
)


def read(page) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, language="") -> list[str]:
    """Text of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL)


def commands(page) -> list[str]:
    """Lines of the blocks without a language that call something, comments left out."""
    lines = (line.split("  #")[0].strip() for block in blocks(page) for line in block.splitlines())
    starts = (".venv/bin/", "python ", "torchrun ", "echo ", "cp ", "make ", "tracewise ")
    return [line for line in lines if line.startswith(starts)]


def test_front_page_is_short():
    assert len(read("README.md").splitlines()) <= 200
    assert all(name in read("README.md") for name in ("make run", "make test", "main/infer.py", "scheduler"))


@pytest.mark.parametrize("page", PAGES + TABLES, ids=str)
def test_links_and_pictures_are_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            assert (ROOT / page).parent.joinpath(target.split("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES + TABLES, ids=str)
def test_paths_in_text_are_there(page):
    """Files named in backquotes with a folder before them, and modules."""
    for path in re.findall(
        r"`((?:main|simulations|misc|tests|plots|samples)/[\w./-]+\.(?:py|md|ipynb|json|csv))`", read(page)
    ):
        assert (ROOT / path).exists(), path


SCRIPTS = sorted(
    {
        found
        for page in PAGES + TABLES
        for text in (read(page),)
        for found in re.findall(r"python ((?:main|simulations|misc)/\w+\.py)([^`\n|]*)", text)
    }
)


@pytest.mark.parametrize(("script", "arguments"), SCRIPTS, ids=lambda text: text.strip()[:40])
def test_command_takes_these_options(script, arguments, capsys, monkeypatch):
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    monkeypatch.setattr("sys.argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for option in re.findall(r"--[a-z0-9-]+", arguments.split(" #")[0]):
        assert re.search(rf"{option}\b", shown), f"{script} has no {option}"


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page) or blocks(page, "python")], ids=str)
def test_examples_run_as_they_are_written(page, tmp_path):
    """In a folder of their own with the project beside them; what takes long is checked for its options above."""
    for name in ("main", "simulations", "misc", "samples", "Makefile", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    made = {line for line in commands(page) if line.startswith("make ")}
    assert all(re.search(rf"^{line.split()[1]}:", read("Makefile"), re.MULTILINE) for line in made)
    examples = [line for line in commands(page) if line not in made and not TOO_LONG.search(line)]
    weights = re.findall(r"ship\.py --name (\S+)", " ".join(examples))
    for line in examples:
        if "ship.py" in line or any(name in line for name in weights):
            continue  # needs runs that take long
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS_EACH
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    for block in blocks(page, "python"):
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_EACH,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
