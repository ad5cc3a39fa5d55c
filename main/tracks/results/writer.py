"""Writes tables and the other files of a run block by block; they get their places only when all are complete."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from main.tracks.results.folder import add_files, explain_write_errors
from main.tracks.results.tables import PROBABILITIES
from main.utils.files import sha256

# Types of columns; all others are float64. Units are those of `main.tracks.table.Units.labels`.
TYPES = {
    **dict.fromkeys(("track_id", "source_track"), pa.int64()),  # no unit
    **dict.fromkeys(("frame", "frame_start", "frame_end"), pa.int64()),  # frames, as the file numbers them
    "n_frames": pa.int32(),  # frames in which the particle was seen
    **dict.fromkeys(("n_gaps", "n_segments", "segment_id"), pa.int32()),  # counts; segment_id from 0 in each track
    **dict.fromkeys(("file", "condition", "warnings"), pa.string()),  # warnings joined by semicolons
    **dict.fromkeys(("left_censored", "right_censored"), pa.bool_()),
    **dict.fromkeys((*PROBABILITIES, "p_change"), pa.float32()),  # probabilities, 0 to 1
    "state": pa.int8(),  # index into simulations.parameters.STATES
}


class Writer:
    """Takes tables block by block under temporary names; `finish` puts all files into their places.

    Parameters
    ----------
    out : Path
        Folder of the results, claimed by this process.
    temporary : Path
        Folder for files that are not complete yet, see `main.tracks.results.folder.claim_new_results`.
    units : dict of str -> str
        Column -> unit. Stored in the Parquet files: as JSON under "units" of the schema, and as "unit" of each field.
    csv : bool
        Whether to write CSV copies.

    Raises
    ------
    InputError
        By `add` and `finish`, if the folder cannot be written.
    """

    def __init__(self, out: Path, temporary: Path, units: dict[str, str], csv: bool = False):
        self.out, self.temporary, self.units, self.csv = out, temporary, units, csv
        self.parquet: dict[str, pq.ParquetWriter] = {}

    def add(self, tables: dict[str, pd.DataFrame]) -> None:
        """Append a block to each table.

        Parameters
        ----------
        tables : dict of str -> pandas.DataFrame
            points, segments and tracks, with the same columns in every block.
        """
        with explain_write_errors(self.out):
            for name, table in tables.items():
                copy = self.temporary / f"{name}.csv"
                if name not in self.parquet:
                    path = self.temporary / f"{name}.parquet"
                    self.parquet[name] = pq.ParquetWriter(path, make_schema(table, self.units))
                    if self.csv:
                        table.head(0).to_csv(copy, index=False)
                writer = self.parquet[name]
                writer.write_table(pa.Table.from_pandas(table, schema=writer.schema, preserve_index=False))
                if self.csv:
                    table.to_csv(copy, mode="a", header=False, index=False)

    def finish(self, record: dict, texts: dict[Path, str]) -> None:
        """Put all files into their places and remove those of an earlier run.

        Parameters
        ----------
        record : dict
            Content of run.json; the list of the files and the checksums of the tables are added.
        texts : dict of Path -> str
            Path in the folder -> text of the challenge's files.
        """
        with explain_write_errors(self.out):
            for writer in self.parquet.values():
                writer.close()
            for name, text in texts.items():
                path = self.temporary / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            checksums = {f"{name}.parquet": sha256(self.temporary / f"{name}.parquet") for name in self.parquet}
            add_files(self.out, self.temporary, record | {"sha256": checksums})

    def close(self) -> None:
        """Close the tables, whether they are complete or not."""
        for writer in self.parquet.values():
            with suppress(OSError):  # the disk is full or gone; the user has the sentence from `add` or `finish`
                writer.close()


def make_schema(table: pd.DataFrame, units: dict[str, str]) -> pa.Schema:
    """Make the Arrow schema of a result table: types by column name, units as metadata."""
    of_table = {name: unit for name, unit in units.items() if name in table}
    fields = [
        pa.field(name, TYPES.get(name, pa.float64()), metadata={"unit": of_table[name]} if name in of_table else None)
        for name in table
    ]
    return pa.schema(fields, metadata={"units": json.dumps(of_table)})


@contextmanager
def open_writer(out: Path, temporary: Path, units: dict[str, str], csv: bool = False) -> Iterator[Writer]:
    """Give a `Writer`, which is closed at the end of the block."""
    writer = Writer(out, temporary, units, csv)
    try:
        yield writer
    finally:
        writer.close()
