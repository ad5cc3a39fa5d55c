"""Cases of Parquet: types, schemas, indexes, damaged bytes, and files that are small on disk and huge in memory."""

from __future__ import annotations

import datetime
import decimal
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from attack_cases import HEADER, Case, Plan, Reading, infer, make_rows

FAMILY = "Parquet"
FLIPS = 30
EPOCH = datetime.datetime(2026, 11, 24)
FLOATS = ("float16", "float32", "float64", "int64", "string", "large_string", "decimal", "dictionary")
ODD_TYPES = ("bool", "timestamp", "date", "time", "duration", "binary", "list", "struct", "map", "null")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float64", "string", "dictionary")


def columns_of(rows) -> dict[str, list]:
    """Columns of a table of rows, as numbers."""
    return {name: [int(row[i]) if i < 2 else float(row[i]) for row in rows] for i, name in enumerate(HEADER)}


def write_table(folder, table, name="tracks.parquet", **options) -> str:
    """Write a Parquet file; returns its name."""
    pq.write_table(table, folder / name, **options)
    return name


def make_array(values: list, kind: str) -> pa.Array:
    """An array of a type; odd types keep nothing of the values but their number."""
    n = range(len(values))
    if kind == "decimal":
        return pa.array([decimal.Decimal(f"{v:.4f}") for v in values], pa.decimal128(20, 4))
    if kind == "dictionary":
        return pa.array(values).dictionary_encode()
    if kind in ("string", "large_string"):
        return pa.array([str(v) for v in values], getattr(pa, kind)())
    if kind == "float16":
        return pa.array(np.array(values, dtype=np.float16))
    if kind in INTEGERS or kind in FLOATS:
        return pa.array(values).cast(kind, safe=False)
    made = {
        "bool": lambda: pa.array([bool(i % 2) for i in n]),
        "timestamp": lambda: pa.array([EPOCH + datetime.timedelta(seconds=i) for i in n], pa.timestamp("us")),
        "date": lambda: pa.array([EPOCH.date() + datetime.timedelta(days=i) for i in n]),
        "time": lambda: pa.array([datetime.time(0, i // 60, i % 60) for i in n]),
        "duration": lambda: pa.array([datetime.timedelta(seconds=i) for i in n]),
        "binary": lambda: pa.array([b"\xff\x00" for _ in n]),
        "list": lambda: pa.array([[1.0, 2.0] for _ in n]),
        "struct": lambda: pa.array([{"a": 1} for _ in n]),
        "map": lambda: pa.array([[("a", 1)] for _ in n], pa.map_(pa.string(), pa.int64())),
        "null": lambda: pa.nulls(len(values)),
    }
    return made[kind]()


def give_type(column, kind, folder, rng):
    """A column of another type."""
    rows = make_rows(rng, digits=0 if kind == "int64" else 4)
    values = columns_of(rows)
    arrays = {name: pa.array(column) for name, column in values.items()}
    arrays[column] = make_array(values[column], kind)
    name = write_table(folder, pa.table(arrays))
    if kind in ODD_TYPES and column in HEADER:
        return Plan(infer(name), (name,))
    i = HEADER.index(column)
    if kind in ("float16", "float32"):
        stored = arrays[column].to_pylist()
        rows = [[*row[:i], float(value), *row[i + 1 :]] for row, value in zip(rows, stored, strict=True)]
    plan = Plan(infer(name), (name,) if kind in ("float16", "decimal", "dictionary") else None, [Reading(rows)])
    plan.check_d = kind != "float16"
    return plan


def add_column(kind, folder, rng):
    """A further column of any type does no harm."""
    rows = make_rows(rng)
    values = columns_of(rows)
    arrays = {name: pa.array(column) for name, column in values.items()}
    arrays["more"] = make_array(values["x"], kind)
    return Plan(infer(write_table(folder, pa.table(arrays))), None, [Reading(rows)])


def miss_values(column, kind, folder, rng):
    """A missing or not finite value."""
    rows = make_rows(rng)
    values = columns_of(rows)
    values[column][9] = {"null": None, "nan": float("nan"), "inf": float("inf"), "huge": 1e300}[kind]
    name = write_table(folder, pa.table(values))
    plan = Plan(infer(name), (name,))
    if column == "track_id" and kind in ("null", "nan"):
        plan.readings, plan.check_d = [Reading(rows[:9] + rows[10:], len(rows))], False
    return plan


def set_index(which, folder, rng):
    """What pandas keeps in its index."""
    rows = make_rows(rng)
    frame = pd.DataFrame(columns_of(rows))
    frame = {
        "track_id": lambda: frame.set_index("track_id"),
        "track_id and frame": lambda: frame.set_index(["track_id", "frame"]),
        "x": lambda: frame.set_index("x"),
        "without a name": lambda: frame.set_index(frame.index + 100),
        "named index": lambda: frame.rename_axis("index"),
        "frame twice": lambda: frame.set_index("frame", drop=False).rename_axis("more"),
        "backwards": lambda: frame.iloc[::-1],
        "columns of two levels": lambda: frame.set_axis(pd.MultiIndex.from_product([["a"], frame.columns]), axis=1),
        "columns of numbers": lambda: frame.set_axis([0, 1, 2, 3], axis=1),
        "columns with spaces": lambda: frame.set_axis([f" {name} " for name in frame], axis=1),
        "empty": lambda: frame.iloc[:0],
        "no columns": lambda: frame[[]],
        "categories": lambda: frame.astype({"track_id": "category"}),
        "nullable types": lambda: frame.convert_dtypes(),
    }[which]()
    frame.to_parquet(folder / "tracks.parquet")
    bad = ("columns of two levels", "columns of numbers", "empty", "no columns")
    return Plan(infer("tracks.parquet"), ("tracks.parquet",), [] if which in bad else [Reading(rows)])


def change_schema(which, folder, rng):
    """Schemas that are odd."""
    rows = make_rows(rng)
    values = columns_of(rows)
    table, more = pa.table(values), {}
    if which == "names twice":
        table = pa.Table.from_arrays([*table.columns, table["y"]], [*HEADER, "x"])
    elif which == "nested":
        table = pa.table({"all": pa.array([dict(zip(HEADER, row, strict=True)) for row in rows])})
    elif which == "2000 columns":
        table = pa.table(values | {f"c{i}": values["x"] for i in range(2000)})
    elif which == "names beyond ASCII":
        table = table.append_column("größe µm", table["x"])
    elif which == "empty name":
        table = table.append_column("", table["x"])
    elif which == "name of 1 MB":
        table = table.append_column("n" * 10**6, table["x"])
    elif which == "metadata of 5 MB":
        table = table.replace_schema_metadata({"pandas": "{" * 5_000_000})
    elif which == "pandas metadata damaged":
        table = table.replace_schema_metadata({"pandas": '{"index_columns": ["nowhere"], "columns": 5}'})
    elif which == "pandas index of a billion":
        meta = '{"index_columns": [{"kind": "range", "name": null, "start": 0, "stop": 1000000000, "step": 1}],'
        table = table.replace_schema_metadata({"pandas": meta + '"columns": [], "column_indexes": []}'})
    elif which == "arrow schema damaged":
        table = table.replace_schema_metadata({"ARROW:schema": "AAAA"})
    elif which.startswith("compression"):
        more = {"compression": which.split()[1]}
    elif which == "100 row groups":
        more = {"row_group_size": 1}
    elif which == "version 1.0":
        more = {"version": "1.0"}
    elif which == "pages of version 2":
        more = {"data_page_version": "2.0"}
    name = write_table(folder, table, **more)
    odd = ("names twice", "nested", "metadata of 5 MB", "pandas metadata damaged", "pandas index of a billion")
    return Plan(
        infer(name),
        (name,) if which in (*odd, "arrow schema damaged", "empty name", "name of 1 MB") else None,
        [Reading(rows)],
    )


def damage_bytes(how, seed, folder, rng):
    """Flipped, lost and inserted bytes; with checksums of pages, as the file may have, a flip is seen."""
    rows = make_rows(rng)
    name = write_table(folder, pa.table(columns_of(rows)), compression="none" if seed % 2 else "snappy")
    data = bytearray((folder / name).read_bytes())
    at = int(rng.integers(4, len(data) - 8))
    if how == "flip":
        data[at] ^= 1 << int(rng.integers(8))
    elif how == "flip in the footer":
        at = len(data) - 9 - int(rng.integers(0, min(400, len(data) - 20)))
        data[at] ^= 1 << int(rng.integers(8))
    elif how == "cut":
        del data[at:]
    elif how == "lose a span":
        del data[at : at + 20]
    elif how == "length of the footer":
        data[-8:-4] = int(rng.integers(2**32)).to_bytes(4, "little")
    else:
        data[at:at] = bytes(17)
    (folder / name).write_bytes(data)
    plan = Plan(infer(name), (name,), [Reading(rows)])
    if how.startswith("flip"):
        plan.check = partial(compare_sizes, n_rows=len(rows))  # a flipped bit of a number cannot be seen
    return plan


def compare_sizes(folder, n_rows: int) -> str:
    """Say whether rows were lost."""
    from attack_judge import read_result  # the judge imports the neighbours of this module

    counts = read_result(folder / "out")[0]["counts"]
    n_read = counts["points"] + sum(counts["dropped"].values())
    return "" if n_read == n_rows else f"{n_read} rows read or dropped of {n_rows}"


def make_bomb(which, folder, rng):
    """Small files that are huge in memory."""
    if which == "10^8 equal rows":
        schema = pa.schema([(name, pa.int64() if i < 2 else pa.float64()) for i, name in enumerate(HEADER)])
        part = pa.table({name: np.zeros(10**6, np.int64 if i < 2 else float) for i, name in enumerate(HEADER)})
        with pq.ParquetWriter(folder / "tracks.parquet", schema) as writer:
            for _ in range(100):
                writer.write_table(part)
    elif which == "long texts":
        texts = pa.array(["x" * 10**6]).dictionary_encode()
        table = pa.table(columns_of(make_rows(rng, 50, 100)))
        column = pa.DictionaryArray.from_arrays(np.zeros(5000, np.int32), texts.dictionary)
        write_table(folder, table.append_column("note", column))
        return Plan(infer("tracks.parquet"), ("tracks.parquet",), check=partial(compare_sizes, n_rows=5000))
    else:
        write_table(folder, pa.table({f"c{i}": [0.0] * 10 for i in range(20_000)}))
    return Plan(infer("tracks.parquet"), ("tracks.parquet",))


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values):
        text = ", ".join((build.__name__.replace("_", " "), *map(str, values)))
        cases.append(Case(FAMILY, text, partial(build, *values), quick=build is not make_bomb and "5 MB" not in text))

    for column in HEADER:
        for kind in (*(INTEGERS if column in HEADER[:2] else FLOATS), *ODD_TYPES):
            add(give_type, column, kind)
        for kind in ("null", "nan", "inf", "huge"):
            add(miss_values, column, kind)
    for kind in ODD_TYPES:
        add(add_column, kind)
    for which in """track_id;track_id and frame;x;without a name;named index;frame twice;backwards;columns of two levels
            columns of numbers;columns with spaces;empty;no columns;categories;nullable types""".replace(
        "\n", ";"
    ).split(";"):
        add(set_index, which.strip())
    for which in """names twice;nested;2000 columns;names beyond ASCII;empty name;name of 1 MB;metadata of 5 MB
            pandas metadata damaged;pandas index of a billion;arrow schema damaged;compression none;compression gzip
            compression zstd;compression brotli;compression lz4;100 row groups;version 1.0
            pages of version 2""".replace("\n", ";").split(";"):
        add(change_schema, which.strip())
    for seed in range(FLIPS):
        add(damage_bytes, "flip", seed)
        add(damage_bytes, "flip in the footer", seed)
    for how in ("cut", "lose a span", "length of the footer", "insert"):
        for seed in range(8):
            add(damage_bytes, how, seed)
    for which in ("10^8 equal rows", "long texts", "20,000 columns"):
        add(make_bomb, which)
    return cases
