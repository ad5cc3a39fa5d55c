"""The content of a file decides how it is read; what is no track file is named in one sentence with the way out."""

import bz2
import errno
import gzip
import io
import lzma
import os
import pickle
import socket
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
from track_files import xml

from main.tracks.reading import elements, parquet
from main.tracks.reading.formats import read_tracks
from main.tracks.reading.kinds import find_kind
from main.utils.errors import InputError

TABLE = pd.DataFrame(
    {
        "track_id": np.repeat([3, 8], 20),
        "frame": np.tile(np.arange(20), 2),
        "x": np.arange(40) / 7,
        "y": -np.arange(40.0),
    }
)
CSV = TABLE.to_csv(index=False).encode()


def refuse(path, message):
    """Assert that a file is refused in one printable sentence that names it."""
    with pytest.raises(InputError, match=message) as error:
        read_tracks(path)
    text = str(error.value)
    assert text.startswith(str(path)) and text.isprintable() and text.endswith(".")


def pack(write, *names):
    """Return the bytes that `write` puts into a file object."""
    file = io.BytesIO()
    write(file, *names)
    return file.getvalue()


def write_zip(file, *names):
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, CSV)


def write_tar(file, mode):
    with tarfile.open(fileobj=file, mode=mode) as archive:
        entry = tarfile.TarInfo("tracks.csv")
        entry.size = len(CSV)
        archive.addfile(entry, io.BytesIO(CSV))


def write_hdf5(file):
    file.write(b"\x89HDF\r\n\x1a\n" + bytes(2048))  # the signature of HDF5


OTHER_KINDS = {
    "gzip": (gzip.compress(CSV), "packed with gzip.*unpack it"),
    "xz": (lzma.compress(CSV), "packed with xz.*unpack it"),
    "bzip2": (bz2.compress(CSV), "packed with bzip2.*unpack it"),
    "zstd": (pa.compress(CSV, "zstd", asbytes=True), "packed with zstd.*unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(30), "7z archive.*unpack it"),
    "zip": (pack(write_zip, "tracks.csv"), "zip archive.*unpack it"),
    "empty zip": (pack(write_zip), "zip archive.*unpack it"),
    "tar": (pack(write_tar, "w"), "tar archive.*unpack it"),
    "tar.gz": (pack(write_tar, "w:gz"), "packed with gzip.*unpack it"),
    "xlsx": (pack(write_zip, "[Content_Types].xml", "xl/workbook.xml"), "Excel workbook.*CSV"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "Excel workbook.*CSV"),
    "npz": (pack(np.savez, CSV), "NumPy arrays.*CSV"),
    "npy": (pack(np.save, TABLE.to_numpy()), "NumPy array.*CSV"),
    "hdf5": (pack(write_hdf5), "HDF5.*CSV"),
    "feather": (pack(lambda file: pyarrow.feather.write_feather(TABLE, file)), "Feather.*CSV"),
    "pickle": (pickle.dumps(TABLE), "pickle, which is never opened.*CSV"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), "image"),
    "tiff": (b"II*\0\x08\0\0\0" + bytes(20), "image"),
    "pdf": (b"%PDF-1.4\n%\xe2\xe3\n1 0 obj\n", "PDF"),
    "web page": (b"\n<!DOCTYPE html><html><body>log in</body></html>", "web page"),
    "json": (b'[\n {"track_id": 0}]', "JSON.*CSV"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
    "encrypted parquet": (b"PARE\0\1" + bytes(20) + b"PARE", "encrypted"),
}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "xml"])
@pytest.mark.parametrize("name", OTHER_KINDS)
def test_what_is_no_track_file_is_named_whatever_its_extension(tmp_path, name, suffix):
    content, message = OTHER_KINDS[name]
    path = tmp_path / f"tracks.{suffix}"
    path.write_bytes(content)
    refuse(path, message)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PARENT,PAR1,BZh,x\n1,2,3,4\n", "text"),
        (b"GIF8,MM*,II*\n", "text"),
        ("\ufefftrack,x\n".encode(), "text"),
        (b"\xef\xbb\xbf\n <?xml version='1.0'?><Tracks/>", "xml"),
        ("<?xml version='1.0'?><Tracks/>".encode("utf-16"), "xml"),
        ("<?xml version='1.0'?><Tracks/>".encode("utf-16-le"), "xml"),
        ("<?xml version='1.0'?><Tracks/>".encode("cp037"), "xml"),
        (b"<!-- a --><Tracks/>", "xml"),
    ],
)
def test_text_is_not_taken_for_something_else(tmp_path, content, kind):
    path = tmp_path / "tracks"
    path.write_bytes(content)
    assert find_kind(path) == kind


@pytest.mark.parametrize("suffix", ["csv", "parquet", "xml", "dat"])
def test_content_decides_and_not_the_extension(tmp_path, suffix):
    path = tmp_path / f"tracks.{suffix}"
    path.write_bytes(CSV)
    expected = read_tracks(path).table
    TABLE.to_parquet(path)
    pd.testing.assert_frame_equal(read_tracks(path).table, expected)
    path.write_text(xml(TABLE))
    assert read_tracks(path).format == "trackmate-xml"


def test_what_is_no_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "socket"):
            refuse(path, "is a pipe")
    with pytest.raises(InputError, match="is a pipe"):
        read_tracks("/dev/zero")
    refuse(tmp_path, "is a folder")


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.EACCES, "may not be read by you"), (errno.EIO, "cannot be read"), (errno.ENOENT, "no such file")],
)
def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch, code, message):
    path = tmp_path / "tracks.csv"
    path.write_bytes(CSV)

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("builtins.open", fail)  # the tests may run as root, who may read every file
    refuse(path, message)


def test_a_format_or_columns_that_a_file_cannot_have_are_refused(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text(xml(TABLE))
    for options, message in (({"columns": {"x": "y"}}, "--columns"), ({"format": "andi"}, "--format")):
        with pytest.raises(InputError, match=message):
            read_tracks(path, **options)
    path.write_bytes(CSV)
    with pytest.raises(InputError, match="--format"):
        read_tracks(path, format="trackmate-xml")


ODD_COLUMNS = {
    "list": pa.array([[1, 2]] * 40),
    "struct": pa.array([{"x": 1}] * 40),
    "map": pa.array([[("a", 1)]] * 40, pa.map_(pa.string(), pa.int64())),
    "binary": pa.array([b"a"] * 40),
    "null": pa.nulls(40),
    "text": pa.array(["a", "b"] * 20),
    "dictionary": pa.array(["a", "b"] * 20).dictionary_encode(),
    "time": pa.array(range(40), pa.time64("us")),
}


def write_parquet(path, **columns):
    pa.parquet.write_table(pa.table(TABLE.to_dict("list") | columns), path)


@pytest.mark.parametrize("name", ODD_COLUMNS)
def test_a_column_of_an_odd_type_hinders_only_where_a_number_is_expected(tmp_path, name):
    path = tmp_path / "tracks.parquet"
    write_parquet(path, other=ODD_COLUMNS[name])
    read = read_tracks(path).table
    assert read["x"].tolist() == TABLE["x"].tolist()
    assert ("other" in read) == (name in ("null", "text", "dictionary", "time"))
    write_parquet(path, x=ODD_COLUMNS[name])
    refuse(path, "column 'x' holds")


NUMBERS = {
    "float16": (pa.float16(), 0.25),
    "decimal": (pa.decimal128(10, 2), 0.25),
    "decimal of 256 bits": (pa.decimal256(60, 2), 0.25),
    "whole decimal": (pa.decimal128(38, 0), 1),
    "uint8": (pa.uint8(), 1),
    "dictionary": (pa.dictionary(pa.int8(), pa.int32()), 1),
    "float32": (pa.float32(), 0.25),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_every_type_are_read(tmp_path, name):
    kind, step = NUMBERS[name]
    values = TABLE["frame"] * step
    path = tmp_path / "tracks.parquet"
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    column = pa.array(values.to_numpy(np.float16) if pa.types.is_float16(kind) else values.tolist())
    if pa.types.is_dictionary(kind):
        column = column.cast(plain).dictionary_encode()
    elif not pa.types.is_float16(kind):
        column = column.cast(plain)
    write_parquet(path, x=column)
    assert read_tracks(path).table["x"].tolist() == values.tolist()


def test_integers_beside_missing_values_stay_exact(tmp_path):
    path = tmp_path / "tracks.parquet"
    write_parquet(path, mass=pa.array([None, 2**53 + 1, *range(38)]))
    assert parquet.read_parquet_table(path)["mass"][1] == 2**53 + 1


def test_an_index_with_a_name_is_a_column(tmp_path):
    path = tmp_path / "tracks.parquet"
    TABLE.set_index(["track_id", "frame"]).to_parquet(path)
    assert read_tracks(path).table["frame"].tolist() == TABLE["frame"].tolist()
    one = TABLE[:20].drop(columns="frame").set_axis(pd.RangeIndex(5, 25, name="frame"))
    one.to_parquet(path)  # such an index stands in the metadata alone
    assert read_tracks(path).table["frame"].tolist() == list(range(5, 25))
    TABLE[TABLE["frame"] > 3].to_parquet(path)
    assert "__index_level_0__" not in read_tracks(path).table


@pytest.mark.parametrize(
    ("bound", "value", "message"),
    [
        ("MAX_CELLS", 159, "40 rows of 4 columns"),
        ("MAX_COLUMN_BYTES", 100, "its columns take"),
        ("MAX_FOOTER_BYTES", 100, "describes its columns"),
        ("MAX_TEXT_BYTES", 100, "of text"),
    ],
)
def test_a_parquet_file_too_large_for_memory_is_refused(tmp_path, monkeypatch, bound, value, message):
    path = tmp_path / "tracks.parquet"
    if bound == "MAX_TEXT_BYTES":
        write_parquet(path, label=pa.array(["abc"] * 40))
    else:
        write_parquet(path)
    read_tracks(path)
    monkeypatch.setattr(parquet, bound, value)
    refuse(path, message)


def test_columns_are_the_same_however_many_are_read_together(tmp_path, monkeypatch):
    path = tmp_path / "tracks.parquet"
    write_parquet(path, **{f"c{i}": pa.array(range(i, i + 40)) for i in range(9)})
    expected = parquet.read_parquet_table(path)
    monkeypatch.setattr(parquet, "MAX_CELLS_TOGETHER", 100)
    pd.testing.assert_frame_equal(parquet.read_parquet_table(path), expected)


def test_a_damaged_parquet_file_is_read_or_refused(tmp_path):
    path, rng = tmp_path / "tracks.parquet", np.random.default_rng(0)
    write_parquet(path, other=ODD_COLUMNS["list"], label=ODD_COLUMNS["text"])
    whole, n_refused = path.read_bytes(), 0
    for i in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole) // 3 * (i % 3), len(whole), size=1 + i % 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(len(whole))] if i % 5 == 0 else damaged)
        try:
            read_tracks(path)
        except InputError as error:
            n_refused += 1
            assert str(error).isprintable()
    assert n_refused > 100


def test_two_columns_of_the_same_name_are_refused(tmp_path):
    path = tmp_path / "tracks.parquet"
    table = pa.table(TABLE)
    pa.parquet.write_table(table.append_column("x", table["y"]), path)
    refuse(path, "several columns named 'x'")


SIMPLE = "<Tracks><particle>{}<detection t='0' x='1' y='2'/></particle></Tracks>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SIMPLE.replace("t='0'", f"t='0' a='{'b' * 3000}'"), "attribute or text of more than"),
        (SIMPLE.format("c" * 3000), "attribute or text of more than"),
        (SIMPLE.format(f"<!--{'<' * 3000}-->"), "attribute or text of more than"),
        ("<TrackMate>" * 60, "inside one another"),
        (SIMPLE.format("<detectiom t='1' x='1' y='2'/>"), "an element 'particle' holds 'detectiom'"),
        ("<?xml version='1.0' encoding='utf-7'?>" + SIMPLE, "encoding"),
        ("<?xml version='1.0' encoding='nonsense'?>" + SIMPLE, "encoding"),
        ("<?xml version='1.0' encoding='hex'?>" + SIMPLE, "encoding"),
        (SIMPLE.format("&b;"), "no readable XML"),
        (SIMPLE.format("\0"), "no readable XML"),
        ('<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY c "&b;&b;">]>' + SIMPLE.format("&c;"), "document type"),
    ],
)
def test_xml_beyond_bounds_or_not_understood_is_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(elements, "CHUNK_BYTES", 100)
    monkeypatch.setattr(elements, "MAX_TOKEN_BYTES", 2000)
    monkeypatch.setattr(elements, "MAX_DEPTH", 50)
    path = tmp_path / "tracks.xml"
    path.write_text(text)
    refuse(path, message)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1", "cp1252"])
@pytest.mark.parametrize("chunk", [7, 2**16])
def test_xml_of_usual_encodings_is_read_whole(tmp_path, monkeypatch, encoding, chunk):
    monkeypatch.setattr(elements, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(elements, "CHUNK_ROWS", 9)
    path = tmp_path / "tracks.xml"
    text = xml(TABLE).replace('spaceUnits="micron"', 'spaceUnits="µm"')
    assert "µm" in text
    path.write_bytes(f"<?xml version='1.0' encoding='{encoding}'?>{text.partition('?>')[2] or text}".encode(encoding))
    read = read_tracks(path)
    assert read.n_rows == len(TABLE) and read.units.position == "um"
    assert read.table["x"].tolist() == TABLE["x"].tolist()
