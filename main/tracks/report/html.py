"""Pieces of HTML: everything that comes from files goes through `escape`, so that none of it is read as HTML."""

import html
import json
import math
import re


class Html(str):
    """Text that is HTML already; what is added to it is escaped unless it is, too."""

    def __add__(self, other):
        return Html(str(self) + str(escape(other)))


def escape(value) -> Html:
    """A value as HTML; what is `Html` stays."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def element(tag: str, *content, **attributes) -> Html:
    """An element; `class_` stands for class."""
    named = ((name.rstrip("_").replace("_", "-"), html.escape(str(value))) for name, value in attributes.items())
    listed = "".join(f' {name}="{value}"' for name, value in named)
    return Html(f"<{tag}{listed}>{''.join(map(escape, content))}</{tag}>")


def table(header: list, rows: list[list], caption: str = "") -> Html:
    """A table in a box of its own that scrolls sideways; the first column heads its row."""
    head = element("thead", element("tr", *(element("th", cell, scope="col") for cell in header))) if header else ""
    lines = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    )
    body = element("tbody", *lines)
    title = element("p", caption, class_="caption") if caption else Html()
    return title + element(
        "div", element("table", head, body), class_="scroll", tabindex="0", role="region", aria_label=caption or "table"
    )


def bullets(lines) -> Html:
    """A list; nothing for no lines."""
    lines = list(lines)
    return element("ul", *(element("li", line) for line in lines)) if lines else Html()


def number(value, digits: int = 3) -> str:
    """Three digits, as people write them; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
        return f"{value:,.{places}f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}×10^{int(exponent)}".replace("^-", "^−")


def percent(share: float) -> str:
    """A share in percent, whole from 10 % on."""
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def quantity(value, unit: str = "", digits: int = 3) -> Html:
    """A number with its unit, powers raised."""
    return raised(number(value, digits)) + (Html(" ") + unit_html(unit) if unit else "")


def raised(text: str) -> Html:
    """Powers of `number` (`10^−3`) raised, wherever they stand in a text."""
    return Html(re.sub(r"\^(−?\d+)", r"<sup>\1</sup>", escape(text)))


def unit_html(unit: str) -> Html:
    """A unit of the tables ("um^2/s^alpha") as HTML, which plotly's texts read too."""
    text = html.escape(unit).replace("um", "µm").replace("^alpha", "<sup>α</sup>")
    return Html(text.replace("^2", "²"))


def json_script(name: str, content) -> Html:
    """Data in a script element, which nothing in it can close."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{name}">{text}</script>')
