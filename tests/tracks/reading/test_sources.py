"""Files of a run: found by name or pattern, read once or twice, cut into blocks of whole tracks."""

import os

import numpy as np
import pandas as pd
import pytest
from helpers import walk

from main.tracks.reading.formats import read_tracks
from main.tracks.reading.sources import find_files, open_sources, split_blocks
from main.utils.errors import InputError


@pytest.fixture
def files(tmp_path):
    """Two files, of 5 and 4 tracks."""
    rng, paths = np.random.default_rng(0), [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, n_tracks in zip(paths, (5, 4), strict=True):
        pd.concat([walk(rng, 10 + i, track=3 * i) for i in range(n_tracks)]).to_csv(path, index=False)
    return paths


def test_files_are_found_by_name_pattern_and_condition(files, tmp_path):
    assert find_files(str(tmp_path / "*.csv")) == [(path, None) for path in files]
    assert find_files({"wt": files[1], "mutant": [files[0]]}) == [(files[1], "wt"), (files[0], "mutant")]
    for paths, message in (
        ([], "No track file"),
        (tmp_path / "*.xml", "no file matches"),
        (files + files[:1], "twice"),
    ):
        with pytest.raises(InputError, match=message):
            find_files(paths)


def test_blocks_hold_whole_tracks_in_order(files):
    tracks = read_tracks(files[0])
    blocks = [block.table for block in split_blocks(tracks, 15)]
    assert [table["track_id"].unique().tolist() for table in blocks] == [[0, 3], [6, 9], [12]]
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), tracks.table)


def test_a_file_too_large_for_memory_is_read_again(files):
    paths = [(path, None) for path in files]
    kept, again = (open_sources(paths, read_tracks, max_kept_points=n) for n in (10**6, 0))
    for a, b in zip(kept, again, strict=True):
        assert a.kept is not None and b.kept is None
        pd.testing.assert_frame_equal(a.tracks().table, b.tracks().table)
    assert [source.first_id for source in kept] == [0, 5]


def change(path, how):
    """Change a file in a way that its number of points and its tracks do not show, or remove it."""
    if how == "removed":
        path.unlink()
        return
    table = pd.read_csv(path)
    table.loc[3, "x"] += 1.0
    table.to_csv(path, index=False)


@pytest.mark.parametrize(("how", "message"), [("rewritten", "changed while it was read"), ("removed", "no such file")])
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_a_file_that_changes_during_a_reading_is_refused(files, how, message, first):
    readings = []

    def read(path):
        tracks = read_tracks(path)
        readings.append(path)
        if len(readings) == (1 if first else 2):
            change(path, how)
        return tracks

    with pytest.raises(InputError, match=message) as error:
        open_sources([(files[0], None)], read, max_kept_points=0)[0].tracks()
    assert str(files[0]) in str(error.value) and len(readings) == (1 if first else 2)


@pytest.mark.parametrize(("how", "message"), [("rewritten", "during the analysis"), ("removed", "no such file")])
def test_a_file_that_changes_between_two_readings_is_refused(files, how, message):
    (source,) = open_sources([(files[0], None)], read_tracks, max_kept_points=0)
    change(files[0], how)
    with pytest.raises(InputError, match=message):
        source.tracks()


def test_a_name_that_cannot_be_printed_is_shown_escaped_and_read_again(files, tmp_path):
    name = os.fsdecode(b"caf\xe9\n\x1b[31m.csv")
    files[0].rename(tmp_path / name)
    ((path, _),) = find_files(str(tmp_path / "caf*"))
    (source,) = open_sources([(path, None)], read_tracks, max_kept_points=0)
    assert source.path.name == r"caf\xe9\x0a\x1b[31m.csv"
    assert len(source.tracks().table) == source.n_points
    path.write_text("track,frame,x,y\n0,0,1,nan\n")
    with pytest.raises(InputError) as error:
        read_tracks(path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("loop", "leads back to itself"),
        ("broken", "does not exist"),
        ("n" * 5000, "too long"),
        ("\0", "char"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_in_one_sentence(tmp_path, path, message):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "broken").symlink_to(tmp_path / "absent")
    with pytest.raises(InputError, match=message):
        open_sources(find_files(tmp_path / path), read_tracks)
