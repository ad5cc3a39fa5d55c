"""The folder of results, written block by block and shown only when whole."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from main.tracks.results.tables import PROBABILITIES
from main.utils.errors import InputError

TABLES = ("points", "segments", "tracks")
TYPES = {  # of columns; all others are float64
    **dict.fromkeys(("track_id", "source_track", "frame", "frame_start", "frame_end"), pa.int64()),
    **dict.fromkeys(("n_frames", "n_gaps", "n_segments", "segment_id"), pa.int32()),
    **dict.fromkeys(("file", "condition", "flags"), pa.string()),
    **dict.fromkeys(("left_censored", "right_censored"), pa.bool_()),
    **dict.fromkeys((*PROBABILITIES, "p_change"), pa.float32()),
    "state": pa.int8(),
}
OTHERS = ("kinetics.csv", "comparison.csv", "report.html")  # what later commands add goes with a run
FIGURES = ("dwell_times*", "distributions", "tracks_state*", "tracks_k*", "tracks_alpha*", "track_over_time*")


class Writer:
    """Takes tables block by block, under temporary names; `finish` shows them all, `leave` removes them.

    Parameters
    ----------
    out : Path
        Made with the first block if it does not exist.
    units : dict
        Column -> unit, for the Parquet metadata: JSON under "units" in that of the schema, and each field's own.
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
        """Append a block of each table (points, segments, tracks), in columns that are the same every time."""
        with sentence(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            for name, table in tables.items():
                if name not in self.parquet:
                    self.parquet[name] = pq.ParquetWriter(self._part(f"{name}.parquet"), schema(table, self.units))
                    if self.csv:
                        table.head(0).to_csv(self._part(f"{name}.csv"), index=False)
                writer = self.parquet[name]
                writer.write_table(pa.Table.from_pandas(table, schema=writer.schema, preserve_index=False))
                if self.csv:
                    table.to_csv(self._part(f"{name}.csv"), mode="a", header=False, index=False)

    def finish(self, record: dict, texts: dict[Path, str]) -> None:
        """Put everything in place, run.json last; what an earlier run left goes, its run.json first.

        Parameters
        ----------
        record : dict
            For run.json.
        texts : dict
            Path in the folder -> text, of the challenge's files.
        """
        with sentence(self.out):
            for writer in self.parquet.values():
                writer.close()
            files = {self.out / name: text for name, text in texts.items()}
            files[self.out / "run.json"] = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
            for path, text in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                part(path).write_text(text, encoding="utf-8")
            stale = earlier(self.out)
            (self.out / "run.json").unlink(missing_ok=True)
            tables = [self.out / f"{name}{suffix}" for name in TABLES for suffix in (".parquet", ".csv")]
            for path in (*tables, *files):
                if part(path).exists():
                    part(path).replace(path)
                    stale.discard(path)
            for path in stale:
                path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Remove what is not in place yet, and the folders that were made for nothing."""
        for writer in self.parquet.values():
            try:
                writer.close()
            except OSError:  # it could not be written in the first place
                continue
        tables = [self._part(f"{name}{suffix}") for name in TABLES for suffix in (".parquet", ".csv")]
        for path in (*tables, self._part("run.json"), *self.out.glob("track_2/exp_*/fov_*.txt.part")):
            path.unlink(missing_ok=True)
        for folder in self.made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _part(self, name: str) -> Path:
        return part(self.out / name)


def results_in(out: Path) -> list[Path]:
    """Everything in a folder that results may replace or remove."""
    tables = (out / f"{name}{suffix}" for name in TABLES for suffix in (".parquet", ".csv"))
    return [*earlier(out), *tables, out / "run.json"]


def earlier(out: Path) -> set[Path]:
    """What an earlier run, and the commands that read its results, left in a folder. CSV copies stand beside tables."""
    tables = [out / f"{name}.parquet" for name in TABLES]
    copies = [path.with_suffix(".csv") for path in tables if path.exists()]
    figures = [path for name in FIGURES for path in out.glob(f"figures/{name}.svg")]
    found = {*tables, *copies, *figures, *(out / name for name in OTHERS), *out.glob("track_2/exp_*/fov_*.txt")}
    return {path for path in found if path.exists()}


def part(path: Path) -> Path:
    """Temporary name of a file that is not whole yet."""
    return path.with_name(path.name + ".part")


def schema(table: pd.DataFrame, units: dict[str, str]) -> pa.Schema:
    """Arrow schema of a result table: types by column name, units as metadata."""
    own = {name: unit for name, unit in units.items() if name in table}
    fields = [pa.field(n, TYPES.get(n, pa.float64()), metadata={"unit": own[n]} if n in own else None) for n in table]
    return pa.schema(fields, metadata={"units": json.dumps(own)})


@contextmanager
def sentence(out: Path) -> Iterator[None]:
    """Raise InputError, one sentence, where a folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}).") from error


@contextmanager
def writing(out: Path, units: dict[str, str], csv: bool = False) -> Iterator[Writer]:
    """A `Writer` whose folder, should anything go wrong, is left as it was."""
    writer = Writer(out, units, csv)
    try:
        yield writer
    finally:
        writer.leave()
