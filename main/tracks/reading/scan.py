"""One pass over the bytes of a text table, before it is parsed: encoding, lines, fields of every line, quotes."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from main.utils.errors import InputError

BLOCK_BYTES = 2**20  # read at a time; the memory of the pass
MAX_LINE_BYTES = 2**20  # 10,000 columns of 100 characters
SEPARATOR, LINE_FEED, CARRIAGE_RETURN, QUOTE = 1, 2, 3, 4  # classes of bytes; 0 is any other
SPACES = np.isin(np.arange(256), list(b" \t\r\n\v\f"))
UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}  # byte order mark -> encoding


@dataclass
class Widths:
    """How the numbers of fields of all rows compare with the header's, for one meaning of quotation marks.

    Parameters
    ----------
    header : int
        Number of fields of the header.
    n_short, n_long : int
        Number of rows with fewer and with more fields.
    first_short, first_long : int
        Their first lines, counted from 1 in the file.
    shortest, longest : int
        Fewest and most fields of a row.
    n_open : int
        Number of long rows that only end with a separator too many.
    last_is_short : bool
        Whether the last row is short.
    """

    header: int = 0
    n_short: int = 0
    n_long: int = 0
    first_short: int = 0
    first_long: int = 0
    shortest: int = 0
    longest: int = 0
    n_open: int = 0
    last_is_short: bool = False

    def add(self, widths: np.ndarray, lines: np.ndarray, is_open: np.ndarray) -> None:
        """Count more rows: their numbers of fields, their lines in the file, whether they end with a separator."""
        if not self.header:
            self.header = self.shortest = self.longest = int(widths[0])
            widths, lines, is_open = widths[1:], lines[1:], is_open[1:]
        if not len(widths):
            return
        low, high = int(widths.min()), int(widths.max())
        self.shortest, self.longest = min(self.shortest, low), max(self.longest, high)
        self.last_is_short = bool(widths[-1] < self.header)
        if low < self.header:
            short = widths < self.header
            self.first_short = self.first_short or int(lines[np.argmax(short)])
            self.n_short += int(short.sum())
        if high > self.header:
            long = widths > self.header
            self.first_long = self.first_long or int(lines[np.argmax(long)])
            self.n_long += int(long.sum())
            self.n_open += int((is_open & (widths == self.header + 1)).sum())

    @property
    def agree(self) -> bool:
        """Whether every row has as many fields as the header, up to a separator at its end."""
        return not self.n_short and self.n_long == self.n_open


@dataclass
class Scan:
    """What one pass over a text table found.

    Parameters
    ----------
    encoding : str
    n_rows : int
        Number of lines below the header that are not blank.
    n_blank : int
        Number of blank lines between rows.
    ends_with_newline : bool
    quoted, plain : Widths
        Numbers of fields where quotation marks enclose fields, and where they are ordinary characters.
    first_stray_quote, first_open_quote : int
        First line with quotation marks that do not enclose whole fields, and with a field that begins with
        one and may end in a later line; 0 if there is none.
    left_open : int
        First line with a field that begins with a mark and does not end in this line.
    """

    encoding: str
    n_rows: int = -1  # the header is counted first
    n_blank: int = 0
    ends_with_newline: bool = True
    quoted: Widths = field(default_factory=Widths)
    plain: Widths = field(default_factory=Widths)
    first_stray_quote: int = 0
    first_open_quote: int = 0
    left_open: int = 0


def find_encoding(path: Path) -> tuple[str, int]:
    """Return the encoding that the first bytes declare, else "utf-8", and the length of their mark in bytes."""
    with open(path, "rb") as file:
        mark = file.read(3)
    if mark == codecs.BOM_UTF8:
        return "utf-8", 3
    return (UTF_16[mark[:2]], 2) if mark[:2] in UTF_16 else ("utf-8", 0)


def iterate_blocks(path: Path, encoding: str, start: int) -> Iterator[bytes]:
    """Yield the bytes of a file from place `start`, in blocks; UTF-16 is converted to UTF-8.

    Raises
    ------
    InputError
        If the file is damaged UTF-16.
    """
    decoder = codecs.getincrementaldecoder(encoding)() if encoding.startswith("utf-16") else None
    with open(path, "rb") as file:
        file.seek(start)
        while block := file.read(BLOCK_BYTES):
            try:
                yield decoder.decode(block).encode() if decoder else block
            except UnicodeError as error:
                raise InputError(f"{path}: is damaged UTF-16 text; save it again as UTF-8.") from error


def iterate_lines(path: Path, encoding: str, start: int, first_line: int) -> Iterator[bytes]:
    """Yield whole lines of a file, many at a time; the last block of a file may lack its line end.

    Raises
    ------
    InputError
        If a line is longer than MAX_LINE_BYTES; names it.
    """
    rest, line = b"", first_line
    for block in iterate_blocks(path, encoding, start):
        block = rest + block
        end = block.rfind(b"\n") + 1 or block.rfind(b"\r", 0, len(block) - 1) + 1
        whole, rest = block[:end], block[end:]
        if whole:
            line += max(whole.count(b"\n"), whole.count(b"\r"))
            yield whole
        if len(rest) > MAX_LINE_BYTES:
            raise make_line_error(path, line)
    if rest:
        yield rest


def make_line_error(path: Path, line: int) -> InputError:
    """Make the error for a line that is too long."""
    return InputError(
        f"{path}: line {line} is longer than {MAX_LINE_BYTES} bytes, so this is no table of points; export the tracks "
        "with one line per point."
    )


def scan_text(path: Path, encoding: str, start: int, first_line: int, separator: str) -> Scan:
    """Count the rows of a text table and the fields of each row; time is linear, memory flat.

    Parameters
    ----------
    path : Path
    encoding : str
        As returned by `find_encoding`.
    start, first_line : int
        Place of the header in bytes, and its line, counted from 1.
    separator : str
        One character; "" for runs of spaces and tabs.

    Returns
    -------
    Scan
        Its encoding is cp1252, in which TrackMate writes "µm" on Windows, if the file is no UTF-8.

    Raises
    ------
    InputError
        If a line is too long, or the file is no text.
    """
    classes = np.zeros(256, np.uint8)
    classes[[10, 13, 34]] = LINE_FEED, CARRIAGE_RETURN, QUOTE
    if separator:
        classes[ord(separator)] = SEPARATOR
    scan, line, blank = Scan(encoding), first_line, 0
    possible = ["utf-8"] if encoding.startswith("utf-16") else ["utf-8", "cp1252"]
    for lines in iterate_lines(path, encoding, start, first_line):
        if not lines.isascii():
            possible = [name for name in possible if _can_decode(lines, name)]
        if b"\0" in lines or not possible:
            raise InputError(
                f"{path}: is no text file (line {line} holds bytes that are no text, or the following ones), expected "
                "CSV, Parquet (.parquet, .pq) or TrackMate XML (.xml); export the tracks again."
            )
        scan.ends_with_newline = lines.endswith((b"\n", b"\r"))
        n_lines, blank = _scan_lines(lines + b"\n" * (not scan.ends_with_newline), classes, scan, line, blank)
        line += n_lines
    scan.encoding = encoding if encoding.startswith("utf-16") else possible[0]
    return scan


def _can_decode(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _scan_lines(data: bytes, classes: np.ndarray, scan: Scan, line: int, blank: int) -> tuple[int, int]:
    """Add whole lines to the scan; return their number, and the number of blank lines at the end so far."""
    text = np.frombuffer(data, np.uint8)
    kinds = classes[text]
    places = np.flatnonzero(kinds)
    kinds = kinds[places]
    if b"\r" in data:  # \r\n ends one line
        other = (kinds != CARRIAGE_RETURN) | (text[np.minimum(places + 1, len(text) - 1)] != 10)
        places, kinds = places[other], kinds[other]
    ends = np.flatnonzero((kinds == LINE_FEED) | (kinds == CARRIAGE_RETURN))
    starts = np.append(0, places[ends[:-1]] + 1)
    if classes.max(initial=0, where=classes == SEPARATOR):
        n_tokens = np.diff(ends, prepend=-1)
        marks = kinds == QUOTE if b'"' in data else None
        plain = n_tokens if marks is None else n_tokens - np.add.reduceat(marks.astype(np.int64), ends - n_tokens + 1)
    else:
        space, marks = SPACES[text], None
        plain = np.add.reduceat((~space & np.append(True, space[:-1])).astype(np.int64), starts)
    filled = np.ones(len(ends), bool)
    if (plain <= 1).any():
        filled = np.add.reduceat((~SPACES[text]).astype(np.int64), starts) > 0
    numbers = line + np.arange(len(ends))
    last = places[ends] - 1
    last = last - ((text[last] == 13) & (last > 0))
    is_open = classes[text[last]] == SEPARATOR
    quoted = plain if marks is None else _count_quoted(text, places, kinds, ends, numbers, plain, scan)
    if not filled.all():
        where = np.flatnonzero(filled)
        n_trailing = len(filled) - (where[-1] + 1 if len(where) else 0)
        scan.n_blank += (blank + len(filled) - len(where) - n_trailing) if len(where) else 0
        blank = n_trailing + (0 if len(where) else blank)
    else:
        scan.n_blank, blank = scan.n_blank + blank, 0
    if filled.any():
        scan.plain.add(plain[filled], numbers[filled], is_open[filled])
        scan.quoted.add(quoted[filled], numbers[filled], is_open[filled])
    scan.n_rows += int(filled.sum())
    return len(ends), blank


def _count_quoted(text, places, kinds, ends, numbers, plain, scan: Scan) -> np.ndarray:
    """Count the fields of lines where quotation marks enclose fields, and look for marks that do not."""
    line = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    marks = kinds == QUOTE
    so_far = np.cumsum(marks)
    so_far -= np.append(0, so_far[ends[:-1]])[line]  # marks of the line up to here
    at, rank, of_line = places[marks], so_far[marks], line[marks]
    boundary = np.isin(text, (10, 13, 34)) if not (kinds == SEPARATOR).any() else None
    separator = text[places[kinds == SEPARATOR][0]] if boundary is None else None
    near = (np.append(text[0], text)[at], np.append(text, text[-1])[at + 1])  # bytes before and behind each mark
    outer = [np.isin(byte, [10, 13, 34] if separator is None else [10, 13, 34, separator]) for byte in near]
    outer[0] |= at == 0
    opens = rank % 2 == 1
    stray = np.where(opens, ~outer[0], ~outer[1])
    n_marks = np.bincount(of_line, minlength=len(ends))
    bad = (np.bincount(of_line, weights=stray, minlength=len(ends)) > 0) | (n_marks % 2 == 1)
    if bad.any():
        scan.first_stray_quote = scan.first_stray_quote or int(numbers[np.argmax(bad)])
    single = n_marks[of_line] % 2 == 1
    begins = numbers[of_line[single & outer[0] & (rank == n_marks[of_line])]]  # lines that leave a field open
    ends_here = numbers[of_line[single & outer[1] & (rank == 1)]]  # lines that may close it
    if len(begins) and not scan.left_open:
        scan.left_open = int(begins[0])
    if scan.left_open and (ends_here > scan.left_open).any():
        scan.first_open_quote = scan.left_open
    inside = np.bincount(line[(kinds == SEPARATOR) & (so_far % 2 == 1)], minlength=len(ends))
    return plain - inside
