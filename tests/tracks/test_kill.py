"""A run killed at any moment leaves no table or a whole one, and no record beside tables of another run."""

import json
import multiprocessing
import time
from itertools import count

import numpy as np
import pandas as pd
import pytest

from main.tracks.results.folder import TABLES, claim_new_results
from main.tracks.results.writer import Writer

N_KILLS, ROWS = 20, 20_000
UNITS = {"x": "px"}
RECORD = {"inputs": [], "code_version": "0", "counts": {}}


def make_tables(run):
    number = np.arange(ROWS)
    table = pd.DataFrame({"track_id": number // 100, "frame": number % 100, "x": number * 0.5 + run})
    return {name: table.iloc[::every].reset_index(drop=True) for name, every in zip(TABLES, (1, 10, 100), strict=True)}


def write_forever(folder):
    for run in count():
        with claim_new_results(folder, overwrite=run > 0) as temporary:
            writer = Writer(folder, temporary, UNITS, csv=run % 2 == 0)
            for half in (slice(None, 100), slice(100, None)):
                writer.add({name: table[half] for name, table in make_tables(run).items()})
            writer.finish(RECORD | {"run": run}, {})


def check_folder(folder):
    """Every table is whole; with a run.json, all tables are there, and of its run."""
    seen, record = [], {}
    if (folder / "run.json").exists():
        record = json.loads((folder / "run.json").read_text())
    for name in TABLES:
        for path, read in ((folder / f"{name}.parquet", pd.read_parquet), (folder / f"{name}.csv", pd.read_csv)):
            seen.append(path.exists())
            if path.exists():
                table = read(path)
                pd.testing.assert_frame_equal(table, make_tables(int(record.get("run", table["x"][0])))[name])
    if record:
        assert seen == [True, record["run"] % 2 == 0] * len(TABLES)
    return seen


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forked with threads: the child only writes
def test_tables_are_whole_or_not_there(tmp_path):
    rng, seen = np.random.default_rng(0), []
    context = multiprocessing.get_context("fork")
    for i in range(N_KILLS):
        folder = tmp_path / str(i)
        child = context.Process(target=write_forever, args=(folder,))
        child.start()
        deadline = time.monotonic() + 20
        begun = folder if i % 2 else folder / "run.json"  # in the first writing, or in one that replaces another
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        child.kill()
        child.join()
        seen += check_folder(folder)
        before = (folder / "run.json").exists()
        with claim_new_results(folder, overwrite=True):  # what was complete comes to its place; the rest goes
            after = check_folder(folder)
        assert before <= (folder / "run.json").exists()
        assert any(after) == (folder / "run.json").exists() and not (folder / ".tracewise").exists()
    assert any(seen) and not all(seen)
