"""TrackMate's whole session as XML: it comes back, branches are cut, filters hold, errors are sentences."""

import numpy as np
import pytest
from track_files import chain, session

from main.tracks.reading.formats import read_tracks
from main.tracks.table import Units
from main.utils.errors import InputError


def read(tmp_path, text):
    path = tmp_path / "session.xml"
    path.write_text(text, encoding="utf-8")
    return read_tracks(path)


def by_track(tracks):
    return {track: rows["x"].tolist() for track, rows in tracks.table.groupby("track_id")}


def test_tracks_without_branches_come_back(tmp_path):
    rng = np.random.default_rng(0)
    spots, edges = {}, {}
    for track, n in ((0, 5), (3, 40), (8, 2)):
        branch, links = chain(100 * (track + 1), n, frame=track)
        order = rng.permutation(len(links))
        spots |= branch
        edges[track] = [links[i] if i % 2 else links[i][::-1] for i in order]  # edges in any order and direction
    spots[5000] = (1, 7.0, 7.0)  # in no track
    result = read(tmp_path, session(spots, edges))
    assert result.units == Units("um", 1.0, pytest.approx(0.05))
    assert result.dropped == {"unlinked or filtered": 1} and result.warnings == []
    assert result.table.groupby("track_id").size().to_dict() == {0: 5, 3: 40, 8: 2}
    for track, frame, x, y in result.table[["track_id", "frame", "x", "y"]].itertuples(index=False):
        assert spots[int(x)] == (frame, x, y) and x // 100 - 1 == track


def test_a_split_and_a_merge_are_cut(tmp_path):
    spots, edges = chain(10, 3)  # 10 11 12, then 12 splits into 20.. and 30.., which merge into 40..
    for first in (20, 30):
        branch, links = chain(first, 3, frame=3)
        spots |= branch
        edges += [(12, first), *links]
    branch, links = chain(40, 2, frame=6)
    spots |= branch
    edges += [(22, 40), (32, 40), *links]
    result = read(tmp_path, session(spots, {7: edges}))
    assert by_track(result) == {7: [10, 11, 12], 8: [20, 21, 22], 9: [30, 31, 32], 10: [40, 41]}
    assert len(result.warnings) == 1 and "1 splits and 1 merges" in result.warnings[0]


def test_only_filtered_tracks_are_read(tmp_path):
    (a, first), (b, second) = chain(0, 4), chain(50, 6)
    result = read(tmp_path, session(a | b, {0: first, 1: second}, kept=[1]))
    assert by_track(result) == {1: [50, 51, 52, 53, 54, 55]}
    assert result.dropped == {"unlinked or filtered": 4}
    with pytest.raises(InputError, match="passed TrackMate's track filters"):
        read(tmp_path, session(a | b, {0: first, 1: second}, kept=[]))


def test_pixels_and_unknown_times(tmp_path):
    spots, edges = chain(0, 4)
    assert read(tmp_path, session(spots, {0: edges}, head='spatialunits="pixels" timeunits="frames"')).units == Units()
    assert read(tmp_path, session(spots, {0: edges}, image="")).units == Units("um", 1.0, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<TrackMate version='7'/>", "holds no track"),
        (session(chain(0, 3)[0], {0: [(0, 99)]}), "a spot that is not in the file"),
        (session(*[chain(0, 3)[0], {0: [(0, 1)]}]).replace('ID="1" FRAME', 'ID="0" FRAME'), "two spots have the same"),
        (session({0: (0, 1.0, 1.0), 1: (0, 1.0, 1.0)}, {0: [(0, 1)]}), "repeats frame 0"),
        (session(chain(0, 3)[0], {0: [(0, 1)]}, head='spatialunits="parsec"'), "parsec"),
        (session(chain(0, 3)[0], {0: [(0, 1)]})[:-300], "no readable XML"),
        (session(chain(0, 3)[0], {0: [(0, 1)]}).replace('POSITION_X="0.0"', 'POSITION_X="a"'), "POSITION_X"),
        (session(chain(0, 3)[0], {0: [("a", 1)]}), "a spot that is not in the file"),
        (session(chain(0, 3)[0], {"a": [(0, 1)]}, kept=["a"]), "TRACK_ID"),
        (session(chain(0, 3)[0], {0: [(0, 1)], 1: [(1, 2)]}), "a spot belongs to two tracks"),
        (session(chain(0, 3)[0], {0: [(0, 1), (2, 2)]}), "joins a spot with itself"),
        (session(chain(0, 3)[0], {0: [(0, 1)]}).replace("<Edge", "<Egde", 1), "'Track' holds 'Egde'"),
        (session(chain(0, 3)[0], {0: [(0, 1)]}).replace("<Spot ", "<Spit ", 1), "holds 'Spit'"),
    ],
)
def test_bad_sessions(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_every_spot_counts(tmp_path):
    (a, first), (b, second) = chain(0, 4), chain(50, 6)
    result = read(tmp_path, session(a | b | {99: (0, 1.0, 2.0)}, {0: first, 1: second}, kept=[1]))
    assert result.n_rows == 11 == len(result.table) + sum(result.dropped.values())


def test_an_edge_that_stands_twice_joins_once(tmp_path):
    spots, edges = chain(0, 4)
    result = read(tmp_path, session(spots, {0: edges + [edges[1], edges[2][::-1]]}))
    assert by_track(result) == {0: [0, 1, 2, 3]} and result.warnings == []


def test_another_number_of_spots_than_declared_is_said(tmp_path):
    spots, edges = chain(0, 4)
    text = session(spots, {0: edges})
    assert 'nspots="4"' in text
    assert "declares 5 spots and holds 4" in read(tmp_path, text.replace('nspots="4"', 'nspots="5"')).warnings[0]


def test_large_ids_stay_different(tmp_path):
    first = 2**53  # the next whole number is no 64-bit float
    spots = {first + i: (i, float(i), 0.0) for i in range(3)}
    assert by_track(read(tmp_path, session(spots, {0: [(first, first + 1), (first + 1, first + 2)]}))) == {0: [0, 1, 2]}
