"""Damaged files: every one is either read or refused with one sentence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import REAL
from hypothesis import given, settings
from hypothesis import strategies as st
from track_files import chain, icy, mdf, mosaic_report, session, write_imaris, write_mtrackj_table, write_utrack

from main.tracks.reading.formats import read_tracks
from main.tracks.table import COLUMNS
from main.utils.errors import InputError

FILES = (
    "trackmate_example.csv",
    "trackmate_example.xml",
    "saspt_u2os_ht_nls_region_0.csv",
    "andi2_challenge/exp_1/trajs_fov_0.csv",
)
PER_FILE = 60
TOKENS = (
    b"",
    b"nan",
    b"-1",
    b"1e400",
    b"NaN",
    b"None",
    b"0x1",
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    "µ".encode(),
    b"<",
    b">",
    b"&x;",
    b"<!DOCTYPE a>",
    b"9" * 40,
)


def damaged(data: bytes, rng) -> bytes:
    """Damage the data at one to four random places.

    Bytes are changed, a piece is cut out, doubled or moved, a token is put in, or the end is lost.
    """
    for _ in range(rng.integers(1, 5)):
        a, b = np.sort(rng.integers(0, len(data) + 1, 2))
        b = min(b, a + rng.integers(1, 200))
        kind = rng.integers(6)
        if kind == 0:
            flipped = np.frombuffer(data[a:b], np.uint8) ^ rng.integers(0, 256, b - a, dtype=np.uint8)
            data = data[:a] + flipped.tobytes() + data[b:]
        elif kind == 1:
            data = data[:a] + data[b:]
        elif kind == 2:
            data = data[:b] + data[a:]
        elif kind == 3:
            data = data[b:] + data[a:b] + data[:a]
        elif kind == 4:
            data = data[:a] + TOKENS[rng.integers(len(TOKENS))] + data[min(a + rng.integers(0, 9), len(data)) :]
        else:
            data = data[:b] if rng.random() < 0.3 else data
    return data


def read_or_refuse(path, data):
    """Read a file of these bytes; anything but tracks or one sentence fails the test."""
    path.write_bytes(data)
    try:
        table = read_tracks(path).table
    except InputError as error:
        assert str(error) and "\n" not in str(error)
        return False
    assert list(table.columns[:4]) == list(COLUMNS) and len(table) and np.isfinite(table[["x", "y"]]).all(axis=None)
    assert not table.duplicated(["track_id", "frame"]).any()
    return True


@pytest.mark.skipif(not REAL.exists(), reason="the real files in ../shared/data are not here")
@pytest.mark.parametrize("name", FILES)
def test_damaged_copies_of_real_files(tmp_path, name):
    data, rng = (REAL / name).read_bytes()[:30_000], np.random.default_rng(0)
    end = b"</particle>" if name.endswith("xml") else b"\n"
    data = data[: data.rindex(end) + len(end)] + b"</Tracks>" * name.endswith("xml")
    path = tmp_path / Path(name).name
    assert read_or_refuse(path, data)
    read = [read_or_refuse(path, damaged(data, rng)) for _ in range(PER_FILE)]
    assert len(read) == PER_FILE and not all(read)


def test_damaged_sessions(tmp_path):
    (a, first), (b, second) = chain(0, 30), chain(50, 20)
    data, rng = session(a | b, {0: first, 1: second}).encode(), np.random.default_rng(1)
    assert read_or_refuse(tmp_path / "whole.xml", data)
    read = [read_or_refuse(tmp_path / "session.xml", damaged(data, rng)) for _ in range(PER_FILE)]
    assert not all(read)


PROGRAMS = {
    "mdf": lambda table, path: path.write_text(mdf(table)),
    "icy": lambda table, path: path.write_text(icy([table])),
    "mosaic": lambda table, path: path.write_text(mosaic_report(table)),
    "mtrackj": write_mtrackj_table,
    "imaris": write_imaris,
    "u-track": write_utrack,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_damaged_exports_of_programs(program, tmp_path):
    rows = [(t, f, 0.5 * f + t, 1.5 * f) for t in range(3) for f in range(12)]
    path, rng = tmp_path / "a", np.random.default_rng(2)
    PROGRAMS[program](pd.DataFrame(rows, columns=["track_id", "frame", "x", "y"]), path)
    path = path if path.exists() else path.with_suffix(".mat")  # savemat adds it
    data = path.read_bytes()
    assert read_or_refuse(path, data)
    read = [read_or_refuse(path, damaged(data, rng)) for _ in range(PER_FILE)]
    assert not all(read)


CELLS = st.one_of(st.text(max_size=8), st.integers().map(str), st.floats().map(str), st.just(""))
HEADERS = st.sampled_from(
    "track_id frame x y particle trajectory t TRACK_ID FRAME POSITION_X POSITION_Y ID T Y X traj_idx x_um "
    "localization_error x_err y_err ep".split()
)


@settings(max_examples=150, deadline=2000)
@given(
    header=st.lists(HEADERS, min_size=1, max_size=7),
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=7), max_size=6),
    separator=st.sampled_from([",", ";", "\t"]),
)
def test_any_table(tmp_path_factory, header, rows, separator):
    text = "\n".join(separator.join(row) for row in [header, *rows])
    read_or_refuse(tmp_path_factory.getbasetemp() / "any.csv", text.encode("utf-8", "surrogatepass"))
