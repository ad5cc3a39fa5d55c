"""Pieces of HTML. Text from files is escaped by markupsafe, so that a browser never reads it as HTML."""

import json
import math
import re

import numpy as np
import pandas as pd
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def element(tag: str, *content, **attributes) -> Markup:
    """Make an element; everything that is not `Markup` is escaped.

    Parameters
    ----------
    tag : str
    *content : str or Markup
    **attributes
        `class_` stands for class, and an underscore for a hyphen.
    """
    named = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    listed = Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in named)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, listed, Markup("").join(content))


def make_table(header: list, rows: list[list], caption: str = "", grey=()) -> Markup:
    """Make a table that scrolls sideways if it is wider than the page.

    Parameters
    ----------
    header : list of str or Markup
        Empty for a table without one.
    rows : list of list
        The first cell of a row is its heading.
    caption : str or Markup
    grey : collection of int
        Numbers of the rows that are greyed out.
    """
    head = element("thead", element("tr", *(element("th", cell, scope="col") for cell in header))) if header else ""
    lines = (
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell) for cell in row[1:]),
            **({"class_": "grey"} if i in grey else {}),
        )
        for i, row in enumerate(rows)
    )
    body = element("tbody", *lines)
    title = element("p", caption, class_="caption") if caption else Markup()
    label = escape(caption).striptags() or "table"  # for screen readers
    content = element("table", head, body)
    return title + element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def make_list(lines) -> Markup:
    """Make a bulleted list; nothing if there are no lines."""
    lines = list(lines)
    return element("ul", *(element("li", line) for line in lines)) if lines else Markup()


def format_number(value, digits: int = 3) -> str:
    """Write a number with this many digits, like 12.3 or −1.23×10⁻⁷; "–" if it is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
        return f"{value:,.{places}f}".replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(SUPERSCRIPTS)}".replace("-", "−")


def format_percent(share: float) -> str:
    """Write a share in percent, without decimals from 10 % on; "–" if it is not known."""
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def format_quantity(value, unit: str = "", digits: int = 3) -> Markup:
    """Write a number with its unit."""
    return escape(format_number(value, digits)) + (Markup(" ") + format_unit(unit) if unit else "")


def format_unit(unit: str) -> Markup:
    """Write a unit of the tables ("um^2/s^alpha") as HTML, which plotly's texts read too."""
    return escape(unit).replace("um", "µm").replace("^alpha", Markup("<sup>α</sup>")).replace("^2", "²")


def format_estimate(row: pd.Series, form=format_number) -> Markup:
    """Write a value with its interval below it."""
    if not np.isfinite(row["value"]):
        return Markup("–")
    if row["n"] == 0:
        return Markup(form(row["value"]))
    if np.isnan(row["low"]):
        return Markup("{} <small>n = {:,}: no interval</small>").format(form(row["value"]), int(row["n"]))
    return Markup("{} <small>{}</small>").format(form(row["value"]), format_interval(row, form=form))


def format_rate(row: pd.Series) -> Markup:
    """Write a rate with its interval and the number of changes below it; "–" if none was seen."""
    if not np.isfinite(row["value"]) or row["n"] == 0:
        return Markup("–")
    if np.isnan(row["low"]):
        return format_estimate(row)
    value, ends = format_number(row["value"]), format_interval(row)
    return Markup("{} <small>{}, n = {:,}</small>").format(value, ends, int(row["n"]))


def format_interval(row: pd.Series, name: str = "", form=format_number) -> str:
    """Write the ends of an interval: "a to b", or "a or more" where there is no upper end."""
    low, high = (row[f"{name}_{end}" if name else end] for end in ("low", "high"))
    return f"{form(low)} to {form(high)}" if np.isfinite(high) else f"{form(low)} or more"


def format_sentence(text: str) -> Markup:
    """Write a sentence of run.json with its units as in the rest of the page: "um^2/s" becomes "µm²/s"."""
    return Markup(re.sub(r"\bum\b|\^alpha|\^2", lambda unit: format_unit(unit[0]), escape(text)))


def make_json_script(name: str, content) -> Markup:
    """Make a script element of data, which no text in the data can close.

    Raises
    ------
    ValueError
        If a number is not finite, which JSON cannot hold.
    """
    text = htmlsafe_json_dumps(content, dumps=json.dumps, allow_nan=False, separators=(",", ":"))
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, text)
