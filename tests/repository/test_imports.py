"""Imports run one way, without circles; rooms, files and functions stay small.

    simulations < models < utils < an observable (tracks, ...) < loop < commands at the top of main < misc

A file imports what stands to its left, and its own room; an observable never imports another one.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import pytest
from helpers import ROOT

ORDER = ("simulations", "models", "utils", "observable", "loop", "commands", "misc")
OBSERVABLES = ("tracks", "images", "cells", "sequences")
MAX_UTILS_FILES = 12
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 80


@dataclass(frozen=True)
class Import:
    """Module `source` imports module `target`; `reason`: the comment on the line or above it."""

    source: str
    target: str
    line: int = 1
    inside: bool = False
    reason: str = ""

    def __str__(self):
        return f"{self.source}:{self.line} imports {self.target}"


def read_modules(folders=("main", "simulations", "misc")) -> dict[str, str]:
    """Text of every Python file, by the name of its module; a package is the name of its folder."""
    modules = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return modules


def imports(modules: Mapping[str, str]) -> list[Import]:
    """Every import of one of the modules by another; also inside functions, and with a bare name within misc."""
    return [found for name, text in modules.items() for found in _imports_of(name, text, modules)]


def _imports_of(name: str, text: str, modules: Mapping[str, str]) -> Iterator[Import]:
    tree, lines = ast.parse(text), ["", *text.splitlines()]
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    inside = {id(node) for function in functions for node in ast.walk(function)}
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and "noqa" not in token.string
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}:{node.lineno} is a relative import, expected the full name"
            targets = {full if (full := f"{node.module}.{a.name}") in modules else node.module for a in node.names}
        else:
            continue
        for target in sorted(targets):
            beside = f"misc.{target}"  # a script of misc imports the one beside it by its bare name
            target = beside if name.startswith("misc.") and beside in modules else target
            above = node.lineno - 1
            places = (node.lineno, node.end_lineno, *([above] if lines[above].lstrip().startswith("#") else []))
            reason = next((comments[i] for i in places if i in comments), "")
            yield Import(name, target, node.lineno, id(node) in inside, reason)


def room(module: str) -> tuple[int, str]:
    """Place in the order, and name, of the room in which a module stands."""
    parts = module.split(".")
    if parts[0] != "main":
        return ORDER.index(parts[0]), parts[0]
    if len(parts) > 1 and parts[1] in OBSERVABLES:
        return ORDER.index("observable"), parts[1]
    name = parts[1] if len(parts) > 1 and parts[1] in ORDER else "commands"
    return ORDER.index(name), name


def is_ours(module: str) -> bool:
    return module.split(".")[0] in ("main", "simulations", "misc")


def find_upward(found: Iterable[Import]) -> list[str]:
    """Imports of a later room, or of another observable."""
    wrong = []
    for each in found:
        if is_ours(each.target):
            (source, source_name), (target, target_name) = room(each.source), room(each.target)
            if target > source or (target == source and source_name != target_name):
                wrong.append(str(each))
    return wrong


def find_circle(found: Iterable[Import]) -> list[str]:
    """Modules that import each other in a circle, the first one once more at the end; empty if there are none."""
    graph = TopologicalSorter()
    for each in found:
        if is_ours(each.target):
            graph.add(each.source, each.target)
    try:
        graph.prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def find_main_in_simulations(found: Iterable[Import]) -> list[str]:
    """Imports of main in simulations."""
    return [str(i) for i in found if i.source.split(".")[0] == "simulations" and i.target.split(".")[0] == "main"]


def find_unexplained(found: Iterable[Import]) -> list[str]:
    """Imports inside functions, of our modules or of packages, without a comment that gives the reason."""
    return [str(each) for each in found if each.inside and not each.reason]


def files_of_utils(modules: Iterable[str]) -> list[str]:
    """Modules in main/utils, its `__init__` included."""
    return [name for name in modules if f"{name}.".startswith("main.utils.")]


def find_long(modules: Mapping[str, str]) -> list[str]:
    """Files and functions with too many lines."""
    long = []
    for name, text in modules.items():
        if (lines := len(text.splitlines())) > MAX_FILE_LINES:
            long.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                if (lines := node.end_lineno - first + 1) > MAX_FUNCTION_LINES:
                    long.append(f"{name}.{node.name}: {lines} lines")
    return long


@pytest.fixture(scope="module")
def found():
    return imports(read_modules())


def test_imports_run_one_way(found):
    assert find_upward(found) == []


def test_there_is_no_circle(found):
    assert find_circle(found) == []


def test_simulations_import_nothing_of_main(found):
    assert find_main_in_simulations(found) == []


def test_imports_inside_functions_give_their_reason(found):
    assert find_unexplained(found) == []


def test_utils_holds_few_files():
    assert len(files_of_utils(read_modules())) <= MAX_UTILS_FILES


def test_files_and_functions_are_short():
    assert find_long(read_modules(("main", "simulations"))) == []


def test_modules_and_rooms_are_seen(found):
    modules = read_modules()
    assert {"main", "main.infer", "main.tracks.table", "simulations.stream", "misc.bench"} <= set(modules)
    assert len(found) > 300 and any(each.inside for each in found)
    rooms = {room(name)[1] for name in modules}
    assert rooms >= {"simulations", "models", "utils", "tracks", "commands", "misc"}


# Each rule must be able to fail: made-up modules, of which one breaks it.


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("main.models.heads", "main.utils.runs"),
        ("main.utils.runs", "main.tracks.table"),
        ("main.utils.runs", "main.infer"),
        ("main.tracks.table", "main.images.data"),
        ("main.sequences.data", "main.cells.data"),
        ("main.cells.data", "main.loop.chain"),
        ("main.tracks.pipeline", "main.infer"),
        ("main.loop.chain", "main.close_loop"),
        ("main.infer", "misc.bench"),
        ("simulations.stream", "main.models"),
        ("simulations.stream", "misc.bench"),
    ],
)
def test_an_import_that_runs_back_up_is_found(source, target):
    for text in (f"import {target}", f"from {target} import x", f"def f():\n    from {target} import x  # heavy"):
        (wrong,) = find_upward(imports({source: text, target: ""}))
        assert wrong.startswith(source) and wrong.endswith(target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("main.models.heads", "simulations.grid"),
        ("main.utils.runs", "main.models"),
        ("main.tracks.table", "main.tracks.reading.formats"),
        ("main.images.data", "main.utils.errors"),
        ("main.loop.chain", "main.cells.data"),
        ("main.loop.chain", "main.tracks.table"),
        ("main.ship", "main.train"),
        ("misc.limits", "main.infer"),
        ("main.tracks.table", "numpy"),
    ],
)
def test_other_imports_are_allowed(source, target):
    assert find_upward(imports({source: f"from {target} import x", target: ""})) == []


def test_a_module_named_after_from_is_the_target():
    modules = {"main.infer": "from main.utils import runs, VERSION", "main.utils": "", "main.utils.runs": ""}
    assert {each.target for each in imports(modules)} == {"main.utils", "main.utils.runs"}


def test_a_circle_is_found():
    modules = {
        "main.tracks.a": "from main.tracks import b",
        "main.tracks.b": "import numpy\ndef f():\n    from main.tracks.c import x  # hides the circle",
        "main.tracks.c": "import main.tracks.a",
        "main.tracks": "",
    }
    circle = find_circle(imports(modules))
    assert circle[0] == circle[-1] and set(circle) == {f"main.tracks.{x}" for x in "abc"}
    start = circle.index("main.tracks.a")
    assert (circle[:-1] * 2)[start + 1] == "main.tracks.b"  # in the direction of the imports
    modules["main.tracks.c"] = ""
    assert find_circle(imports(modules)) == []


def test_a_script_that_imports_the_one_beside_it_is_found():
    modules = {"misc.a": "from b import x", "misc.b": "import a"}
    assert set(find_circle(imports(modules))) == {"misc.a", "misc.b"}


def test_simulations_that_import_main_are_found():
    modules = {"simulations.a": "def f():\n    import main.utils.errors  # reason", "main.utils.errors": "import main"}
    assert find_main_in_simulations(imports(modules)) == ["simulations.a:2 imports main.utils.errors"]


def test_an_import_inside_a_function_without_a_reason_is_found():
    text = (
        "import json\ndef f():\n    import torch\n    import onnx  # optional\n    import dask  # noqa: F401\n"
        "    from x import (  # heavy\n        y,\n    )\nclass A:\n    async def g(self):\n        import os\n"
        "        # heavy\n        import jax\n        y = 1  # one\n        import re\n"
    )
    assert find_unexplained(imports({"main.a": text})) == [
        "main.a:3 imports torch",
        "main.a:5 imports dask",
        "main.a:11 imports os",
        "main.a:15 imports re",
    ]


def test_relative_imports_are_refused():
    with pytest.raises(AssertionError, match="main.a:1 is a relative import"):
        imports({"main.a": "from . import b"})


def test_a_thirteenth_file_of_utils_is_found():
    names = [f"main.utils.m{i}" for i in range(MAX_UTILS_FILES - 1)]
    full = dict.fromkeys(["main.utils", *names, "main.tracks.utils"], "")
    assert len(files_of_utils(full)) == MAX_UTILS_FILES
    assert len(files_of_utils(full | {"main.utils.deep.m": ""})) > MAX_UTILS_FILES


def test_long_files_and_functions_are_found():
    short = "def f():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1)
    assert find_long({"main.a": short, "main.b": "\n" * MAX_FILE_LINES}) == []
    assert find_long({"main.a": "@styled\n" + short}) == [f"main.a.f: {MAX_FUNCTION_LINES + 1} lines"]
    assert find_long({"main.b": "\n" * (MAX_FILE_LINES + 1)}) == [f"main.b: {MAX_FILE_LINES + 1} lines"]
