"""Every notebook runs top to bottom in smoke mode, away from the tree; outputs are stripped, cells small."""

import ast
import shutil

import nbformat
import pytest
from helpers import ROOT
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "main").glob("*.ipynb"))
SMOKE_SECONDS = 300  # a hang, not a target: the machine may be busy


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs_in_smoke_mode(path, tmp_path, monkeypatch):
    """Notebooks read `../samples`, write `../plots`, `../runs` and `../results`: all of it in `tmp_path`."""
    (tmp_path / "main").mkdir()
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    monkeypatch.setenv("SMOKE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for a busy core cost more than they bring
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": tmp_path / "main"}}
    NotebookClient(notebook, timeout=SMOKE_SECONDS, resources=where).execute()
    assert any((tmp_path / "plots").glob("*.svg"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_stripped_and_small(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "strip it: nbstripout main/*.ipynb"
    assert max(len(cell.source.splitlines()) for cell in code) <= 15
    assert [cell.metadata.get("tags") for cell in code].count(["parameters"]) == 1
    assert notebook.cells[0].source.startswith("# ") and "Expected time" in notebook.cells[0].source
    for cell in code:
        source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        assert not any(isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(source)))


def test_all_notebooks_of_the_design_are_there():
    expected = {"train_k", "train_alpha", "train_state", "tune", "inference", "benchmark", "aging", "brownian"}
    assert expected <= {path.stem for path in NOTEBOOKS}
