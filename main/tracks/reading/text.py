"""Reads the table of a text file: CSV with comma, semicolon or tab."""

import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.reading.preamble import MAX_PREAMBLE_LINES, count_preamble_lines
from main.tracks.reading.trackmate import find_description_rows
from main.utils.errors import InputError

CHUNK_CHARACTERS = 2**20  # read at a time


def read_text_table(path: Path, described: bool = True) -> pd.DataFrame:
    """Read the table of a text file, with index 0..N-1 for its data rows.

    Parameters
    ----------
    path : Path
    described : bool
        Whether to look for TrackMate's rows of names and units. They go to `attrs["described"]` of the table (column
        -> list of str), because among numbers they would make every column text.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    InputError
        If the file cannot be parsed.
    """
    try:
        encoding = detect_encoding(path)
        with open(path, encoding=encoding) as file:
            first_lines = list(islice(file, MAX_PREAMBLE_LINES + 1))
        n_above = count_preamble_lines(first_lines)
        separator = max(",;\t", key=first_lines[n_above].count)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # `parse_numbers` reports text with its row
            given = {"sep": separator, "encoding": encoding, "index_col": False, "skip_blank_lines": False}
            head = pd.read_csv(path, skiprows=n_above, nrows=3 * described, dtype="string", **given)
            rows = find_description_rows(head)
            skipped = [*range(n_above), *range(n_above + 1, n_above + len(rows) + 1)]
            raw = pd.read_csv(path, skiprows=skipped, **given)
    except InputError:
        raise
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(
            f"{path}: cannot be read as a table ({reason}), expected as many columns in every row as in the header; "
            "export the tracks again."
        ) from error
    raw.columns = [str(name).strip() for name in raw.columns]
    raw = raw.iloc[: len(raw) - _count_trailing_blank_rows(raw)].reset_index(drop=True)
    raw.attrs = {"n_rows": len(raw)} | ({"described": rows.to_dict("list")} if len(rows) else {})
    return raw


def detect_encoding(path: Path) -> str:
    """Return the encoding of a text file: UTF-8 or cp1252, in which TrackMate writes "µm" on Windows.

    Raises
    ------
    InputError
        If the file is no text in either.
    """
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            with open(path, encoding=encoding, newline="") as file:
                if not any("\0" in text for text in iter(lambda file=file: file.read(CHUNK_CHARACTERS), "")):
                    return encoding
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path}: is no text file, expected CSV, Parquet (.parquet, .pq) or TrackMate XML (.xml).")


def _count_trailing_blank_rows(raw: pd.DataFrame) -> int:
    """Count the empty rows at the end of the file."""
    filled = np.flatnonzero(raw.notna().any(axis=1).to_numpy())
    return len(raw) - (filled[-1] + 1 if filled.size else 0)
