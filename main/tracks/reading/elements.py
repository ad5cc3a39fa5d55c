"""Reads an XML file element by element, in little memory, whatever the file holds."""

import math
from collections.abc import Iterator
from xml.etree.ElementTree import ParseError

import numpy as np
import pandas as pd
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from main.tracks.reading.kinds import describe_failure
from main.utils.errors import InputError

CHUNK_BYTES = 2**16  # read at a time
MAX_TOKEN_BYTES = 2**24  # of one tag with its attributes, of one comment, or of the text between two tags
MAX_DEPTH = 1000  # elements inside one another; the files of TrackMate and Icy have fewer than 10
CHUNK_ROWS = 100_000  # rows of text, about 50 MB, that become columns of numbers at a time


class _Events:
    """What the parser met in a chunk: ("start", tag, attributes) or ("end", tag, {})."""

    def __init__(self):
        self.met = []
        self.n_tokens = 0

    def start(self, tag, attributes):
        self.met.append(("start", tag, attributes))

    def end(self, tag):
        self.met.append(("end", tag, {}))

    def comment(self, text):
        self.n_tokens += 1

    def pi(self, target, text):
        self.n_tokens += 1


def iterate_elements(path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Give the elements of an XML file, as they start and end.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    event : {"start", "end"}
    tag : str
    attributes : dict of str -> str
        Of the element; empty at its end.

    Raises
    ------
    InputError
        If the file cannot be read, is no XML, has a document type declaration (its entities can make a small file
        endless), or is beyond MAX_TOKEN_BYTES or MAX_DEPTH.
    """
    events = _Events()
    parser = DefusedXMLParser(target=events, forbid_dtd=True)
    depth, waiting = 0, 0
    try:
        with open(path, "rb") as file:
            for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
                parser.feed(chunk)
                # The parser keeps an unfinished token and reads it again with every chunk, in time quadratic in it.
                waiting = 0 if events.met or events.n_tokens else waiting + len(chunk)
                if waiting > MAX_TOKEN_BYTES:
                    raise InputError(
                        f"{path}: has one attribute or text of more than {MAX_TOKEN_BYTES // 2**20} MiB, expected "
                        "tracks; export them again."
                    )
                met, events.met, events.n_tokens = events.met, [], 0
                for event in met:
                    depth += 1 if event[0] == "start" else -1
                    if depth > MAX_DEPTH:
                        raise InputError(
                            f"{path}: has {MAX_DEPTH} elements inside one another; export the tracks again."
                        )
                    yield event
        parser.close()
    except OSError as error:
        raise InputError(describe_failure(path, error)) from error
    except InputError:
        raise
    except DefusedXmlException as error:
        raise InputError(f"{path}: no readable XML (declares a document type), export the tracks again.") from error
    except (ParseError, MemoryError) as error:
        raise InputError(f"{path}: no readable XML ({error or 'too large'}), export the tracks again.") from error
    except (ValueError, LookupError, ArithmeticError) as error:
        raise InputError(f"{path}: its encoding cannot be read ({error}), save the XML as UTF-8.") from error


def check_children(elements, expected: dict[str, tuple[str, ...]], path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Give elements as `iterate_elements` does, and refuse one that stands where no reader would find it.

    Parameters
    ----------
    elements : iterator
        As `iterate_elements` gives them.
    expected : dict of str -> tuple of str
        Tag -> the only tags that an element in it may have.
    path : str or Path
        File, for the error.

    Raises
    ------
    InputError
        If an element has another tag.
    """
    above = [None]
    for event, tag, attributes in elements:
        if event == "start":
            if tag not in expected.get(above[-1], (tag,)):
                raise InputError(
                    f"{path}: an element '{above[-1]}' holds '{tag[:20]}', expected '{expected[above[-1]][0]}'; export "
                    "the tracks again."
                )
            above.append(tag)
        else:
            above.pop()
        yield event, tag, attributes


class RowBuffer:
    """Rows of text, collected one by one, which become columns of numbers in little memory.

    Parameters
    ----------
    names : sequence of str
        Columns.
    """

    def __init__(self, names):
        self.names, self.rows, self.tables = list(names), [], []

    def append(self, row) -> None:
        """Add a row: one text, or None for an unknown value, for each column."""
        self.rows.append(row)
        if len(self.rows) >= CHUNK_ROWS:
            self._convert_rows()

    def make_table(self) -> pd.DataFrame:
        """Return all rows, index 0..N-1; a column is text where a value is no number."""
        self._convert_rows()
        return pd.concat(self.tables, ignore_index=True)

    def _convert_rows(self):
        self.tables.append(pd.DataFrame(self.rows, columns=self.names).apply(_convert_text))
        self.rows = []


def _convert_text(column: pd.Series) -> pd.Series:
    try:
        numbers = pd.to_numeric(column)
        if pd.api.types.is_float_dtype(numbers):  # pandas rounds the last digit wrongly now and then
            return pd.Series([math.nan if text is None else float(text) for text in column], dtype=np.float64)
    except (ValueError, TypeError):
        return column
    return numbers
