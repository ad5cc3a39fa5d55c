"""Reads the table of a Parquet file."""

from pathlib import Path

import pandas as pd

from main.utils.errors import InputError


def read_parquet_table(path: Path) -> pd.DataFrame:
    """Read the table of a Parquet file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    pandas.DataFrame
        Index 0..N-1; `attrs["n_rows"]` is the number of rows that the file declares.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        raw = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{path}: cannot be read as Parquet ({reason}), export the tracks again.") from error
    raw.columns = [str(name).strip() for name in raw.columns]
    raw.attrs = {"n_rows": len(raw)}
    return raw
