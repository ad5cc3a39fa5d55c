"""Times instead of frames: the interval is found, jitter and gaps are said, irregular times are refused."""

import numpy as np
import pandas as pd
import pytest

from main.tracks.reading.formats import read_table
from main.tracks.table import with_units
from main.utils.errors import InputError

DT = 0.0302


def make_table(frames, time, tracks=1):
    """The same frames in each of some tracks; time: their times."""
    n = len(frames)
    walk = np.random.default_rng(1).normal(size=(2, n * tracks)).cumsum(axis=1)
    return pd.DataFrame(
        {"track_id": np.repeat(np.arange(tracks), n), "t [s]": np.tile(time, tracks), "x": walk[0], "y": walk[1]}
    )


def draw_frames(n, gaps, seed=2):
    rng = np.random.default_rng(seed)
    return np.cumsum(1 + (rng.random(n) < gaps) * rng.integers(1, 9, n)) - 1


@pytest.mark.parametrize("gaps", [0.0, 0.2, 0.8])
@pytest.mark.parametrize("jitter", [0.0, 0.05, 0.15])
@pytest.mark.parametrize(("n", "start"), [(30, 0.0), (5000, 1.7e4)])
def test_frames_come_back(n, start, jitter, gaps):
    frames = draw_frames(n, gaps)
    time = start + DT * (frames + jitter * np.random.default_rng(3).uniform(-1, 1, n))
    tracks = read_table(make_table(frames, time, 3), "a.csv")
    assert tracks.table["frame"].tolist() == (frames - frames[0]).tolist() * 3
    assert tracks.units.frame_interval_s == pytest.approx(DT, rel=0.02 if n == 30 else 1e-4)
    assert tracks.columns["time"] == "t [s]" and "frame" not in tracks.columns
    (text,) = tracks.warnings
    n_gaps = int((np.diff(frames) > 1).sum()) * 3
    assert "'t [s]'" in text and f"{n_gaps} gaps" in text


@pytest.mark.parametrize("digits", [2, 3])
def test_rounded_times_of_a_long_recording(digits):
    frames = draw_frames(20_000, 0.1)
    tracks = read_table(make_table(frames, np.round(frames / 30, digits)), "a.csv")
    assert tracks.table["frame"].tolist() == frames.tolist()
    assert tracks.units.frame_interval_s == pytest.approx(1 / 30, rel=1e-5)


def test_steps_of_two_and_three_frames_have_a_shorter_interval():
    frames = np.cumsum(np.random.default_rng(4).integers(2, 4, 200))
    tracks = read_table(make_table(frames, DT * frames), "a.csv")
    assert tracks.table["frame"].diff().dropna().unique().tolist() in ([2, 3], [3, 2])
    assert tracks.units.frame_interval_s == pytest.approx(DT)


def test_every_second_frame_is_the_interval():
    frames = 2 * np.arange(50)
    tracks = read_table(make_table(frames, DT * frames), "a.csv")
    assert tracks.units.frame_interval_s == pytest.approx(2 * DT) and "0.0604 s" in tracks.warnings[0]
    given = read_table(make_table(frames, DT * frames), "a.csv", frame_interval=DT)
    assert given.table["frame"].tolist() == frames.tolist() and "49 gaps" in given.warnings[0]


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("time_s", 1.0),
        ("time (ms)", 1e3),
        ("T (sec)", 1.0),
        ("t_us", 1e6),
        ("Time [min]", 1 / 60),
        ("POSITION_T (h)", 1 / 3600),
    ],
)
def test_units_of_time(name, factor):
    table = make_table(np.arange(9), DT * factor * np.arange(9)).rename(columns={"t [s]": name})
    tracks = read_table(table, "a.csv")
    assert tracks.units.frame_interval_s == pytest.approx(DT) and tracks.table["frame"].tolist() == list(range(9))


@pytest.mark.parametrize("factor", [1.0, 1e3])
def test_a_time_without_unit(factor):
    table = make_table(np.arange(9), DT * factor * np.arange(9)).rename(columns={"t [s]": "time"})
    tracks = read_table(table, "a.csv")
    assert tracks.units.frame_interval_s is None and "give --frame-interval" in tracks.warnings[0]
    tracks = with_units(read_table(table, "a.csv", frame_interval=0.03), None, 0.03)
    assert tracks.units.frame_interval_s == 0.03 and tracks.table["frame"].tolist() == list(range(9))
    with pytest.raises(InputError, match="neither in s nor in ms"):
        read_table(table, "a.csv", frame_interval=0.0604)


def test_t_with_whole_numbers_is_a_frame():
    table = make_table(np.arange(9), 2 * np.arange(9)).rename(columns={"t [s]": "t"})
    tracks = read_table(table, "a.csv")
    assert tracks.table["frame"].tolist() == list(range(0, 18, 2)) and tracks.warnings == []
    table["t"] = 0.5 * table["t"] + 0.5
    assert read_table(table.assign(t=table["t"] / 2), "a.csv").table["frame"].tolist() == list(range(9))
    named = read_table(table.rename(columns={"t": "Zeit"}) / 2, "a.csv", columns={"frame": "Zeit"})
    assert named.table["frame"].tolist() == list(range(9))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({20: DT * 20.4}, "data row 21, column 't [s]' holds 0.616.* away from a frame"),
        ({20: DT * 19.1}, "data row 21, column 't [s]': track 0 has two points in one frame"),
        ({20: 1e300}, "reach from 0 to 1e\\+300"),
        ({20: np.nan}, "data row 21, column 't [s]' holds nothing"),
    ],
)
def test_irregular_times_are_refused(change, message):
    table = make_table(np.arange(40), DT * np.arange(40))
    table.loc[list(change), "t [s]"] = list(change.values())
    with pytest.raises(InputError, match=message.replace("[", r"\[").replace("]", r"\]")):
        read_table(table, "a.csv")


def test_random_times_are_refused():
    time = np.sort(np.random.default_rng(5).random(60))
    with pytest.raises(InputError, match="expected regular times|two points in one frame"):
        read_table(make_table(np.arange(60), time), "a.csv")


def test_single_points_have_no_interval():
    table = make_table([0], [0.5], 4)
    with pytest.raises(InputError, match="no track has two of them"):
        read_table(table, "a.csv")
    assert read_table(table, "a.csv", frame_interval=0.1).units.frame_interval_s == pytest.approx(0.1)


def test_frames_and_times_together():
    frames = draw_frames(300, 0.2)
    table = make_table(frames, np.round(DT * frames, 3), 2).assign(frame=np.tile(frames, 2))
    tracks = read_table(table, "a.csv")
    assert tracks.units.frame_interval_s == pytest.approx(DT, rel=1e-3)
    assert not tracks.warnings
    wrong = table.copy()
    wrong.loc[[5, 6], "t [s]"] = 99.0
    tracks = read_table(wrong, "a.csv")
    assert tracks.units.frame_interval_s == pytest.approx(DT, rel=1e-3) and len(tracks.warnings) == 1
    assert "differ by up to" in tracks.warnings[0]
    own_clock = table.assign(**{"t [s]": table["t [s]"] + 100.3 * table["track_id"]})
    assert read_table(own_clock, "a.csv").units.frame_interval_s == pytest.approx(DT, rel=1e-3)
