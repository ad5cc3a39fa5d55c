"""Counts the lines that programs write above the header of a table."""

import re

RULE = re.compile(r"\s*={4,}[\s,;]*$")  # line of "=" between title and header
FIRST_COLUMN = re.compile(r'\s*"?Position X"?\s*[,;\t]', re.IGNORECASE)
MAX_PREAMBLE_LINES = 10  # Imaris writes three


def count_preamble_lines(first_lines: list[str]) -> int:
    """Count the lines above the header that a known program writes; 0 if the first line is the header.

    Imaris writes an empty line, the name of the statistic and a line of "=" above the header of its CSV files; the
    lines above may end with empty cells. Source: https://github.com/GarciaLab/mRNADynamics
    (src/export/ZeissConfocalLSM/readimariscsv.m, which reads the names of columns below three such lines).

    Parameters
    ----------
    first_lines : list of str
        First lines of the file, eleven are enough.
    """
    for place, line in enumerate(first_lines[: MAX_PREAMBLE_LINES + 1]):
        if FIRST_COLUMN.match(line):
            return place
        if RULE.match(line):
            return place + 1 if place + 1 < len(first_lines) else 0
        if len([cell for cell in re.split(r"[,;\t]", line) if cell.strip()]) > 1:
            return 0
    return 0
