"""What `pip install .`, the command `tracewise` and the Dockerfile need is there."""

import ast
import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest
from helpers import ROOT

from main import cli

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# Imported package -> the package of requirements.txt that brings it.
BROUGHT_BY = {"stochastic": "andi-datasets", "PIL": "matplotlib"}


def required(lines) -> set[str]:
    """Names in a list of requirements."""
    names = (re.match(r"[\w.-]+", line) for line in lines if not line.lstrip().startswith("#"))
    return {name.group().lower().replace("_", "-") for name in names if name}


RUN_TIME = required((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
DEV = required(PROJECT["project"]["optional-dependencies"]["dev"])


def imported(text: str) -> set[str]:
    """Top-level packages that a Python file imports, those of Python and of this repository left out."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"main", "simulations", "misc"} - {p.stem for p in ROOT.glob("*/*.py")}


def code_of(path) -> str:
    """A Python file, or the code cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [c["source"] for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    return "\n".join(line.rstrip("\n") for lines in cells for line in [*lines, "\n"] if not line.startswith("%"))


def distributions(names: set[str]) -> set[str]:
    """Names under which pip knows imported packages."""
    found = importlib.metadata.packages_distributions()
    return {found.get(BROUGHT_BY.get(n, n), [BROUGHT_BY.get(n, n)])[0].lower().replace("_", "-") for n in names}


def test_every_import_is_required_and_no_more():
    files = [
        p
        for folder in ("main", "simulations")
        for suffix in ("py", "ipynb")
        for p in ROOT.glob(f"{folder}/**/*.{suffix}")
    ]
    assert len(files) > 50
    needed = distributions(set().union(*(imported(code_of(path)) for path in files)))
    assert needed - RUN_TIME == set(), "missing in requirements.txt"
    # torch writes TensorBoard's files through tensorboard; andi-datasets imports IPython without saying so
    assert RUN_TIME - needed - {"tensorboard", "ipython"} == set(), "required and imported nowhere"


def test_tools_of_tests_are_in_the_extra():
    files = [p for folder in ("tests", "misc") for p in ROOT.glob(f"{folder}/**/*.py")]
    helpers = {path.stem for path in ROOT.glob("tests/*.py")}
    needed = distributions(set().union(*(imported(code_of(path)) for path in files)) - helpers)
    assert needed - RUN_TIME - DEV - {"nbformat"} == set()  # nbformat comes with nbclient
    assert DEV & RUN_TIME == set()


def test_imports_are_seen():
    text = (
        "import os, numpy as np\nfrom torch.nn import Module\ndef f():\n    import sklearn.cluster\n    import main.cli"
    )
    assert imported(text) == {"numpy", "torch", "sklearn"}
    assert distributions({"PIL", "andi_datasets", "not_installed"}) == {"matplotlib", "andi-datasets", "not-installed"}


def test_there_is_one_list_of_requirements():
    assert PROJECT["project"]["dynamic"] == ["dependencies"] and "dependencies" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    assert '-e ".[dev]"' in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_files_that_are_no_python_come_with_the_package():
    patterns = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
    ]
    files = [
        path.relative_to(ROOT)
        for path in ROOT.glob("main/*/**/*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts and path.name != "README.md"
    ]
    assert {".safetensors", ".json", ".js", ".css", ".html"} <= {path.suffix for path in files}
    assert [path for path in files if not any(path.match(pattern) for pattern in patterns)] == []


class TestTracewise:
    """The command."""

    def test_help_fits_one_screen_with_a_sentence_for_each_command(self, capsys):
        assert cli.main(["--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 80
        for name in ("infer", "kinetics", "report", "train", "benchmark"):
            (line,) = [line for line in lines if line.startswith(f"  {name} ")]
            assert line.endswith(".") and len(line.split()) > 3

    def test_help_imports_neither_torch_nor_pandas(self):
        script = "import sys; from main import cli; cli.main(['--help']); print({'torch', 'pandas'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.endswith("set()\n")

    @pytest.mark.parametrize("name", cli.COMMANDS)
    def test_help_of_each_command_has_its_name(self, name, capsys):
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0 and capsys.readouterr().out.startswith(f"usage: tracewise {name} [")

    def test_unknown_command_gives_one_sentence(self, capsys):
        assert cli.main(["fly", "--high"]) == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1 and "'fly'" in printed.err and "infer" in printed.err and not printed.out

    def test_infer_kinetics_and_report_give_what_the_scripts_give(self, walks, weights, tmp_path, capsys):
        out = tmp_path / "out"
        arguments = [str(walks), "--out", str(out), "--weights", str(weights)]
        assert cli.main(["infer", *arguments]) == 0
        assert json.loads((out / "run.json").read_text())["command"] == shlex.join(["tracewise", "infer", *arguments])
        assert cli.main(["report", str(out)]) == 0
        assert (out / "report.html").read_text(encoding="utf-8").startswith("<!")
        assert cli.main(["kinetics", str(out)]) == 0
        assert (out / "kinetics.csv").is_file()

    @pytest.mark.parametrize("name", ["report", "kinetics"])
    def test_a_folder_without_results_gives_one_sentence(self, name, tmp_path, capsys):
        assert cli.main([name, str(tmp_path)]) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1 and "no run.json" in printed and not list(tmp_path.iterdir())

    def test_pip_installs_it(self):
        assert PROJECT["project"]["scripts"] == {"tracewise": "main.cli:main"}


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and argument of each line of a Dockerfile; comments left out, broken lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


class TestDockerfile:
    """No container is built here: what the Dockerfile names is checked."""

    def test_files_that_are_copied_are_there(self):
        ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        copied = [a for word, rest in instructions(DOCKERFILE) if word in ("COPY", "ADD") for a in rest.split()[:-1]]
        assert {"main", "simulations", "pyproject.toml", "requirements.txt"} <= set(copied)
        for name in copied:
            assert (ROOT / name).exists(), name
            assert f"!{name}" in ignored, f".dockerignore leaves out {name}"
        assert {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]} <= set(copied)  # pip reads them

    def test_commands_are_there(self):
        run = [rest for word, rest in instructions(DOCKERFILE) if word == "RUN"]
        commands = {shlex.split(part)[0] for rest in run for part in rest.split("&&")}
        assert "pip" in commands
        for name in commands - {"pip"}:
            assert shutil.which(name), f"{name} is no command of Debian"
        (entry,) = [json.loads(rest) for word, rest in instructions(DOCKERFILE) if word == "ENTRYPOINT"]
        assert entry == ["tracewise"] and entry[0] in PROJECT["project"]["scripts"]
        (default,) = [json.loads(rest) for word, rest in instructions(DOCKERFILE) if word == "CMD"]
        assert cli.main(default) == 0

    def test_commands_of_the_comments_are_there(self):
        (run,) = re.findall(r"^# docker run .* tracewise (.*)$", DOCKERFILE, flags=re.MULTILINE)
        assert run.split()[0] in cli.COMMANDS

    def test_it_runs_as_a_user_in_its_folder(self):
        words = instructions(DOCKERFILE)
        assert words[0] == ("FROM", "python:3.12-slim")
        assert [rest for word, rest in words if word == "WORKDIR"][-1] == "/data"
        last = [word for word, _ in words]
        assert ("USER", "tracewise") in words and last.index("USER") > len(last) - 1 - last[::-1].index("RUN")
        assert any("useradd" in rest and rest.split("&&")[0].split()[-1] == "tracewise" for _, rest in words)

    def test_instructions_are_read(self):
        text = "# a\nFROM x\n  # b\nRUN one \\\n    two\n\nCOPY a b c/\n"
        assert instructions(text) == [("FROM", "x"), ("RUN", "one      two"), ("COPY", "a b c/")]


def test_tracked_files_are_small():
    """No file above 4 MB, 40 MB in all."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sizes = {name: (ROOT / name).stat().st_size for name in listed.split("\0") if name and (ROOT / name).exists()}
    assert {name: size for name, size in sizes.items() if size > 4e6} == {}
    assert 1e6 < sum(sizes.values()) < 40e6
