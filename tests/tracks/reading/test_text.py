"""Text tables: every row is read or the file is refused; dialects that people have; bounds."""

import numpy as np
import pytest

from main.tracks.reading.formats import read_tracks
from main.tracks.reading.scan import BLOCK_BYTES, scan_text
from main.tracks.reading.text import read_text_table
from main.utils.errors import InputError

HEADER = "track_id,frame,x,y"
ROWS = [(0, frame, round(0.25 + 1.5 * frame, 3), round(900.5 - frame, 3)) for frame in range(6)]


def table(separator=",", mark=".", end="\n", extra=(), header=HEADER):
    """Write the rows, each followed by the fields `extra(frame)`."""
    lines = [header.replace(",", separator) + "".join(separator + name for name in extra[:1])]
    for row in ROWS:
        cells = [str(value).replace(".", mark) for value in row] + [text(row[1]) for text in extra[1:]]
        lines.append(separator.join(cells))
    return end.join(lines) + end


def note(text, default="seen"):
    """Table with a last column, in which frame 2 has `text`."""
    return table(extra=("note", lambda frame: text if frame == 2 else default))


def aligned(text):
    return "\n".join("  ".join(f"{cell:>8}" for cell in line.split(",")) for line in text.splitlines()) + "\n"


READ = {
    "plain": (table(), None),
    "no line end": (table().rstrip("\n"), None),
    "windows": (table(end="\r\n"), None),
    "old mac": (table(end="\r"), None),
    "line ends doubled": (table(end="\r\r\n"), "5 blank lines|6 blank lines"),
    "blank lines at the end": (table() + "\n\n \n", None),
    "blank line inside": (table().replace("\n0,3", "\n\n0,3"), "skipped 1 blank lines"),
    "rows of separators at the end": (table() + ",,,\n,,,\n", None),
    "separator at the end of rows": (table().replace("\n", ",\n").replace(HEADER + ",", HEADER), None),
    "semicolons": (table(";"), None),
    "tabs": (table("\t"), None),
    "bars": (table("|"), None),
    "aligned": (aligned(table()), None),
    "one space": (table(" "), None),
    "decimal commas": (table(";", ","), "decimal commas"),
    "decimal commas, tabs": (table("\t", ","), "decimal commas"),
    "decimal commas, quoted": (
        HEADER + "\n" + "".join(f'{t},{f},"{str(x).replace(".", ",")}","{str(y).replace(".", ",")}"\n'
                                for t, f, x, y in ROWS),
        "decimal commas",
    ),
    "separator line of Excel": ("sep=;\n" + table(";"), None),
    "comments": ("# made by a program \"v1\n% 2024\n" + table(), "skipped 2 lines"),
    "header behind #": ("# " + table(), None),
    "comma in a name": (table("\t", header="track_id,frame,x,y").replace("frame", "frame"), None),
    "quoted fields": (note('"a, b"', '"seen"'), None),
    "doubled marks": (note('"a ""b"", c"', '"seen"'), None),
    "inch mark inside": (note('5" lens'), "line 4 has a quotation mark"),
    "inch mark first": (note('"lens'), "line 4 has a quotation mark"),
    "empty last fields left out": (note("", "").replace(",\n", "\n", 3), "have fewer fields"),
    "last column given once": (note("odd", "").replace(",\n", "\n"), "have fewer fields"),
}  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("name", READ)
def test_every_row_is_read(tmp_path, name, encoding):
    text, said = READ[name]
    path = tmp_path / "tracks.txt"
    path.write_bytes(text.encode(encoding))
    raw = read_text_table(path)
    assert raw.attrs["n_rows"] == len(raw) == len(ROWS)
    np.testing.assert_array_equal(raw[HEADER.split(",")].to_numpy(float), ROWS)
    warnings = " ".join(raw.attrs["warnings"])
    assert any(part in warnings for part in said.split("|")) if said else not warnings


def lines_of(text, *places):
    """Put the notes of frames in `places` to two stray quotes."""
    return table(extra=("note", lambda frame: text if frame in places else "seen"))


REFUSED = {
    "cut in the last number": (note("x")[: -len("895.5,seen\n")], "last line has fewer fields.*cut off"),
    "cut behind a note": (note("x")[: -len(",seen\n")], "cut off"),
    "cut, line end added": (note("x")[: -len(",seen\n")] + "\n", "cut off"),
    "separator lost": (note("x").replace("3.25,", "3.25", 1), "line 4 has fewer fields"),
    "field too many": (table().replace("3.25", "3.25,7"), r"line 4 has more fields than the 4"),
    "decimal commas between commas": (table(mark=","), "comma is also the decimal mark.*semicolons"),
    "row names of R": (
        table().replace("\n0", "\n1,0"),
        "first column holds numbers of rows",
    ),
    "field over two lines": (note('"a\nb"'), "line 4 has a quotation mark"),
    "two marks over lines with commas": (lines_of('"a, b', 1, 4), "line 3 has a quotation mark"),
    "no header": (table().split("\n", 1)[1], "no header.*add a line such as track_id,frame,x,y"),
    "no header, aligned": (aligned(table().split("\n", 1)[1]), "no header"),
    "comments only": ("# a\n# b\n", "holds no table"),
    "both marks": (table(";").replace("3.25", "3,25"), "give --decimal"),
    "nul": (table().replace("0.25", "0.2\0"), "is no text file"),
    "one long line": ("track_id,frame,x,y\n0,0," + "1" * 2_000_000, "line 2 is longer than"),
    "long header": ("x" * 3_000_000 + "\n1\n", "line 1 is longer than"),
    "many columns": ("a" + ",a" * 20_000 + "\n", "20001 columns, expected at most 10000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name):
    text, message = REFUSED[name]
    path = tmp_path / "tracks.csv"
    path.write_bytes(text.encode())
    with pytest.raises(InputError, match=message) as error:
        read_text_table(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


DECIMALS = {  # numbers -> x of the first row, or the message
    ("15.674", "16.123"): "give --decimal",
    ("15,674", "16,123"): "give --decimal",
    ("15.674", "0.123"): 15.674,
    ("15.674", "-.123"): 15.674,
    ("15.674", "16.12"): 15.674,
    ("15.674", "1234.567"): 15.674,
    ("15.674", "1.500e-3"): 15.674,
    ("15,674", "0,123"): 15.674,
    ("15,674", "1.234,567"): "15,674",
    ("15.674", "2,5"): "15.674",  # a thousands separator: stays text, which `validate` refuses with its row
    ("1.234.567", "2,5"): "1.234.567",
    ("15", "16"): 15,
    ("15.674", "1'234.5"): "give --decimal",
}


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("numbers", DECIMALS)
def test_decimal_mark(tmp_path, numbers, far, separator):
    first, second = numbers
    between = [f"0{separator}7"] * 1500 * far
    path = tmp_path / "tracks.csv"
    path.write_text("\n".join([f"a{separator}b", f"{first}{separator}1", *between, f"{second}{separator}2"]) + "\n")
    expected = DECIMALS[numbers]
    if expected == "give --decimal":
        with pytest.raises(InputError, match="can be .* or .*--decimal point or --decimal comma"):
            read_text_table(path)
        given = "comma" if "," in first else "point"
        assert float(read_text_table(path, decimal=given)["a"].iloc[0]) == 15.674
        return
    value = read_text_table(path)["a"].iloc[0]
    assert (str(value) if isinstance(expected, str) else float(value)) == expected


def test_commas_separate_and_points_are_decimal(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text(f"{HEADER}\n0,0,15.674,16.123\n0,1,15.674,16.123\n")
    assert read_text_table(path)["x"].tolist() == [15.674, 15.674]


def test_header_of_numbers_that_the_user_names(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text("0,1,2,3\n5,0,1.5,2.5\n")
    with pytest.raises(InputError, match="no header"):
        read_text_table(path)
    assert len(read_text_table(path, named=("0", "1"))) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_are_counted_across_blocks(tmp_path, end):
    rng, path = np.random.default_rng(3), tmp_path / "tracks.csv"
    lines, n_rows, n_blank = ['a,"b"'], 0, 0
    while sum(map(len, lines[-1:])) + n_rows * 40 < 2.2 * BLOCK_BYTES:
        for blank in rng.random(1000) < 0.1:
            lines.append("" if blank else '"' + "x," * rng.integers(0, 40) + '",µ')
            n_rows, n_blank = n_rows + (not blank), n_blank + blank
    path.write_bytes((end.join([*lines, "1,2"]) + end + end).encode())
    scan = scan_text(path, "utf-8", 0, 1, ",")
    assert (scan.n_rows, scan.n_blank, scan.first_stray_quote) == (n_rows + 1, n_blank, 0)
    assert scan.quoted.header == scan.quoted.longest == scan.quoted.shortest == 2
    assert len(read_text_table(path)) == n_rows + 1


@pytest.mark.parametrize("seed", range(40))
def test_damaged_tables_are_read_whole_or_refused(tmp_path, seed):
    rng, path = np.random.default_rng(seed), tmp_path / "tracks.csv"
    rows = [f"{i // 9},{i % 9},{rng.normal():.4f},{rng.normal():.4f},cell {i}" for i in range(60)]
    data = bytearray("\n".join([HEADER + ",note", *rows, ""]).encode())
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(25, len(data))] = rng.choice(list(b'",\n\r\x80 "'))
    path.write_bytes(data)
    n_lines = sum(bool(line.strip()) for line in bytes(data).replace(b"\r", b"\n").split(b"\n")) - 1
    try:
        raw = read_text_table(path)
    except InputError as error:
        assert "line" in str(error)
        return
    assert len(raw) == raw.attrs["n_rows"] == n_lines


@pytest.mark.parametrize("mark", ["point", "comma"])
def test_a_point_is_never_read_against_the_given_decimal_mark(tmp_path, mark):
    path = tmp_path / "t.csv"
    path.write_text("track;frame;x;y\n1;0;15.674;3.123\n1;1;15.701;3.120\n")
    if mark == "point":
        assert read_tracks(path, decimal=mark).table["x"].tolist() == [15.674, 15.701]
    else:
        with pytest.raises(InputError, match="data row 1, column 'x' holds '15.674', expected .* without thousands"):
            read_tracks(path, decimal=mark)
