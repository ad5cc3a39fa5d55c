"""Values of the track table: exact whole numbers, types of columns, ranges of positions."""

import numpy as np
import pandas as pd
import pytest

from main.tracks.reading.formats import read_tracks
from main.tracks.table import validate
from main.tracks.values import MAX_POSITION, MIN_STEP, parse_whole_numbers, warn_of_resolution
from main.utils.errors import InputError

BIG = 2**53
X = [0.0, 1.0, 2.5, 3.0]


def table(**columns):
    return pd.DataFrame({"track_id": [0, 0, 1, 1], "frame": [0, 1, 0, 1], "x": X, "y": X} | columns)


@pytest.mark.parametrize(
    "ids",
    [
        np.array([BIG, BIG + 1]),
        np.array([BIG, BIG + 1], np.uint64),
        pd.array([BIG, BIG + 1], "Int64"),
        np.array([str(BIG), str(BIG + 1)]),
        pd.array([str(BIG), str(BIG + 1)], "string"),
        np.array([BIG, str(BIG + 1)], object),
        np.array([2**63 - 1, -(2**63 - 1)]),
        pd.Categorical([BIG, BIG + 1]),
        np.array([1.0, 2.0]),
        np.array(["1.0", " 2"]),
    ],
    ids=str,
)
def test_whole_numbers_are_exact(ids):
    read = parse_whole_numbers(pd.Series(ids), "t.csv", "id")
    assert read.dtype == np.int64
    assert read.tolist() == [int(float(v)) if "." in str(v) else int(v) for v in ids]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1.0, float(BIG)], r"data row 2, column 'id' .* below 2\^53"),
        ([1.0, 1e300], "data row 2"),
        (["1", "1e17"], "data row 2"),
        (np.array([1, 2**63], np.uint64), "data row 2.* from -9223372036854775807 to 9223372036854775807"),
        (["1", str(2**63)], "data row 2.* to 9223372036854775807"),
        ([1, 0.5], "a whole number"),
        ([1, None], "holds nothing"),
        (["1", "1.234,5"], "thousands separators"),
    ],
)
def test_what_is_no_whole_number(ids, message):
    with pytest.raises(InputError, match=message):
        parse_whole_numbers(pd.Series(ids), "t.csv", "id")


def test_large_ids_of_a_file_stay_apart(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text(f"track_id,frame,x,y\n{BIG},0,1,2\n{BIG + 1},0,1,2\n")
    assert read_tracks(path).table["track_id"].tolist() == [BIG, BIG + 1]


TYPES = {
    "bool": (np.array([True, False, True, True]), "truth values"),
    "nullable bool": (pd.array([True, None, True, True], "boolean"), "truth values"),
    "bools among objects": (np.array([1, True, 2, 3], object), "type bool"),
    "dates": (pd.date_range("2024-01-01", periods=4), "dates"),
    "durations": (pd.to_timedelta(range(4), unit="s"), "durations"),
    "complex": (np.array([1, 2, 3, 4j]), "complex"),
    "lists": (pd.Series([[1], [2], [3], [4]]), "type list"),
    "categories of text": (pd.Categorical(["a", "b", "a", "b"]), "holds 'a'"),
}


@pytest.mark.parametrize("column", ["track_id", "frame", "x"])
@pytest.mark.parametrize("name", TYPES)
def test_columns_of_other_types_are_refused(name, column):
    values, message = TYPES[name]
    with pytest.raises(InputError, match=f"t.csv: .*column '{column}' .*{message}|column '{column}' {message}"):
        validate(table(**{column: values}), "t.csv")


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e12])
def test_positions_in_range(scale, offset):
    read = validate(table(x=np.array(X) * scale + offset, y=np.array(X) * scale), "t.csv")
    assert bool(warn_of_resolution(read, "t.csv")) == (scale < 1 and offset > 0)


@pytest.mark.parametrize("x", [[1e20] * 4, np.array(X) * 2 * MAX_POSITION, np.array(X) * 1e38, [0, 1, 2, -1e300]])
def test_positions_that_are_too_large(x):
    with pytest.raises(InputError, match="column 'x' .*expected a position from -1e\\+13 to 1e\\+13"):
        validate(table(x=x), "t.csv")


def test_steps_that_are_too_small_and_none_at_all():
    small = np.array(X) * MIN_STEP / 10
    with pytest.raises(InputError, match="expected 1e-09 or more; give positions in a smaller unit"):
        validate(table(x=small, y=small), "t.csv")
    assert len(validate(table(x=[7.0] * 4, y=[7.0] * 4), "t.csv")) == 4
