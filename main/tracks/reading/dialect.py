"""The dialect of a text table: where its header stands, what separates its columns, and its decimal mark."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from main.tracks.reading.preamble import MAX_PREAMBLE_LINES, count_preamble_lines
from main.tracks.reading.scan import MAX_LINE_BYTES, find_encoding, iterate_blocks, iterate_lines, make_line_error
from main.utils.errors import InputError

SEPARATORS = (",", ";", "\t", "|")
N_SAMPLE_LINES = 1000  # in which the separator and the decimal mark are looked for first
MAX_COLUMNS = 10_000  # of a table; programs write up to some hundred
DECIMAL_MARKS = {"point": ".", "comma": ","}  # choices of --decimal
COMMENT = re.compile(rb"\s*[#%]+[ \t]*")
SEPARATOR_LINE = re.compile(rb'"?sep=(.)"?\s*$', re.IGNORECASE)  # Excel writes and reads it
HEADER_EXAMPLE = "track_id,frame,x,y"


@dataclass(frozen=True)
class Dialect:
    """Where the table of a text file begins, and how it is written.

    Parameters
    ----------
    encoding : str
        As the file declares it, see `main.tracks.reading.scan.find_encoding`.
    start, first_line : int
        Place of the header in bytes, and its line, counted from 1.
    separator : str
        One character; "" for runs of spaces and tabs.
    sample : bytes
        First lines below the header.
    is_whole : bool
        Whether the sample is the whole table.
    n_comments : int
        Number of lines above the header that begin with # or %.
    """

    encoding: str
    start: int
    first_line: int
    separator: str
    sample: bytes
    is_whole: bool
    n_comments: int


def find_dialect(path: Path, named=()) -> Dialect:
    """Find the header of a text table and the separator of its columns.

    Parameters
    ----------
    path : Path
    named : collection of str
        Column names that the user gave; a header that holds one may consist of numbers.

    Raises
    ------
    InputError
        If there is no header, or it is too long.
    """
    encoding, mark = find_encoding(path)
    head, is_whole = b"", True
    for block in iterate_blocks(path, encoding, mark):
        if len(head) > 2 * MAX_LINE_BYTES:
            is_whole = False
            break
        head += block
    lines = re.split(rb"(?<=\n)|(?<=\r)(?!\n)", head)
    lines = [line for line in (lines if is_whole else lines[:-1]) if line]
    if not is_whole and not lines:
        raise make_line_error(path, 1)
    at, given, n_comments = _find_header(lines)
    comment = at - 1 if at and COMMENT.match(lines[at - 1]) and n_comments else None
    for number, line in enumerate(lines[: at + 1], 1):
        if len(line) > MAX_LINE_BYTES:
            raise make_line_error(path, number)
    if at == len(lines):
        raise InputError(
            f"{path}: holds no table, expected a header such as {HEADER_EXAMPLE} and one line per point; export the "
            "tracks again."
        )
    cut, separator = 0, given or choose_separator(lines[at : at + N_SAMPLE_LINES])
    cells = split_line(lines[at], separator)
    if _is_numeric(cells) and not set(named) & set(cells):
        if comment is None or not _names_columns(COMMENT.sub(b"", lines[comment], count=1), separator, len(cells)):
            raise InputError(
                f"{path}: has no header (line {at + 1} holds numbers only), expected the names of the columns in the "
                f"first line; add a line such as {HEADER_EXAMPLE} above the numbers, in the order of the columns."
            )
        at, n_comments, cut = comment, n_comments - 1, COMMENT.match(lines[comment]).end()
    if len(cells) > MAX_COLUMNS:
        raise InputError(
            f"{path}: has {len(cells)} columns, expected at most {MAX_COLUMNS}; export only the columns of track, "
            "frame, x and y."
        )
    before = b"".join(lines[:at]) + lines[at][:cut]
    if encoding.startswith("utf-16"):
        before = before.decode().encode(encoding)
    sample = b"".join(lines[at + 1 : at + 1 + N_SAMPLE_LINES])
    is_whole = is_whole and len(lines) <= at + 1 + N_SAMPLE_LINES
    return Dialect(encoding, mark + len(before), at + 1, separator, sample, is_whole, n_comments)


def _find_header(lines: list[bytes]) -> tuple[int, str, int]:
    """Return the place of the first line of the table, the separator the file names, and the number of comments."""
    first = SEPARATOR_LINE.match(lines[0].rstrip(b"\r\n")) if lines else None
    given = first.group(1).decode("latin-1") if first else ""
    at = 1 if first else 0
    at += count_preamble_lines([line.decode("utf-8", "replace") for line in lines[at : at + MAX_PREAMBLE_LINES + 1]])
    n_comments = 0
    while at < len(lines) and (not lines[at].strip() or COMMENT.match(lines[at])):
        n_comments += bool(lines[at].strip())
        at += 1
    return at, given if given in SEPARATORS else "", n_comments


def _is_numeric(cells: list[str]) -> bool:
    filled = [cell.strip().strip('"').replace(",", ".") for cell in cells if cell.strip()]
    return bool(filled) and all(_is_number(cell) for cell in filled)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _names_columns(line: bytes, separator: str, n_columns: int) -> bool:
    """Return whether a comment holds as many names as the table has columns."""
    names = split_line(line, separator)
    return len(names) == n_columns and not any(_is_number(name) for name in names) and all(map(str.strip, names))


def split_line(line: bytes, separator: str) -> list[str]:
    """Split one line into its fields."""
    text = line.rstrip(b"\r\n").decode("utf-8", "replace")
    if not separator:
        return text.split()
    if '"' in text:
        try:
            return next(csv.reader([text], delimiter=separator))
        except (csv.Error, StopIteration):  # a field longer than Python's csv module reads
            pass
    return text.split(separator)


def choose_separator(lines: list[bytes]) -> str:
    """Choose the separator by which the most lines have as many fields as the first; "" for runs of spaces."""
    best, score = "", (0.0, 0)
    for separator in SEPARATORS:
        if separator.encode() not in lines[0]:
            continue
        width = len(split_line(lines[0], separator))
        below = [line for line in lines[1:51] if line.strip()]
        alike = sum(len(split_line(line, separator)) == width for line in below) / max(len(below), 1)
        if width > 1 and (alike, width) > score:
            best, score = separator, (alike, width)
    if not best and b'"' in b"".join(lines[:51]):
        return " " if b" " in lines[0] else ""
    return best


def find_decimal_mark(path: Path, dialect: Dialect, given: str | None = None) -> str:
    """Find the decimal mark of a text table: "." or ",".

    `15.674` is 15.674 or, with a thousands separator, 15674. A number that can be read in one way only settles it for
    the file: 0.674, 15.67, 1234.567, 1.5e-3, 1.234,5. First lines are searched first, then the whole file.

    Parameters
    ----------
    path : Path
    dialect : Dialect
    given : {"point", "comma"}, optional
        What the user says.

    Raises
    ------
    InputError
        If nothing settles it, or numbers contradict each other.
    """
    if given is not None:
        return DECIMAL_MARKS[given]
    quoted_only = dialect.separator == ","
    if quoted_only and b'"' not in dialect.sample:
        return "."
    proofs = {mark: _make_proof(mark, dialect.separator) for mark in (".", ",")}
    unsure = _make_unsure(dialect.separator)
    found = {mark for mark, proof in proofs.items() if proof.search(dialect.sample)}
    open_number = unsure.search(dialect.sample)
    edges = re.compile(f'["\r\n \t{dialect.separator}]'.encode())
    if not found and not dialect.is_whole and not quoted_only:
        for lines in iterate_lines(path, dialect.encoding, dialect.start, dialect.first_line):
            if b"." not in lines and b"," not in lines:
                continue
            numbers = {cell for cell in set(edges.split(lines)) if b"." in cell or b"," in cell}
            lines = b"\n".join(numbers)  # each once, because the patterns are slow
            open_number = open_number or unsure.search(lines)
            found = {mark for mark, proof in proofs.items() if proof.search(lines)}
            if found:
                break
    if quoted_only and (found >= {"."} or not (found or open_number)):
        return "."
    if len(found) == 1:
        return found.pop()
    if found:
        raise InputError(
            f"{path}: holds numbers with a decimal point and numbers with a decimal comma, expected one of them; give "
            "--decimal point or --decimal comma."
        )
    if not open_number:
        return "."
    number = open_number.group(1).decode()
    readings = " or ".join((re.sub("[.,]", ".", number), re.sub("[.,]", "", number)))
    raise InputError(
        f"{path}: {number} can be {readings}, and no other number of the file shows which; give --decimal point or "
        "--decimal comma."
    )


def _bound(pattern: str, separator: str) -> re.Pattern:
    """Compile a pattern for a whole field."""
    edge = '"' if separator == "," else f'"\r\n \t{separator}'
    return re.compile(rf"(?:(?<=[{edge}])|\A)({pattern})(?=[{edge}]|\Z)".encode())


def _make_proof(mark: str, separator: str) -> re.Pattern:
    """Compile a pattern of numbers in which `mark` can only be the decimal mark."""
    other = "," if mark == "." else "."
    m, o = re.escape(mark), re.escape(other)
    exponent = r"(?:[eE][+-]?\d+)"
    return _bound(
        rf"[+-]?(?:(?:0\d*|\d{{4,}})?{m}\d+{exponent}?|\d{{1,3}}{m}(?:\d{{0,2}}|\d{{4,}}){exponent}?"
        rf"|\d+{m}\d+{exponent}|\d{{1,3}}(?:{o}\d{{3}})+{m}\d+|\d{{1,3}}(?:{o}\d{{3}}){{2,}})",
        separator,
    )


def _make_unsure(separator: str) -> re.Pattern:
    """Compile a pattern of numbers whose mark can be the decimal mark or separate thousands."""
    return _bound(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", separator)
