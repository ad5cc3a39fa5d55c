"""Every notebook runs top to bottom in smoke mode, away from the tree; git holds no outputs; cells are small."""

import ast
import shlex
import shutil
import subprocess
import sys

import nbformat
import pytest
from helpers import ROOT
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "main").glob("*.ipynb"))
SMOKE_SECONDS = 300  # a hang, not a target: the machine may be busy


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs_in_smoke_mode(path, tmp_path, monkeypatch):
    """In a copy of the folders that notebooks read; figures go under `runs`, and only ignored folders are written."""
    (tmp_path / "main").mkdir()
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    monkeypatch.setenv("SMOKE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for a busy core cost more than they bring
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": tmp_path / "main"}}
    NotebookClient(notebook, timeout=SMOKE_SECONDS, resources=where).execute()
    figures = {figure.stem for figure in (tmp_path / "runs" / "plots_smoke").glob("*.svg")}
    assert figures and figures == {p.stem for p in (tmp_path / "runs" / "plots_smoke").glob("*.png")}
    written = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*") if p.is_file()}
    assert written <= {"samples", "runs", "results", "data"}
    for sample in (ROOT / "samples").iterdir():
        assert (tmp_path / "samples" / sample.name).read_bytes() == sample.read_bytes()


def outputs_of(text: str) -> list[int]:
    """Numbers of the code cells that hold an output or a count of executions."""
    cells = nbformat.reads(text, as_version=4).cells
    return [i for i, c in enumerate(cells) if c.cell_type == "code" and (c.outputs or c.execution_count)]


def in_git(path) -> str | None:
    """The file as git has it, committed or staged; None outside a git checkout; the file itself if git has none yet."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return None
    found = subprocess.run(["git", "show", f":{path.relative_to(ROOT)}"], cwd=ROOT, capture_output=True, check=False)
    return found.stdout.decode() if found.returncode == 0 else path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_git_holds_no_outputs(path):
    """Outputs in the working tree are welcome: whoever runs a notebook in place breaks no test."""
    text = in_git(path)
    if text is None:
        pytest.skip("no git checkout: outputs may be there")
    assert not outputs_of(text), f"strip what is staged: nbstripout {path.name}, or `make`, then git add"


def test_outputs_are_found():
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=3)
    printed = nbformat.v4.new_code_cell("print(2)", outputs=[nbformat.v4.new_output("stream", text="2")])
    cells = [nbformat.v4.new_code_cell("2"), cell, nbformat.v4.new_markdown_cell("3"), printed]
    assert outputs_of(nbformat.writes(nbformat.v4.new_notebook(cells=cells))) == [1, 3]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cells_are_small(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert max(len(cell.source.splitlines()) for cell in code) <= 15
    assert [cell.metadata.get("tags") for cell in code].count(["parameters"]) == 1
    assert notebook.cells[0].source.startswith("# ") and "Expected time" in notebook.cells[0].source
    for cell in code:
        source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        assert not any(isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(source)))


def test_all_notebooks_of_the_design_are_there():
    expected = {"train_k", "train_alpha", "train_state", "tune", "inference", "benchmark", "aging", "brownian"}
    assert expected <= {path.stem for path in NOTEBOOKS}


class TestFilter:
    """The git filter that `make` installs."""

    @pytest.fixture
    def checkout(self, tmp_path):
        """A folder with the hooks, and a notebook that holds an output."""
        shutil.copytree(ROOT / "misc" / "hooks", tmp_path / "misc" / "hooks")
        shutil.copy(ROOT / ".gitattributes", tmp_path)
        cell = nbformat.v4.new_code_cell("print(2)", outputs=[nbformat.v4.new_output("stream", text="2")])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "x.ipynb")
        return tmp_path

    @staticmethod
    def call(folder, *command, **options):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout

    @pytest.fixture
    def installed(self, checkout):
        """The same as a git checkout with the filter and nbstripout."""
        (checkout / ".venv" / "bin").mkdir(parents=True)
        strip = checkout / ".venv" / "bin" / "nbstripout"
        strip.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m nbstripout "$@"\n')
        strip.chmod(0o755)
        self.call(checkout, "git", "init", "-q")
        self.call(checkout, "misc/hooks/install.sh")
        return checkout

    def test_outputs_stay_in_the_tree_and_out_of_git(self, installed):
        before = (installed / "x.ipynb").read_text()
        self.call(installed, "git", "add", "x.ipynb")
        assert outputs_of(before) == [0] and (installed / "x.ipynb").read_text() == before
        assert outputs_of(self.call(installed, "git", "show", ":x.ipynb")) == []

    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
    def test_git_sees_no_change_where_a_notebook_was_only_run(self, path, installed):
        if (text := in_git(path)) is None:
            pytest.skip("no git checkout: outputs may be there")
        notebook = nbformat.reads(text, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="2")], 1
                cell.metadata["execution"] = {"iopub.status.busy": "2026"}
        notebook.metadata.language_info = {
            "codemirror_mode": {"name": "ipython", "version": 3},
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3",
            "version": "3.12.1",
        }
        nbformat.write(notebook, installed / "x.ipynb")
        self.call(installed, "git", "add", "x.ipynb")
        assert self.call(installed, "git", "show", ":x.ipynb") == text

    def test_without_nbstripout_nothing_is_blocked(self, checkout):
        self.call(checkout, "git", "init", "-q")
        self.call(checkout, "misc/hooks/install.sh")
        self.call(checkout, "git", "add", "x.ipynb")
        assert outputs_of(self.call(checkout, "git", "show", ":x.ipynb")) == [0]

    @pytest.mark.parametrize("git", [True, False])
    def test_outside_a_checkout_nothing_is_done(self, checkout, git):
        """As in an archive that was unpacked inside another repository; or where git is missing."""
        outer = checkout / "outer"
        outer.mkdir()
        (checkout / "misc").rename(outer / "misc")
        self.call(checkout, "git", "init", "-q")
        before = (checkout / ".git" / "config").read_text()
        if not git:
            (outer / ".git").mkdir()
        self.call(outer, "/bin/sh", "misc/hooks/install.sh", env=None if git else {"PATH": str(outer)})
        assert (checkout / ".git" / "config").read_text() == before
