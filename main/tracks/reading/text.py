"""Reads the table of a text file. Its rows are counted before they are parsed, so that none is lost."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.reading.dialect import Dialect, find_decimal_mark, find_dialect
from main.tracks.reading.scan import Scan, Widths, scan_text
from main.tracks.reading.trackmate import find_description_rows
from main.tracks.values import refuse_bad_value
from main.utils.errors import InputError

MAX_CELLS = 90_000_000  # rows times columns; 5 million rows of 20 columns of TrackMate would peak at 2.1 GiB
MIN_SHARE_OF_SHORT_ROWS = 0.1  # above, a writer that leaves empty fields out; below, rows may be damaged


def read_text_table(path: Path, described: bool = True, decimal: str | None = None, named=()) -> pd.DataFrame:
    """Read the table of a text file, with index 0..N-1 for its data rows.

    Columns are separated by comma, semicolon, tab, | or runs of spaces. Lines above the header that begin with # or %
    are skipped, and so are blank lines.

    Parameters
    ----------
    path : Path
    described : bool
        Whether to look for TrackMate's rows of names and units. They go to `attrs["described"]` of the table (column
        -> list of str), because among numbers they would make every column text.
    decimal : {"point", "comma"}, optional
        Decimal mark; by default what the numbers show, see `main.tracks.reading.dialect.find_decimal_mark`.
    named : collection of str
        Column names that the user gave.

    Returns
    -------
    pandas.DataFrame
        `attrs["n_rows"]` is the number of data rows, `attrs["warnings"]` a list of sentences,
        `attrs["decimal"]` the decimal mark, "." or ",".

    Raises
    ------
    InputError
        If the file cannot be read whole.
    """
    try:
        dialect = find_dialect(path, named)
        scan = scan_text(path, dialect.encoding, dialect.start, dialect.first_line, dialect.separator)
        widths = choose_quoting(scan, path)
        check_widths(widths, scan, dialect, path)
        mark = find_decimal_mark(path, dialect, decimal)
        raw, rows = _parse(path, dialect, scan, widths, mark, described)
    except (ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"{path}: cannot be read as a table ({reason}), expected as many columns in every row as in the header; "
            "export the tracks again."
        ) from error
    if len(raw) + len(rows) != scan.n_rows:
        raise InputError(
            f"{path}: has {scan.n_rows} rows, but {len(raw) + len(rows)} were read, so the file was not understood; "
            "save it in another format of the manual, and report this file."
        )
    check_short_rows(raw, widths, scan, path)
    said = describe_reading(dialect, scan, widths, mark, path)
    raw.columns = [str(name).strip() for name in raw.columns]
    raw = raw.iloc[: len(raw) - _count_trailing_empty_rows(raw)]
    raw.attrs = {"n_rows": len(raw), "warnings": said, "decimal": mark}
    raw.attrs |= {"described": rows.to_dict("list")} if len(rows) else {}
    return raw


def _parse(path: Path, dialect: Dialect, scan: Scan, widths: Widths, mark: str, described: bool):
    """Parse the table; return it without, and with only, TrackMate's rows of names and units."""
    given = {
        "sep": dialect.separator or r"\s+",
        "decimal": mark,
        "encoding": scan.encoding,
        "index_col": False,
        "quoting": csv.QUOTE_MINIMAL if widths is scan.quoted else csv.QUOTE_NONE,
    }
    if widths.n_open:  # rows end with a separator that the header lacks
        given["usecols"] = range(widths.header)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # `parse_numbers` reports text with its row
        with open(path, "rb") as file:
            file.seek(dialect.start)
            rows = find_description_rows(pd.read_csv(file, nrows=3 * described, dtype="string", **given))
        with open(path, "rb") as file:
            file.seek(dialect.start)
            return pd.read_csv(file, skiprows=range(1, len(rows) + 1), **given), rows


def choose_quoting(scan: Scan, path: Path) -> Widths:
    """Choose what quotation marks mean: they enclose fields, or they are ordinary characters such as inch marks.

    Returns
    -------
    Widths
        `scan.quoted` or `scan.plain`.

    Raises
    ------
    InputError
        If marks do not enclose whole fields, and as ordinary characters they leave rows of unequal width, or a field
        may run over the end of its line.
    """
    if not scan.first_stray_quote:
        return scan.quoted
    if scan.plain.agree and not scan.first_open_quote:
        return scan.plain
    line = scan.first_open_quote or scan.first_stray_quote
    raise InputError(
        f"{path}: line {line} has a quotation mark that does not enclose a whole field of this line, so rows could be "
        "lost; remove the mark, or the line end inside the field."
    )


def check_widths(widths: Widths, scan: Scan, dialect: Dialect, path: Path) -> None:
    """Raise InputError for rows with more fields than the header, a cut end, and a table that is too large."""
    if scan.n_rows * widths.header > MAX_CELLS:
        raise InputError(
            f"{path}: has {scan.n_rows} rows of {widths.header} columns, expected at most {MAX_CELLS} fields; save "
            "only the columns of track, frame, x and y, or split the file between tracks."
        )
    if widths.n_long > widths.n_open or (widths.n_open and widths.n_open < scan.n_rows):
        way_out = "correct the line or export the tracks again"
        if widths.n_long == scan.n_rows and widths.longest == widths.header + 1:
            way_out = "if the first column holds numbers of rows, as R writes them, give it a name in the header"
        elif dialect.separator == "," and b"." not in dialect.sample:
            way_out = (
                "if the comma is also the decimal mark, export with semicolons between the columns or with decimal "
                "points"
            )
        raise InputError(
            f"{path}: cannot be read as a table (line {widths.first_long} has more fields than the {widths.header} of "
            f"the header), expected as many in every row; {way_out}."
        )
    cut = widths.n_short == 1 or not scan.ends_with_newline
    if widths.last_is_short and cut:
        raise InputError(
            f"{path}: the last line has fewer fields than the {widths.header} of the header, so the file seems to be "
            "cut off; copy or export it again, or remove this line."
        )


def check_short_rows(raw: pd.DataFrame, widths: Widths, scan: Scan, path: Path) -> None:
    """Raise InputError for rows with too few fields, unless the file shows that its last columns may be empty.

    Excel leaves empty fields at the end of rows out
    (https://support.microsoft.com/topic/column-delimiters-are-missing-in-an-excel-spreadsheet-that-is-saved-as-text).
    A row that lost a separator looks the same, but then every other row is filled.
    """
    if not widths.n_short or widths.n_short >= max(2, MIN_SHARE_OF_SHORT_ROWS * scan.n_rows):
        return
    missing = raw.iloc[:, widths.shortest :].isna().sum()
    if (missing <= widths.n_short).any():
        raise InputError(
            f"{path}: line {widths.first_short} has fewer fields than the {widths.header} of the header, expected as "
            "many in every row; correct the line or export the tracks again."
        )


def refuse_points(raw: pd.DataFrame, columns, path: Path) -> None:
    """Raise InputError for numbers with a point in columns whose decimal mark is the comma: a point means thousands."""
    for name in columns:
        values = raw[name]
        if pd.api.types.is_numeric_dtype(values):
            continue
        bad = values.astype("string").str.contains(".", regex=False).fillna(False).to_numpy(bool)
        refuse_bad_value(bad, values, path, name, "a number without thousands separators, with a decimal comma")


def describe_reading(dialect: Dialect, scan: Scan, widths: Widths, mark: str, path: Path) -> list[str]:
    """Return a sentence for everything that was skipped or taken for granted."""
    said = []
    if mark == ",":
        said.append(f"{path}: decimal commas were read as decimal points.")
    if dialect.n_comments:
        said.append(f"{path}: skipped {dialect.n_comments} lines above the header that begin with # or %.")
    if scan.n_blank:
        said.append(f"{path}: skipped {scan.n_blank} blank lines between the rows.")
    if widths is scan.plain and scan.first_stray_quote:
        said.append(
            f"{path}: line {scan.first_stray_quote} has a quotation mark that does not enclose a field, so all "
            "quotation marks were read as ordinary characters."
        )
    if widths.n_short:
        said.append(
            f"{path}: {widths.n_short} rows, the first in line {widths.first_short}, have fewer fields than the "
            "header; the missing ones at their end were read as empty."
        )
    return said


def _count_trailing_empty_rows(raw: pd.DataFrame) -> int:
    """Count the rows at the end of the file that hold separators only."""
    filled = np.flatnonzero(raw.notna().any(axis=1).to_numpy())
    return len(raw) - (filled[-1] + 1 if filled.size else 0)
