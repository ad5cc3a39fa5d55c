"""Files of a run: found by name or pattern, read once or twice, cut into blocks of whole tracks."""

from dataclasses import replace

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


def test_a_file_that_changes_between_two_readings_is_refused(files):
    readings = []

    def read(path):
        tracks = read_tracks(path)
        readings.append(path)
        return tracks if len(readings) == 1 else replace(tracks, table=tracks.table.iloc[:-1])

    (source,) = open_sources([(files[0], None)], read, max_kept_points=0)
    with pytest.raises(InputError, match="the file changed during the analysis") as error:
        source.tracks()
    assert str(files[0]) in str(error.value)
