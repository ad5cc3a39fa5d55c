"""Values of one column as numbers: finite floats, exact whole numbers, positions in a range."""

import re
from decimal import Decimal

import numpy as np
import pandas as pd

from main.utils.errors import InputError

MAX_WHOLE_NUMBER = 2**53  # larger whole numbers are not exact as 64-bit floats
MAX_INT = np.iinfo(np.int64).max
# Networks compute in 32 bits. For samples/tracks.csv times c, with steps of .1 to 10 px, states and K / c^2 are those
# of c = 1 from c = 1e-10 to 1e17; at 1e-12 and 1e18 they differ. The ranges stay within, and hold offsets up to 1e12.
MAX_POSITION = 1e13  # largest |x| or |y|
MIN_STEP = 1e-9  # smallest median of steps, without those of 0; in metres, molecules move 1e-8 between frames
MIN_RESOLUTIONS_PER_STEP = 10  # of 64-bit floats; fewer are seen in the estimates
GROUPED_NUMBER = re.compile(r"[+-]?\d[\d.,'\u00a0\u202f ]*\d$")


def refuse_bad_value(bad: np.ndarray, values: pd.Series, source, column: str, expected: str) -> None:
    """Raise InputError, which names file, row and column of the first bad value, if there is one."""
    if not bad.any():
        return
    value, row = values.iloc[np.argmax(bad)], values.index[np.argmax(bad)] + 1
    shown = "nothing" if pd.isna(value) or str(value).strip() == "" else repr(str(value))
    way_out = "correct or remove the row"
    if isinstance(value, str) and GROUPED_NUMBER.match(value.strip()) and not value.strip().isdigit():
        way_out = "export numbers without thousands separators and with one decimal mark (--decimal)"
    raise InputError(f"{source}: data row {row}, column '{column}' holds {shown}, expected {expected}; {way_out}.")


def refuse_type(values: pd.Series, source, column: str) -> None:
    """Raise InputError, which names the type, for a column of truth values, dates, durations or complex numbers."""
    kind, found = values.dtype, None
    if isinstance(kind, pd.CategoricalDtype):
        kind = kind.categories.dtype
    is_object = pd.api.types.is_object_dtype(kind)
    if pd.api.types.is_bool_dtype(kind):
        found = "truth values"
    elif pd.api.types.is_datetime64_any_dtype(kind) or isinstance(kind, pd.PeriodDtype):
        found = "dates"
    elif pd.api.types.is_timedelta64_dtype(kind):
        found = "durations"
    elif pd.api.types.is_complex_dtype(kind):
        found = "complex numbers"
    elif not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_string_dtype(kind) or is_object):
        found = f"values of type {kind}"
    elif is_object:
        bad = {type(value) for value in values.dropna()} - {str, int, float, Decimal}
        bad = sorted(t.__name__ for t in bad if t in (bool, np.bool_) or not issubclass(t, (np.integer, np.floating)))
        found = f"values of type {bad[0]}" if bad else None
    if found:
        raise InputError(
            f"{source}: column '{column}' holds {found}, expected numbers; save it as numbers, or name another column "
            "with --columns."
        )


def parse_numbers(values: pd.Series, source, column: str) -> np.ndarray:
    """Convert one column to finite floats.

    Parameters
    ----------
    values : pandas.Series, shape (N,)
        Any dtype; its index counts the data rows of the file from 0.
    source : str or Path
        File, for the error.
    column : str
        Name of the column in the file, for the error.

    Returns
    -------
    numpy.ndarray, shape (N,), float64

    Raises
    ------
    InputError
        If a value is not finite; names file, row (from 1, header not counted) and column of the first one. If the
        column holds truth values, dates, durations or complex numbers.
    """
    refuse_type(values, source, column)
    result = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    refuse_bad_value(~np.isfinite(result), values, source, column, "a finite number")
    return result


def parse_positions(values: pd.Series, source, column: str) -> np.ndarray:
    """Convert a column of x or y to floats, see `parse_numbers`; InputError beyond MAX_POSITION."""
    result = parse_numbers(values, source, column)
    expected = f"a position from {-MAX_POSITION:g} to {MAX_POSITION:g} (give positions in a larger unit)"
    refuse_bad_value(np.abs(result) > MAX_POSITION, values, source, column, expected)
    return result


def check_steps(table: pd.DataFrame, source) -> None:
    """Raise InputError if the median step is below MIN_STEP; points that never move are allowed."""
    step = _find_median_step(table)
    if step is not None and step < MIN_STEP:
        raise InputError(
            f"{source}: positions change by {step:.1e} between two points (median), expected {MIN_STEP:g} or more; "
            "give positions in a smaller unit, such as um or px."
        )


def warn_of_resolution(table: pd.DataFrame, source) -> list[str]:
    """Return one warning if the steps are near the resolution that 64-bit floats have at these positions; else none."""
    step = _find_median_step(table)
    resolution = np.spacing(max(np.abs(table[name].to_numpy()).max() for name in ("x", "y")))
    if step is None or step >= MIN_RESOLUTIONS_PER_STEP * resolution:
        return []
    return [
        f"{source}: positions are so far from 0 that they are exact to {resolution:.1e} only, and points move by "
        f"{step:.1e} (median); subtract a constant from x and y before they are saved."
    ]


def _find_median_step(table: pd.DataFrame) -> float | None:
    """Return the median distance of points that follow each other in the table and a track, without those of 0."""
    same = np.diff(table["track_id"].to_numpy()) == 0
    step = np.hypot(np.diff(table["x"].to_numpy())[same], np.diff(table["y"].to_numpy())[same])
    step = step[step > 0]
    return float(np.median(step)) if len(step) else None


def parse_whole_numbers(values: pd.Series, source, column: str) -> np.ndarray:
    """Convert one column to integers, shape (N,) int64; 3.0 is taken as 3.

    Integers and text are read exactly. Floats are taken below 2^53 only, because larger ones are not exact.

    Raises
    ------
    InputError
        If a value is no whole number of 64 bits; names file, row and column of the first one.
    """
    if pd.api.types.is_integer_dtype(values.dtype) and not values.hasnans:
        if values.dtype.kind == "u":
            _refuse_beyond_int64(values.to_numpy() > MAX_INT, values, source, column)
        return values.to_numpy(dtype=np.int64)
    result = parse_numbers(values, source, column)
    refuse_bad_value(result != np.round(result), values, source, column, "a whole number")
    large = np.abs(result) >= MAX_WHOLE_NUMBER
    if not large.any():
        return result.astype(np.int64)
    exact = np.where(large, 0, result).astype(np.int64)
    for place in np.flatnonzero(large):
        value = values.iloc[place]
        try:
            whole = int(str(value)) if not isinstance(value, (float, np.floating)) else None
        except ValueError:  # written as 1e16 or 1.0
            whole = None
        if whole is None:
            expected = f"a whole number below 2^53 ({MAX_WHOLE_NUMBER}), or one written as an integer in every row"
            refuse_bad_value(large & (np.arange(len(large)) == place), values, source, column, expected)
        if abs(whole) > MAX_INT:
            _refuse_beyond_int64(large & (np.arange(len(large)) == place), values, source, column)
        exact[place] = whole
    return exact


def _refuse_beyond_int64(bad: np.ndarray, values: pd.Series, source, column: str) -> None:
    refuse_bad_value(bad, values, source, column, f"a whole number from {-MAX_INT} to {MAX_INT}")
