"""Options: types and ranges, in one sentence each; inside the ranges, tables are finite."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import walk

from main.tracks.analysis import analyse
from main.tracks.options import FRAME_INTERVALS_S, LOCALIZATION_ERRORS, PIXEL_SIZES_UM, InferenceOptions
from main.tracks.results.tables import RADIUS
from main.tracks.table import Tracks, Units, with_units
from main.utils.errors import InputError

NUMBERS = ("pixel_size", "frame_interval", "localization_error", "exposure")


@pytest.mark.parametrize("name", [*NUMBERS, "min_length"])
@pytest.mark.parametrize("value", ["0.1", True, np.True_, float("nan"), float("inf"), -1, 10**400, [1.0], 1j, 1e155])
def test_what_is_no_number_in_the_range_is_refused(name, value):
    with pytest.raises(InputError, match=f"^--{name.replace('_', '-')} is .*, expected a (whole )?number from "):
        InferenceOptions(**{name: value})


@pytest.mark.parametrize("kind", [float, np.float32, np.float64])
def test_numbers_of_numpy_become_those_of_python(kind):
    options = InferenceOptions(**dict.fromkeys(NUMBERS, kind(0.5)), min_length=np.int32(7))
    assert [getattr(options, name) for name in NUMBERS] == [0.5] * 4 and options.min_length == 7
    assert {type(getattr(options, name)) for name in NUMBERS} == {float} and type(options.min_length) is int


def test_the_ends_of_the_ranges_are_allowed():
    for i in (0, 1):
        InferenceOptions(
            pixel_size=PIXEL_SIZES_UM[i], frame_interval=FRAME_INTERVALS_S[i], localization_error=LOCALIZATION_ERRORS[i]
        )
    assert InferenceOptions(localization_error=0).sigma == 0
    assert InferenceOptions(localization_error="estimate").sigma is None


@pytest.mark.parametrize(
    "wrong",
    [
        *({"adapt": value} for value in ("samples", None, ["none"], np.arange(2))),
        *({name: value} for name in ("weights", "scheduler") for value in ("", " ", 5)),
        *({name: 1} for name in ("csv", "andi", "correct_drift")),
        {"device": "gpu"},
        {"min_length": 20.5},
    ],
)
def test_a_choice_or_a_type_that_is_wrong_is_named(wrong):
    with pytest.raises(InputError, match=f"^-?-?{next(iter(wrong)).replace('_', '.')} is "):
        InferenceOptions(**wrong)


@pytest.mark.parametrize(("pixel_size", "frame_interval"), list(product(PIXEL_SIZES_UM, FRAME_INTERVALS_S)))
@pytest.mark.parametrize("error", [None, 0, *LOCALIZATION_ERRORS])
def test_tables_are_finite_at_the_ends_of_the_ranges(pixel_size, frame_interval, error):
    rng = np.random.default_rng(0)
    still = walk(rng, 40, track=1).assign(x=5.0, y=5.0)
    table = pd.concat([walk(rng, 40), still, walk(rng, 30, track=2, step=1e-3), walk(rng, 3, track=3)])
    units = {"pixel_size_um": pixel_size, "frame_interval_s": frame_interval}
    results = analyse(table, **units, localization_error=error, exposure=1, weights="fast")
    for rows in (results.points, results.segments, results.tracks):
        empty = rows.select_dtypes("number").isna().any()
        assert not np.isinf(rows.select_dtypes("number").to_numpy(dtype=float)).any()
        assert set(empty.index[empty]) <= {"p_change_start", "change_width", *RADIUS, "localization_error"}


@pytest.mark.parametrize("seconds", [1e-300, 1e9])
def test_units_that_a_file_declares_have_the_same_ranges(seconds):
    tracks = Tracks(walk(np.random.default_rng(0), 9), Units("um", 1.0, seconds), Path("a.xml"), "trackmate-xml")
    message = f"a.xml: declares a frame interval of {seconds:g} s, expected 1e-09 to 1e+06 s"
    with pytest.raises(InputError, match=re.escape(message)):
        with_units(tracks, None, None)


@pytest.mark.parametrize(("column", "value"), [("k", np.nan), ("k_hi", np.inf), ("msd_1", -np.inf)])
def test_what_is_not_finite_is_named(column, value):
    table = walk(np.random.default_rng(0), 40, track=7)
    results = analyse(table, weights="fast")
    results.check_finite("a.csv")
    results.segments[column] = value
    with pytest.raises(InputError, match=f"^a.csv: {column} of track 7 is {value}, expected a finite number"):
        results.check_finite("a.csv")
