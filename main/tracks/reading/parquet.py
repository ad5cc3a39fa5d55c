"""Reads the table of a Parquet file: its schema and size first, then the columns of numbers and text."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from main.utils.errors import InputError

# Bounds that keep the whole reading below 2 GiB; measured with 10 million rows of 6 columns (1.6 GiB).
MAX_CELLS = 70_000_000  # rows times columns
MAX_CELLS_TOGETHER = 10_000_000  # read at a time
MAX_FOOTER_BYTES = 2**25  # of the schema and the list of column chunks, which take up to 20 times as much once parsed
MAX_COLUMN_BYTES = 2**30  # of all columns, unpacked, as the file declares them
MAX_TEXT_BYTES = 2**28  # of the values of all columns of text
INDEX = re.compile(r"__index_level_\d+__")  # pandas' name for an index without a name


def read_parquet_table(path: Path) -> pd.DataFrame:
    """Read the columns of a Parquet file that hold one number or text in each row.

    Parameters
    ----------
    path : Path

    Returns
    -------
    pandas.DataFrame
        Index 0..N-1. An index that pandas stored under a name is a column. A column of another type, such as lists,
        holds the name of its type in every row, so that it is refused where a number is expected. `attrs["n_rows"]`
        is the number of rows that the file declares, `attrs["other_types"]` lists the columns of other types.

    Raises
    ------
    InputError
        If the file cannot be read, two columns have the same name, or the table is too large for memory.
    """
    try:
        check_footer(path)
        with open_parquet(path) as file:
            return read_columns(file, path)
    except InputError:
        raise
    except (pa.ArrowException, ValueError, OSError, MemoryError, OverflowError, RecursionError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"{path}: cannot be read as Parquet ({reason}), export the tracks again.") from error


def open_parquet(path: Path, dictionaries: list[str] | None = None) -> pq.ParquetFile:
    """Open a file whose name may be no UTF-8; columns `dictionaries` are read as numbered values."""
    source = pa.OSFile(os.fsencode(path))
    return pq.ParquetFile(source, read_dictionary=dictionaries, page_checksum_verification=True)


def check_footer(path: Path) -> None:
    """Raise InputError if the end of a Parquet file is missing, encrypted or too large to be parsed.

    The last 8 bytes are the length of the footer and b"PAR1", or b"PARE" for an encrypted one
    (https://parquet.apache.org/docs/file-format/).
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        length, mark = int.from_bytes(file.read(4), "little"), file.read(4)
    if mark == b"PARE":
        raise InputError(f"{path}: is a Parquet file with an encrypted footer, save it without encryption.")
    if mark != b"PAR1" or length + 12 > size:
        raise InputError(f"{path}: the end of this Parquet file is missing, copy or export it again.")
    if length > MAX_FOOTER_BYTES:
        raise InputError(
            f"{path}: describes its columns on {length / 2**20:.0f} MiB, expected a table of tracks; save only the "
            "columns of track, frame, x and y."
        )


def read_columns(file: pq.ParquetFile, path: Path) -> pd.DataFrame:
    """Read an open file as `read_parquet_table` does."""
    schema, n_rows = file.schema_arrow, file.metadata.num_rows
    fields = [field for field in schema if not INDEX.fullmatch(field.name)]
    names = [field.name.strip() for field in fields]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise InputError(f"{path}: has several columns named '{min(twice)}', give each column a name of its own.")
    read = [field.name for field in fields if holds_values(field.type)]
    check_size(file.metadata, n_rows, len(fields), path)
    text = [name for name in read if holds_text(schema.field(name).type)]
    with open_parquet(path, text) as again:
        values = dict(zip(read, read_in_groups(again, read, n_rows, path), strict=True))
    pa.default_memory_pool().release_unused()
    columns, others = read_range_index(schema, n_rows), []
    for field, name in zip(fields, names, strict=True):
        if field.name not in values:
            values[field.name] = pd.Categorical.from_codes(np.zeros(n_rows, np.int8), [str(field.type)[:50]])
            others.append(name)
        columns[name] = values.pop(field.name)
    raw = pd.DataFrame(columns, index=pd.RangeIndex(n_rows), copy=False)
    raw.attrs = {"n_rows": n_rows, "other_types": others}
    return raw


def read_in_groups(file: pq.ParquetFile, names: list[str], n_rows: int, path: Path) -> Iterator[pd.Series]:
    """Read columns, a few at a time, so that only these are in memory twice."""
    n_together = max(1, MAX_CELLS_TOGETHER // max(n_rows, 1))
    for first in range(0, len(names), n_together):
        group = names[first : first + n_together]
        table = file.read(group, use_threads=False)
        if table.column_names != group:
            raise InputError(f"{path}: has a column whose name is also that of a nested one, rename one of them.")
        for column in table.columns:
            if holds_text(column.type):
                check_text(column, path)
            yield convert_column(column)


def check_size(metadata: pq.FileMetaData, n_rows: int, n_columns: int, path: Path) -> None:
    """Raise InputError if a table is too large for memory, as the file declares it."""
    if n_rows * n_columns > MAX_CELLS:
        raise InputError(
            f"{path}: has {n_rows} rows of {n_columns} columns, expected at most {MAX_CELLS} cells; save only the "
            "columns of track, frame, x and y, or split the file between tracks."
        )
    # Not the sizes of single columns: pyarrow 25 ends the process where the statistics of a column are damaged.
    n_bytes = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if n_bytes > MAX_COLUMN_BYTES:
        raise InputError(
            f"{path}: its columns take {n_bytes / 2**30:.1f} GiB, expected at most {MAX_COLUMN_BYTES / 2**30:.0f}; "
            "save only the columns of track, frame, x and y, or split the file between tracks."
        )


def check_text(column: pa.ChunkedArray, path: Path) -> None:
    """Raise InputError if a column of text, which is read as numbered values, is too large once written out."""
    n_bytes = 0
    for chunk in column.chunks:
        coded = types.is_dictionary(chunk.type)
        lengths = pc.take(pc.binary_length(chunk.dictionary), chunk.indices) if coded else pc.binary_length(chunk)
        n_bytes += pc.sum(lengths.cast(pa.int64())).as_py() or 0
    if n_bytes > MAX_TEXT_BYTES:
        raise InputError(
            f"{path}: holds {n_bytes / 2**20:.0f} MiB of text in one column, expected at most "
            f"{MAX_TEXT_BYTES / 2**20:.0f}; save only the columns of track, frame, x and y."
        )


def holds_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds one text in each row."""
    if types.is_dictionary(kind):
        return holds_text(kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def holds_values(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds one number, truth value, time or text in each row."""
    if types.is_dictionary(kind):
        return holds_values(kind.value_type)
    tests = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null, holds_text)
    return any(test(kind) for test in (*tests, types.is_temporal)) and not types.is_interval(kind)


def convert_column(column: pa.ChunkedArray) -> pd.Series:
    """Convert a column to pandas. Integers stay exact where values are missing, and decimals become numbers."""
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_decimal(column.type) and column.type.scale <= 0:
        with suppress(pa.ArrowInvalid):  # beyond 64 bits they become floats
            column = column.cast(pa.int64())
    if types.is_decimal(column.type) or types.is_float16(column.type):
        column = column.cast(pa.float64(), safe=False)
    if types.is_integer(column.type) and column.null_count:
        name = str(column.type).replace("int", "Int").replace("uI", "UI")  # int64 -> Int64, uint8 -> UInt8
        return column.to_pandas(types_mapper=lambda _: pd.api.types.pandas_dtype(name))
    return column.to_pandas(date_as_object=False)


def read_range_index(schema: pa.Schema, n_rows: int) -> dict[str, np.ndarray]:
    """Return the named index that pandas keeps in the metadata alone: name -> values; empty if there is none."""
    stored = (schema.pandas_metadata or {}).get("index_columns", [])
    index = stored[0] if len(stored) == 1 and isinstance(stored[0], dict) else {}
    if not index.get("name") or index["name"] in schema.names:
        return {}
    return {str(index["name"]): np.arange(n_rows) * int(index["step"]) + int(index["start"])}
