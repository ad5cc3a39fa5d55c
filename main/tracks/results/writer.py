"""Writes the folder of results block by block; the files get their final names only when all are complete."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from main.tracks.results.tables import PROBABILITIES
from main.utils.errors import InputError
from simulations.files import TEMPORARY

TABLES = ("points", "segments", "tracks")
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
LATER_FILES = ("kinetics.csv", "comparison.csv", "report.html")  # added to a run by later commands
LATER_FIGURES = ("dwell_times*", "distributions", "tracks_state*", "tracks_k*", "tracks_alpha*", "track_over_time*")


class Writer:
    """Takes tables block by block under temporary names; `finish` gives all files their final names.

    Parameters
    ----------
    out : Path
        Folder; made with the first block if it does not exist.
    units : dict of str -> str
        Column -> unit. Stored in the Parquet files: as JSON under "units" of the schema, and as "unit" of each field.
    csv : bool
        Whether to write CSV copies.

    Raises
    ------
    InputError
        By `add` and `finish`, if the folder cannot be written.
    """

    def __init__(self, out: Path, units: dict[str, str], csv: bool = False):
        self.out, self.units, self.csv = out, units, csv
        self.made = [folder for folder in (out, *out.parents) if not folder.exists()]
        self.parquet: dict[str, pq.ParquetWriter] = {}

    def add(self, tables: dict[str, pd.DataFrame]) -> None:
        """Append a block to each table.

        Parameters
        ----------
        tables : dict of str -> pandas.DataFrame
            points, segments and tracks, with the same columns in every block.
        """
        with explain_write_errors(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            for name, table in tables.items():
                if name not in self.parquet:
                    path = self._temporary_path(f"{name}.parquet")
                    self.parquet[name] = pq.ParquetWriter(path, make_schema(table, self.units))
                    if self.csv:
                        table.head(0).to_csv(self._temporary_path(f"{name}.csv"), index=False)
                writer = self.parquet[name]
                writer.write_table(pa.Table.from_pandas(table, schema=writer.schema, preserve_index=False))
                if self.csv:
                    table.to_csv(self._temporary_path(f"{name}.csv"), mode="a", header=False, index=False)

    def finish(self, record: dict, texts: dict[Path, str]) -> None:
        """Give all files their final names, run.json last, and remove other files of an earlier run.

        The run.json of an earlier run is removed first, so that the folder never shows a record beside tables that
        do not belong to it.

        Parameters
        ----------
        record : dict
            Content of run.json.
        texts : dict of Path -> str
            Path in the folder -> text of the challenge's files.
        """
        with explain_write_errors(self.out):
            for writer in self.parquet.values():
                writer.close()
            files = {self.out / name: text for name, text in texts.items()}
            files[self.out / "run.json"] = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
            for path, text in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                add_temporary_ending(path).write_text(text, encoding="utf-8")
            stale = find_earlier_results(self.out)
            (self.out / "run.json").unlink(missing_ok=True)
            for path in (*list_table_paths(self.out), *files):
                if add_temporary_ending(path).exists():
                    add_temporary_ending(path).replace(path)
                    stale.discard(path)
            for path in stale:
                path.unlink(missing_ok=True)

    def clean_up(self) -> None:
        """Remove temporary files, and the folders that were made if they are empty."""
        for writer in self.parquet.values():
            try:
                writer.close()
            except OSError:  # the disk is full or gone; the user has the sentence from `add` or `finish`
                continue
        named = [add_temporary_ending(path) for path in (*list_table_paths(self.out), self.out / "run.json")]
        for path in (*named, *self.out.glob(f"track_2/exp_*/fov_*.txt{TEMPORARY}")):
            path.unlink(missing_ok=True)
        for folder in self.made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _temporary_path(self, name: str) -> Path:
        return add_temporary_ending(self.out / name)


def list_table_paths(out: Path) -> list[Path]:
    """List the paths of the tables and of their CSV copies, whether they exist or not."""
    return [out / f"{name}{suffix}" for name in TABLES for suffix in (".parquet", ".csv")]


def list_replaceable_paths(out: Path) -> list[Path]:
    """List everything in a folder that results may replace or remove."""
    return [*find_earlier_results(out), *list_table_paths(out), out / "run.json"]


def find_earlier_results(out: Path) -> set[Path]:
    """Find what an earlier run, and the commands that read its results, left in a folder.

    A CSV file counts as the copy of a table only if the table itself is there.
    """
    tables = [out / f"{name}.parquet" for name in TABLES]
    copies = [path.with_suffix(".csv") for path in tables if path.exists()]
    figures = [path for name in LATER_FIGURES for end in ("svg", "png") for path in out.glob(f"figures/{name}.{end}")]
    found = {*tables, *copies, *figures, *(out / name for name in LATER_FILES), *out.glob("track_2/exp_*/fov_*.txt")}
    return {path for path in found if path.exists()}


def add_temporary_ending(path: Path) -> Path:
    """Return the name of a file while it is being written."""
    return path.with_name(path.name + TEMPORARY)


def make_schema(table: pd.DataFrame, units: dict[str, str]) -> pa.Schema:
    """Make the Arrow schema of a result table: types by column name, units as metadata."""
    of_table = {name: unit for name, unit in units.items() if name in table}
    fields = [
        pa.field(name, TYPES.get(name, pa.float64()), metadata={"unit": of_table[name]} if name in of_table else None)
        for name in table
    ]
    return pa.schema(fields, metadata={"units": json.dumps(of_table)})


@contextmanager
def explain_write_errors(out: Path) -> Iterator[None]:
    """Turn an OSError into an InputError that names the folder and the cause."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror or error}), free space or give another folder to --out."
        ) from error


@contextmanager
def open_writer(out: Path, units: dict[str, str], csv: bool = False) -> Iterator[Writer]:
    """Give a `Writer`; if anything fails before `finish`, the folder is left as it was."""
    writer = Writer(out, units, csv)
    try:
        yield writer
    finally:
        writer.clean_up()
