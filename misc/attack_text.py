"""Cases of text tables: quotes, damaged bytes, truncation, encodings, separators, decimals, headers, lines."""

from __future__ import annotations

from functools import partial

from attack_cases import HEADER, Case, Plan, Reading, infer, join, make_rows, may_read, must_read, must_refuse, write

FAMILY = "text"
NOTE = ("track_id", "frame", "x", "y", "note")
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "latin-1", "ascii")
UNUSUAL_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037", "shift_jis")
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
UNUSUAL_SEPARATORS = {"space": " ", "spaces": "   ", "pipe": "|", "colon": ":", "comma and space": ", ", "two": ",,"}
ENDS = {"LF": "\n", "CRLF": "\r\n"}
UNUSUAL_ENDS = {"CR": "\r", "CRCRLF": "\r\r\n", "form feed": "\f\n", "NEL": "\u0085", "LS": "\u2028"}
CONTROL = {"NUL": "\0", "BEL": "\a", "SUB": "\x1a", "ESC": "\x1b", "DEL": "\x7f", "BOM": "\ufeff", "NBSP": "\xa0"}


def add_notes(rows, note="good"):
    """Rows with a fifth column of text."""
    return [[*row, note] for row in rows]


def place_quotes(mark, how, folder, rng):
    """Stray quotes in a column of text, which may swallow rows."""
    rows = make_rows(rng, 6, 20)
    noted = add_notes(rows)
    first, second = sorted(rng.choice(len(rows), 2, replace=False))
    pairs = {
        "one": [(first, f"{mark}loose")],
        "one inside": [(first, f"2{mark} bar")],
        "two at starts": [(first, f"{mark}a"), (second, f"{mark}b")],
        "two inside": [(first, f"2{mark}"), (second, f"3{mark}")],
        "start and end": [(first, f"{mark}a"), (second, f"b{mark}")],
        "three": [(first, f"{mark}a"), (second, f"{mark}b"), (len(rows) - 1, f"{mark}c")],
        "escaped": [(first, f"\\{mark}a"), (second, f"b\\{mark}")],
        "doubled": [(first, f"{mark}a{mark}{mark}b{mark}")],
        "every row": [(i, f"{mark}fine{mark}") for i in range(len(rows))],
        "with separator": [(first, f"{mark}a,b{mark}"), (second, f"{mark}c,d{mark}")],
        "with line end": [(first, f"{mark}a\nb{mark}")],
        "with row": [(first, f"{mark}a\n9,9,9,9,b{mark}")],
    }[how]
    for i, note in pairs:
        noted[i][4] = note
    return may_read(folder, join(noted, NOTE), rows)


def quote_numbers(how, folder, rng):
    """Numbers in quotes, one by one or a whole line."""
    rows = make_rows(rng)
    if how == "all":
        text = join([[f'"{v}"' for v in row] for row in rows], [f'"{v}"' for v in HEADER])
        return must_read(folder, text, rows)
    if how == "whole lines":
        return may_read(folder, join([[f'"{",".join(row)}"'] for row in rows], ['"track_id,frame,x,y"']), rows)
    broken = [list(row) for row in rows]
    i = int(rng.integers(1, len(rows) - 3))
    broken[i][2] = f'"{broken[i][2]}'
    if how == "open and closed later":
        broken[i + 3][3] += '"'
    return may_read(folder, join(broken), rows)


def damage_bytes(how, seed, folder, rng):
    """Single bytes replaced, dropped or inserted; a number that is still a number is what the file then says."""
    rows = make_rows(rng, 5, 20)
    text = bytearray(join(add_notes(rows), NOTE).encode())
    start = text.index(b"\n") + 1
    at = int(rng.integers(start, len(text)))
    if how == "high byte":
        text[at : at + 1] = bytes([int(rng.integers(128, 256))])
    elif how == "NUL":
        text[at : at + 1] = b"\0"
    elif how == "quote":
        text[at : at + 1] = b'"'
    elif how == "separator":
        text[at:at] = b","
    elif how == "line end":
        text[at:at] = b"\n"
    elif how == "lost line end":
        at = text.index(b"\n", at - 1) if b"\n" in text[at - 1 :] else len(text) - 1
        del text[at]
    elif how == "carriage return":
        text[at:at] = b"\r"
    else:
        text[at:at] = b"\0" * 512
    return may_read(folder, bytes(text), parse_plainly(bytes(text)), n_rows=count_lines(bytes(text)))


def parse_plainly(text: bytes) -> list:
    """Rows of a damaged table, read field by field as a person would."""
    rows = []
    for line in text.decode("cp1252", "replace").split("\n")[1:]:
        fields = line.strip("\r").split(",")
        try:
            rows.append([int(float(fields[0])), int(float(fields[1])), float(fields[2]), float(fields[3])])
        except (ValueError, IndexError, OverflowError):
            continue
    return rows or [[0, 0, 0.0, 0.0]]


def count_lines(text: bytes) -> int:
    """Lines with something on them, without the header."""
    return sum(bool(line.strip()) for line in text.split(b"\n")) - 1


def truncate(where, folder, rng):
    """A file that ends in the middle of something."""
    rows = make_rows(rng)
    text = join(rows)
    if where == "no last line end":
        return must_read(folder, text[:-1], rows)
    if where == "last row without y":
        return must_refuse(folder, text[: text.rindex(",")], names=("tracks.csv",))
    if where == "last row without its last separator":
        return must_refuse(folder, text.rstrip().rsplit(",", 2)[0])
    if where == "inside the header":
        return must_refuse(folder, "track_id,fra")
    if where == "header only":
        return must_refuse(folder, "track_id,frame,x,y\n")
    if where == "one row":
        return may_read(folder, join(rows[:1]), rows[:1])
    return must_refuse(folder, {"empty": "", "blanks": "   ", "line ends": "\n\n\n", "one byte": "x"}[where])


def encode(encoding, folder, rng):
    """A table in another encoding, with letters of it in a column of text."""
    rows = make_rows(rng)
    note = "ascii" if encoding in ("ascii", "utf-7", "cp037") else "µm é" if encoding != "shift_jis" else "漢字"
    text = join(add_notes(rows, note), NOTE).encode(encoding)
    return (must_read if encoding in ENCODINGS else may_read)(folder, text, rows)


def separate(name, end, folder, rng):
    """Other separators and line ends."""
    separator = (SEPARATORS | UNUSUAL_SEPARATORS)[name]
    rows = make_rows(rng)
    usual = name in SEPARATORS and end in ENDS
    text = join(rows, sep=separator, end=(ENDS | UNUSUAL_ENDS)[end])
    return (must_read if usual else may_read)(folder, text, rows)


def write_decimals(name, places, folder, rng):
    """Decimal commas, with each separator."""
    rows = make_rows(rng, digits=places)
    comma = [[*row[:2], row[2].replace(".", ","), row[3].replace(".", ",")] for row in rows]
    if name == "semicolon":
        return (
            must_read(folder, join(comma, sep=";"), rows)
            if places != 3
            else may_read(folder, join(comma, sep=";"), rows)
        )
    if name == "tab":
        return may_read(folder, join(comma, sep="\t"), rows)
    if name == "quoted":
        return may_read(folder, join([[f'"{v}"' for v in row] for row in comma]), rows)
    return must_refuse(folder, join(comma))  # comma as separator too: two readings


def write_thousands(name, folder, rng):
    """Thousands separators: numbers that can be read in two ways must not be read in the wrong one."""
    rows = make_rows(rng, offset=15000.0, digits=2)
    parts = [[*row[:2], *(f"{float(v):,.2f}" for v in row[2:])] for row in rows]  # 15,000.12
    if name == "German":
        swapped = [[*r[:2], *(v.translate(str.maketrans(",.", ".,")) for v in r[2:])] for r in parts]
        return may_read(folder, join(swapped, sep=";"), rows)
    if name == "German whole":
        whole = [[*r[:2], *(f"{float(v):,.0f}".replace(",", ".") for v in r[2:])] for r in rows]  # 15.000
        return must_refuse(folder, join(whole, sep=";"))
    if name == "English":
        return may_read(folder, join(parts, sep=";"), rows)
    if name == "English quoted":
        return may_read(folder, join([[*r[:2], *(f'"{v}"' for v in r[2:])] for r in parts]), rows)
    mark = {"Swiss": "'", "space": " ", "narrow space": "\u202f", "underscore": "_"}[name]
    return may_read(folder, join([[*r[:2], *(v.replace(",", mark) for v in r[2:])] for r in parts], sep=";"), rows)


def change_header(name, folder, rng):
    """Headers that are missing, doubled, described or odd."""
    rows = make_rows(rng)
    body, wide = join(rows, None), 200_000
    usual = {
        "spaces around names": " track_id , frame , x , y \n" + body,
        "upper case": "TRACK_ID,FRAME,X,Y\n" + body,
        "quoted": '"track_id","frame","x","y"\n' + body,
        "index column": join([[str(i), *row] for i, row in enumerate(rows)], ("", *HEADER)),
    }
    if name in usual:
        return must_read(folder, usual[name], rows)
    odd = {
        "blank line above": "\n" + join(rows),
        "comment above": "# made by hand\n" + join(rows),
        "two comments above": "# made by hand\n# units: um\n" + join(rows),
        "title above": "Results of the experiment\n" + join(rows),
        "marked as comment": "#track_id,frame,x,y\n" + body,
        "row of units": "track_id,frame,x,y\n,,um,um\n" + body,
        "repeated below": join(rows) + "track_id,frame,x,y\n",
        "repeated in the middle": join(rows[:20]) + join(rows[20:]),
        "comment in the middle": join(rows[:20]) + "# bleached\n" + join(rows[20:], None),
        "comment at the end": join(rows) + "# end of file\n",
        "blank line in the middle": join(rows[:20]) + "\n" + join(rows[20:], None),
        "blank lines at the end": join(rows) + "\n\n\n",
        "empty names": join([[*row, "", ""] for row in rows], (*HEADER, "", "")),
        "sep= line of Excel": "sep=,\n" + join(rows),
        "trailing separators": join([[*row, ""] for row in rows]),
        "trailing separators also in header": join([[*row, ""] for row in rows], (*HEADER, "")),
        "many columns": join([[*row, *["1"] * 2000] for row in rows], (*HEADER, *(f"c{i}" for i in range(2000)))),
        "long name": join([[*row, "1"] for row in rows], (*HEADER, "n" * 1_000_000)),
        "long field": join([[*row, "v" * 100_000] for row in rows], NOTE),
        "names with line end": join([[*row, "1"] for row in rows], (*HEADER, '"a\nb"')),
    }
    if name in odd:
        header_row = {"row of units": 1, "repeated below": 1, "repeated in the middle": 1}
        extra = header_row.get(name, name.startswith("comment ") and name != "comment above")
        plan = may_read(folder, odd[name], rows, n_rows=None)
        plan.readings += [Reading(rows, len(rows) + int(extra))] if extra else []
        plan.readings += [Reading(rows, len(rows) + n) for n in (1, 3) if name.startswith("blank line")]
        if name == "row of units":
            plan.readings = [Reading(rows, len(rows) + n, "um", 1.0) for n in (0, 1)]
        if name == "two comments above":
            plan.readings += [Reading(rows, None, "um", 1.0)]
        return plan
    refused = {
        "missing": body,
        "numbers only": "0,1,2,3\n" + body,
        "of commas, 5 MB": "," * 5_000_000 + "\n" + body,
        "only commas": ",,,\n" + body,
        "one column": "track_id\n" + body,
        "names twice": join([[*row, *row] for row in rows], (*HEADER, *HEADER)),
        "5 MB without line end": "track_id,frame,x,y," + "abc," * 1_250_000,
        "wide": join([["1"] * wide], [f"c{i}" for i in range(wide)]),
    }
    if name == "names twice":
        return may_read(folder, refused[name], rows)
    return must_refuse(folder, refused[name])


def make_ragged(how, folder, rng):
    """Rows with more or fewer fields than the header."""
    rows = make_rows(rng, 5, 15)
    broken = [list(row) for row in rows]
    i = int(rng.integers(1, len(rows) - 1))
    if how == "one field more":
        broken[i].append("7")
        return may_read(folder, join(broken), rows)
    if how == "all one field more":
        return may_read(folder, join([[*row, "7"] for row in rows]), rows)
    if how == "all two fields more":
        return may_read(folder, join([["7", *row, "7"] for row in rows]), rows)
    if how == "index without name":
        return may_read(folder, join([[str(i), *row] for i, row in enumerate(rows)]), rows)
    if how == "separators only":
        broken[i] = ["", "", "", ""]
        rest = rows[:i] + rows[i + 1 :]
        plan = may_read(folder, join(broken), rest)
        plan.readings.append(Reading(rest, len(rows)))
        return plan
    broken[i] = broken[i][: {"y lost": 3, "x and y lost": 2, "id only": 1}[how]]
    return must_refuse(folder, join(broken))


def add_control(name, where, folder, rng):
    """Control characters in a number, in a name, at the start and at the end."""
    mark = CONTROL[name]
    rows = make_rows(rng)
    if where == "in a number":
        broken = [list(row) for row in rows]
        broken[7][2] = broken[7][2][:2] + mark + broken[7][2][2:]
        return must_refuse(folder, join(broken))
    if where == "before a number":
        broken = [list(row) for row in rows]
        broken[7][2] = mark + broken[7][2]
        return may_read(folder, join(broken), rows)
    if where == "in text":
        return may_read(folder, join(add_notes(rows, f"a{mark}b"), NOTE), rows)
    text = mark + join(rows) if where == "at the start" else join(rows) + mark
    plan = may_read(folder, text, rows)
    plan.readings.append(Reading(rows, len(rows) + 1))
    return plan


def space_numbers(how, folder, rng):
    """Spaces in and around numbers."""
    rows = make_rows(rng)
    if how == "inside":
        broken = [list(row) for row in rows]
        broken[3][2] = broken[3][2][:1] + " " + broken[3][2][1:]
        return must_refuse(folder, join(broken))
    change = {"before": " {}", "after": "{} ", "tabs": "\t{}\t", "aligned": "{:>14}"}[how]
    return must_read(folder, join([[change.format(v) for v in row] for row in rows]), rows)


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values, name=""):
        text = ", ".join((name or build.__name__.replace("_", " "), *map(str, values)))
        cases.append(Case(FAMILY, text, partial(build, *values), quick="MB" not in text and "wide" not in text))

    hows = ("one", "one inside", "two at starts", "two inside", "start and end", "three", "escaped", "doubled")
    for mark in ('"', "'"):
        for how in (*hows, "every row", "with separator", "with line end", "with row"):
            if not (mark == "'" and how.startswith("with ")):
                add(place_quotes, mark, how)
    for how in ("all", "whole lines", "open", "open and closed later"):
        add(quote_numbers, how)
    kinds = ("high byte", "NUL", "quote", "separator", "line end", "lost line end", "carriage return", "block of NUL")
    for how in kinds:
        for seed in range(8):
            add(damage_bytes, how, seed)
    ends = ("no last line end", "last row without y", "last row without its last separator", "inside the header")
    for where in (*ends, "header only", "one row", "empty", "blanks", "line ends", "one byte"):
        add(truncate, where)
    for encoding in (*ENCODINGS, *UNUSUAL_ENCODINGS):
        add(encode, encoding)
    for name in (*SEPARATORS, *UNUSUAL_SEPARATORS):
        for end in (*ENDS, *UNUSUAL_ENDS):
            add(separate, name, end)
    for name in ("semicolon", "tab", "quoted", "comma"):
        for places in (1, 3, 4):
            add(write_decimals, name, places)
    for name in ("German", "German whole", "English", "English quoted", "Swiss", "space", "narrow space", "underscore"):
        add(write_thousands, name)
    headers = """spaces around names;upper case;quoted;index column;blank line above;comment above;two comments above
        title above;marked as comment;row of units;repeated below;repeated in the middle;comment in the middle
        comment at the end;blank line in the middle;blank lines at the end;empty names;sep= line of Excel
        trailing separators;trailing separators also in header;many columns;long name;long field;names with line end
        missing;numbers only;of commas, 5 MB;only commas;one column;names twice;5 MB without line end;wide"""
    for name in headers.replace("\n", ";").split(";"):
        add(change_header, name.strip())
    for how in ("one field more", "all one field more", "all two fields more", "index without name", "separators only"):
        add(make_ragged, how)
    for how in ("y lost", "x and y lost", "id only"):
        add(make_ragged, how)
    for name in CONTROL:
        for where in ("in a number", "before a number", "in text", "at the start", "at the end"):
            add(add_control, name, where)
    for how in ("inside", "before", "after", "tabs", "aligned"):
        add(space_numbers, how)
    for suffix in ("txt", "tsv", "dat", "CSV", "", "csv.txt"):
        cases.append(Case(FAMILY, f"ending .{suffix}", partial(name_file, suffix)))
    return cases


def name_file(suffix, folder, rng) -> Plan:
    """A good table under another ending."""
    rows, name = make_rows(rng), f"tracks.{suffix}".rstrip(".")
    return Plan(infer(write(folder, join(rows), name)), (name,), [Reading(rows)])
