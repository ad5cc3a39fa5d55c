"""Which kind of file a path is, by its first bytes, before it is read; one sentence for what is no track file."""

import errno
import os
import re
import stat
from pathlib import Path

from main.tracks.reading.scan import UTF_16
from main.utils.errors import InputError

HEAD_BYTES = 2**12  # enough for every signature below, and for the first names in an archive
TAIL_BYTES = 2**16  # of a .zip, whose list of files stands at its end
UNPACK = "unpack it and give the file inside"
SAVE = "save the table of tracks as CSV"

# Bytes at the start of a file -> what it is, and what to do. Source: https://www.garykessler.net/library/file_sigs.html
# and the specifications of the formats.
SIGNATURES = (
    (b"PARE", "a Parquet file with an encrypted footer", "save it without encryption"),
    (b"\x1f\x8b", "packed with gzip", UNPACK),
    (b"\x1f\x9d", "packed with compress", UNPACK),
    (b"\xfd7zXZ\x00", "packed with xz", UNPACK),
    (b"BZh", "packed with bzip2", UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", UNPACK),
    (b"\x04\x22\x4d\x18", "packed with lz4", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (.xls) or another Office file", SAVE),
    (b"MATLAB 7.3 MAT-file", "a MATLAB file of version 7.3", "in MATLAB, save its tracks with save(name, '-v7')"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", SAVE),
    (b"\x93NUMPY", "a NumPy array", SAVE),
    (b"ARROW1", "an Arrow or Feather file", "save the table of tracks as Parquet or CSV"),
    (b"FEA1", "a Feather file", "save the table of tracks as Parquet or CSV"),
    (b"\xff\xff\xff\xff", "an Arrow stream or another binary file", "save the table of tracks as Parquet or CSV"),
    (b"SQLite format 3\x00", "a SQLite database", SAVE),
    (b"\x89PNG", "an image (PNG)", "give the tracks that were found in it"),
    (b"\xff\xd8\xff", "an image (JPEG)", "give the tracks that were found in it"),
    (b"GIF8", "an image (GIF)", "give the tracks that were found in it"),
    (b"II*\x00", "an image (TIFF)", "give the tracks that were found in it"),
    (b"II+\x00", "an image (TIFF)", "give the tracks that were found in it"),
    (b"MM\x00*", "an image (TIFF)", "give the tracks that were found in it"),
    (b"MM\x00+", "an image (TIFF)", "give the tracks that were found in it"),
    (b"ZISRAWFILE", "an image (CZI)", "give the tracks that were found in it"),
    (b"\xda\xce\xbe\x0a", "an image (ND2)", "give the tracks that were found in it"),
    (b"\x70\x00\x00\x00", "an image (LIF)", "give the tracks that were found in it"),
    (b"%PDF-", "a PDF file", SAVE),
    (b"{\\rtf", "a Word file (RTF)", SAVE),
    (b"\x7fELF", "a program", "give a track file"),
    (b"version https://git-lfs", "only the pointer of a file that git-lfs stores", "fetch the file with git lfs pull"),
)
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # no text has them, so `PARENT,x,y` is no encrypted Parquet
PICKLE = re.compile(rb"\x80[\x02-\x05]")  # a pickle can run code, so none is ever opened
HTML = re.compile(rb"<(!doctype\s+html|html\b)", re.IGNORECASE)
JSON = re.compile(rb'\{\s*("|\}|$)|\[\s*[\[{]')
XML = re.compile(rb"<(\?xml|!--|!DOCTYPE|[A-Za-z_][\w.:-]*[\s/>])", re.IGNORECASE)
PROGRAMS = (  # start of a file that is no table -> kind
    (re.compile(rb"MATLAB 5\.0 MAT-file"), "matlab"),
    (re.compile(rb"MTrackJ [\d.]+ Data File"), "mdf"),
    (re.compile(rb"% Configuration:|%% Trajector(y \d|ies:)"), "mosaic-report"),
)
ICY = re.compile(rb"<(trackfile|trackgroup)\b")
FORMAT_OF_KIND = {  # kinds that are no table -> their only format
    "xml": "trackmate-xml",
    "icy": "icy",
    "mdf": "mtrackj-mdf",
    "mosaic-report": "mosaic-report",
    "matlab": "u-track",
}
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff", b"\xff\xfe", b"\xfe\xff")
EBCDIC_XML = b"\x4c\x6f\xa7\x94"  # "<?xm" in the encoding of IBM mainframes


def find_kind(path: Path) -> str:
    """Return the kind of a track file, as its content shows it: "text", "parquet" or a key of FORMAT_OF_KIND.

    Raises
    ------
    InputError
        If there is no such file, it is empty or cannot be opened, or it is known to be something else, such as an
        archive; the sentence says what it is and what to do.
    """
    path = Path(path)
    status = find_status(path)
    if stat.S_ISDIR(status.st_mode):
        raise InputError(
            f"{path}: is a folder, expected a track file; for all its files give a pattern such as {path}/*.csv."
        )
    if not stat.S_ISREG(status.st_mode):  # opening a pipe waits until somebody writes to it
        raise InputError(f"{path}: is a pipe, a socket or a device, expected a track file; save the tracks to a file.")
    if status.st_size == 0:
        raise InputError(f"{path}: the file is empty, expected a track file; export the tracks again.")
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(max(0, status.st_size - TAIL_BYTES))
            ends = head + (file.read(TAIL_BYTES) if head.startswith(b"PK") else b"")
    except OSError as error:
        raise InputError(describe_failure(path, error)) from error
    if head.startswith(b"PAR1") and CONTROL.search(head):
        return "parquet"
    if is_xml(head):
        return "icy" if ICY.search(shorten_characters(head)) else "xml"
    program = next((kind for start, kind in PROGRAMS if start.match(shorten_characters(head))), None)
    if program:
        return program
    found = name_other_kind(head, ends)
    if found:
        what, way_out = found
        raise InputError(f"{path}: is {what}, expected CSV, Parquet or XML; {way_out}.")
    if b"\0" in head and not head.startswith(tuple(UTF_16)):
        raise InputError(f"{path}: is no text file, expected CSV, Parquet or XML; export the tracks again.")
    return "text"


def check_kind(path: Path, kind: str, format: str, columns: dict[str, str] | None) -> None:
    """Raise InputError if --format or --columns are given and cannot hold for a file of this kind.

    Parameters
    ----------
    path : Path
    kind : str
        As returned by `find_kind`.
    format : str
        Key of `main.tracks.reading.formats.FORMATS`, or "auto".
    columns : dict or None
    """
    own = FORMAT_OF_KIND.get(kind)
    if own is None and format in FORMAT_OF_KIND.values():
        raise InputError(f"{path}: is a table and no file of {format}, but --format is {format}; leave --format out.")
    if own and format not in ("auto", own):
        raise InputError(f"{path}: is a file of {own}, but --format is {format}; leave --format out.")
    if own and columns:
        raise InputError(f"{path}: is a file of {own} and has no columns, leave --columns out for this file.")


def find_status(path: Path) -> os.stat_result:
    """Return the status of a file, links followed, or raise InputError, which says why there is none."""
    try:
        return os.stat(path)
    except (OSError, ValueError) as error:
        raise InputError(describe_failure(path, error)) from error


def describe_failure(path, error: OSError | ValueError) -> str:
    """Return the sentence for a file that cannot be opened or read."""
    if isinstance(error, ValueError):
        return f"{path}: the name has a character that no file name can have, correct the path."
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.islink(path):
            return f"{path}: is a link to a file that does not exist, correct the link or give the file itself."
        return f"{path}: no such file, correct the path."
    if error.errno == errno.ELOOP:
        return f"{path}: is a link that leads back to itself, give the file itself."
    if error.errno == errno.ENAMETOOLONG:
        return f"{path}: the name is too long for a file, correct the path."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path}: may not be read by you, ask for the permission or copy the file."
    return f"{path}: cannot be read ({error.strerror or error}), copy the file to another disk and try again."


def is_xml(head: bytes) -> bool:
    """Return whether a file that starts with these bytes is XML, in any encoding, and no web page."""
    if head.startswith(EBCDIC_XML):
        return True
    text = shorten_characters(head).lstrip()
    return bool(XML.match(text)) and not HTML.match(text)


def shorten_characters(head: bytes) -> bytes:
    """Return the bytes without a byte order mark and, for UTF-16 and UTF-32, one byte for each ASCII character."""
    mark = next((mark for mark in BYTE_ORDER_MARKS if head.startswith(mark)), b"")
    wide = mark not in (b"", BYTE_ORDER_MARKS[0]) or b"\x00" in head[:4] and b"<" in head[:4]
    return head[len(mark) :].replace(b"\x00", b"") if wide else head[len(mark) :]


def name_other_kind(head: bytes, ends: bytes) -> tuple[str, str] | None:
    """Return what a file is that starts with `head`, and what to do; None if that is not known.

    Parameters
    ----------
    head : bytes
    ends : bytes
        First and last bytes of the file.
    """
    for signature, what, way_out in SIGNATURES:
        if head.startswith(signature) and (CONTROL.search(head) or len(signature) > 4):
            return what, way_out
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return name_zip(ends)
    if head[257:262] == b"ustar":
        return "a tar archive", UNPACK
    if PICKLE.match(head):
        return "a Python pickle, which is never opened because it can run code", SAVE
    if head[:4] == b"RIFF" or head[4:8] == b"ftyp":
        return "a film", "give the tracks that were found in it"
    text = shorten_characters(head).lstrip()
    if HTML.match(text):
        return "a web page (HTML)", "download the file itself"
    if JSON.match(text):
        return "JSON", SAVE
    return None


def name_zip(ends: bytes) -> tuple[str, str]:
    """Return what a .zip file is, by the names in its first and last bytes, and what to do."""
    if b"xl/workbook" in ends or b"xl/worksheets" in ends:
        return "an Excel workbook (.xlsx)", SAVE
    if b"opendocument.spreadsheet" in ends:
        return "a spreadsheet (.ods)", SAVE
    if b"word/document" in ends:
        return "a Word file (.docx)", SAVE
    if b".npy" in ends:
        return "a file of NumPy arrays (.npz)", SAVE
    return "a zip archive", UNPACK
