"""A run killed at any moment leaves no table or a whole one."""

import json
import multiprocessing
import time

import numpy as np
import pandas as pd
import pytest

from main.tracks.results.writer import TABLES, Writer

N_KILLS, ROWS = 20, 20_000
UNITS = {"x": "px"}


def tables():
    number = np.arange(ROWS)
    table = pd.DataFrame({"track_id": number // 100, "frame": number % 100, "x": number * 0.5})
    return {name: table.iloc[::every].reset_index(drop=True) for name, every in zip(TABLES, (1, 10, 100), strict=True)}


def write_forever(folder, result):
    while True:
        writer = Writer(folder, UNITS, csv=True)
        for half in (slice(None, 100), slice(100, None)):
            writer.add({name: table[half] for name, table in result.items()})
        writer.finish({"rows": ROWS}, {})


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forked with threads: the child only writes
def test_tables_are_whole_or_not_there(tmp_path):
    result, rng, seen = tables(), np.random.default_rng(0), []
    context = multiprocessing.get_context("fork")
    for i in range(N_KILLS):
        folder = tmp_path / str(i)
        child = context.Process(target=write_forever, args=(folder, result))
        child.start()
        deadline = time.monotonic() + 20
        begun = folder if i % 2 else folder / "run.json"  # in the first writing, or in one that replaces another
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        child.kill()
        child.join()
        for name in TABLES:
            for path, read in ((folder / f"{name}.parquet", pd.read_parquet), (folder / f"{name}.csv", pd.read_csv)):
                seen.append(path.exists())
                if path.exists():
                    pd.testing.assert_frame_equal(read(path), result[name])
        if (folder / "run.json").exists():
            assert json.loads((folder / "run.json").read_text()) == {"rows": ROWS}
            assert all((folder / f"{name}.parquet").exists() for name in TABLES)
    assert any(seen) and not all(seen)
