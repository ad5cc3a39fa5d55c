"""The transition diagram of a report as inline SVG: states as discs, changes between them as arrows."""

import math

import pandas as pd

from main.tracks.figures import STATE_COLOURS
from main.tracks.report.html import Html, element, escape, number
from simulations.parameters import STATES

WIDTH, HEIGHT = 500, 390
PLACES = ((105, 310), (105, 90), (395, 90), (395, 310))  # of the states
LARGEST = 52  # radius of a state that takes all the time
SMALLEST = 5
WIDEST = 9.0
BOW = 0.16  # of an arrow's length, so that two that run against each other stay apart
LABEL_AT, LEVEL_AT = 0.36, 0.46  # of an arrow's way, of a level one's: labels then stay apart


def diagram(rates: pd.DataFrame, unit: str) -> Html:
    """Discs with areas by share of frames, arrows with widths by rate; empty without a change.

    Parameters
    ----------
    rates : pandas.DataFrame
        As of `main.tracks.kinetics.rates.kinetics`.
    unit : str
        Of the rates.
    """
    values = rates.set_index(["state", "quantity"])
    shares = [float(values.loc[(name, "occupancy_frames"), "value"]) for name in STATES]
    radii = [max(SMALLEST, LARGEST * math.sqrt(share)) if share > 0 else 0 for share in shares]
    changes = arrows_of(values)
    largest = max((change["rate"] for change in changes), default=1.0)
    drawn = [arrow(change, radii, largest) for change in changes]
    nodes = [node(i, radius, share) for i, (radius, share) in enumerate(zip(radii, shares, strict=True))]
    text = "; ".join(f"{STATES[c['from']]} to {STATES[c['to']]}: {number(c['rate'])} {unit}" for c in changes)
    return element(
        "svg",
        element("title", f"Transitions between the states. {text or 'No change was seen'}."),
        *(line for line, _ in drawn),
        *nodes,
        *(label for _, label in drawn),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="diagram",
    )


def arrows_of(values: pd.DataFrame) -> list[dict]:
    """Changes that were seen: from, to, rate, n."""
    found = []
    for i, start in enumerate(STATES):
        for j, end in enumerate(STATES):
            row = values.loc[(start, f"rate_to_{end}")] if i != j else None
            if row is not None and row["n"] > 0 and math.isfinite(row["value"]) and row["value"] > 0:
                found.append({"from": i, "to": j, "rate": float(row["value"]), "n": int(row["n"])})
    return found


def node(state: int, radius: float, share: float) -> Html:
    """A state: disc, name and share of the time, written outside."""
    x, y = PLACES[state]
    outwards = -1 if y < HEIGHT / 2 else 1
    at = y + outwards * (max(radius, SMALLEST) + (8 if outwards < 0 else 18))
    fill = {"fill": STATE_COLOURS[state]} if share > 0 else {"fill": "none", "stroke": STATE_COLOURS[state]}
    disc = element("circle", cx=x, cy=y, r=f"{max(radius, SMALLEST):.1f}", **fill)
    name = element("tspan", STATES[state], class_="name")
    return disc + element("text", name, Html(f" {100 * share:.3g} %"), x=x, y=f"{at:.1f}", text_anchor="middle")


def arrow(change: dict, radii: list[float], largest: float) -> tuple[Html, Html]:
    """A bowed arrow from disc to disc, and its label: rate and number of changes."""
    (x0, y0), (x1, y1) = PLACES[change["from"]], PLACES[change["to"]]
    length = math.hypot(x1 - x0, y1 - y0)
    across = (-(y1 - y0) / length, (x1 - x0) / length)  # to the right of the way
    middle = ((x0 + x1) / 2 + BOW * length * across[0], (y0 + y1) / 2 + BOW * length * across[1])
    width = 1 + (WIDEST - 1) * change["rate"] / largest
    head = 6 + 1.6 * width
    start = towards((x0, y0), middle, max(radii[change["from"]], SMALLEST) + 4)
    tip = towards((x1, y1), middle, max(radii[change["to"]], SMALLEST) + 4)
    base = towards(tip, middle, head)
    turn = math.degrees(math.atan2(tip[1] - base[1], tip[0] - base[0]))
    colour = STATE_COLOURS[change["from"]]
    path = element(
        "path",
        d=f"M{point(start)} Q{point(middle)} {point(base)}",
        fill="none",
        stroke=colour,
        stroke_width=f"{width:.1f}",
        stroke_opacity="0.75",
    )
    half = head / 2 + 1
    top = element(
        "path",
        d=f"M0,0 L{-head:.1f},{half:.1f} L{-head:.1f},{-half:.1f} Z",
        fill=colour,
        transform=f"translate({point(tip)}) rotate({turn:.1f})",
    )
    t = LEVEL_AT if y0 == y1 else LABEL_AT
    at = [(1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c for a, b, c in zip(start, middle, base, strict=True)]
    label = element(
        "text",
        escape(number(change["rate"])),
        element("tspan", f" n={change['n']}", class_="count"),
        x=f"{at[0]:.1f}",
        y=f"{at[1] + 4:.1f}",
        text_anchor="middle",
        class_="rate",
    )
    return path + top, label


def towards(start, end, distance: float) -> tuple[float, float]:
    """The point at a distance from `start` on the line to `end`."""
    length = math.hypot(end[0] - start[0], end[1] - start[1]) or 1.0
    return tuple(a + distance * (b - a) / length for a, b in zip(start, end, strict=True))


def point(xy) -> str:
    """Coordinates as SVG writes them."""
    return f"{xy[0]:.1f},{xy[1]:.1f}"
