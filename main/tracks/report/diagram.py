"""Diagram of the transitions between states, as inline SVG: states are discs, changes between them are arrows."""

import math

import pandas as pd
from markupsafe import Markup

from main.tracks.kinetics.figures import MODEL_COLOURS
from main.tracks.report.html import element, format_number, format_percent

# All lengths are in SVG units, of which the drawing is 500 wide.
WIDTH, HEIGHTS = 500, {1: 190, 2: 200, 3: 390}  # by number of states
STATE_PLACES = ((105, 105), (395, 105), (250, 310))  # centres of the discs
MAX_RADIUS = 52  # of a state that takes all the time
MIN_RADIUS = 5
MAX_LINE_WIDTH = 9.0
BOW = 0.16  # share of an arrow's length by which it is bent, so that arrows in opposite directions stay apart
LABEL_ASIDE = 18  # from a level arrow to its label, which would lie along it
LABEL_PLACE, LEVEL_LABEL_PLACE = 0.36, 0.46  # shares of an arrow's length, of a level arrow's: labels stay apart


def draw_diagram(rates: pd.DataFrame, unit: str) -> Markup:
    """Draw states as discs and transitions as arrows.

    The area of a disc is proportional to the occupancy, the width of an arrow grows with the rate.

    Parameters
    ----------
    rates : pandas.DataFrame
        Of a `main.tracks.kinetics.likelihood.KineticsFit`, as returned by
        `main.tracks.kinetics.rates.tabulate_kinetics`.
    unit : str
        Of the rates.
    """
    values = rates.set_index(["state", "quantity"])
    states = list(dict.fromkeys(rates["state"]))
    shares = [float(values.loc[(name, "occupancy"), "value"]) for name in states]
    radii = [max(MIN_RADIUS, MAX_RADIUS * math.sqrt(share)) if share > 0 else 0 for share in shares]
    changes = find_changes(values, states)
    largest = max((change["rate"] for change in changes), default=1.0)
    arrows = [draw_arrow(change, radii, largest) for change in changes]
    discs = [draw_state(i, *state) for i, state in enumerate(zip(states, radii, shares, strict=True))]
    text = "; ".join(f"{states[c['from']]} to {states[c['to']]}: {format_number(c['rate'])} {unit}" for c in changes)
    return element(
        "svg",
        element("title", f"Transitions between the states. {text or 'No change is expected'}."),
        *(line for line, _ in arrows),
        *discs,
        *(label for _, label in arrows),
        viewBox=f"0 0 {WIDTH} {HEIGHTS[len(states)]}",
        role="img",
        class_="diagram",
    )


def find_changes(values: pd.DataFrame, states: list[str]) -> list[dict]:
    """Find the changes that are expected: numbers of the states (from, to), rate, n (number of changes)."""
    found = []
    for i, start in enumerate(states):
        for j, end in enumerate(states):
            row = values.loc[(start, f"rate_to_{end}")] if i != j else None
            if row is not None and row["n"] > 0 and math.isfinite(row["value"]) and row["value"] > 0:
                found.append({"from": i, "to": j, "rate": float(row["value"]), "n": int(row["n"])})
    return found


def draw_state(state: int, name: str, radius: float, share: float) -> Markup:
    """Draw the disc of a state, and write its name and its occupancy outside of it."""
    x, y = STATE_PLACES[state]
    outwards = -1 if state < 2 else 1
    text_y = y + outwards * (max(radius, MIN_RADIUS) + (8 if outwards < 0 else 18))
    fill = {"fill": MODEL_COLOURS[state]} if share > 0 else {"fill": "none", "stroke": MODEL_COLOURS[state]}
    disc = element("circle", cx=x, cy=y, r=f"{max(radius, MIN_RADIUS):.1f}", **fill)
    title = element("tspan", name, class_="name")
    return disc + element("text", title, f" {format_percent(share)}", x=x, y=f"{text_y:.1f}", text_anchor="middle")


def draw_arrow(change: dict, radii: list[float], largest: float) -> tuple[Markup, Markup]:
    """Draw a bent arrow from disc to disc, and its label: rate and number of changes."""
    (x0, y0), (x1, y1) = STATE_PLACES[change["from"]], STATE_PLACES[change["to"]]
    length = math.hypot(x1 - x0, y1 - y0)
    across = (-(y1 - y0) / length, (x1 - x0) / length)  # unit vector to the right of the arrow
    middle = ((x0 + x1) / 2 + BOW * length * across[0], (y0 + y1) / 2 + BOW * length * across[1])
    width = 1 + (MAX_LINE_WIDTH - 1) * change["rate"] / largest
    head = 6 + 1.6 * width
    start = move_towards((x0, y0), middle, max(radii[change["from"]], MIN_RADIUS) + 4)
    tip = move_towards((x1, y1), middle, max(radii[change["to"]], MIN_RADIUS) + 4)
    base = move_towards(tip, middle, head)
    turn = math.degrees(math.atan2(tip[1] - base[1], tip[0] - base[0]))
    colour = MODEL_COLOURS[change["from"]]
    path = element(
        "path",
        d=f"M{format_point(start)} Q{format_point(middle)} {format_point(base)}",
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
        transform=f"translate({format_point(tip)}) rotate({turn:.1f})",
    )
    t = LEVEL_LABEL_PLACE if y0 == y1 else LABEL_PLACE
    aside = LABEL_ASIDE if y0 == y1 else 0.0
    at = [
        (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c + aside * d
        for a, b, c, d in zip(start, middle, base, across, strict=True)
    ]
    label = element(
        "text",
        format_number(change["rate"]),
        element("tspan", f"n={change['n']}", class_="count", dx="7"),
        x=f"{at[0]:.1f}",
        y=f"{at[1] + 4:.1f}",
        text_anchor="middle",
        class_="rate",
    )
    return path + top, label


def move_towards(start, end, distance: float) -> tuple[float, float]:
    """Find the point at a distance from `start` on the line to `end`."""
    length = math.hypot(end[0] - start[0], end[1] - start[1]) or 1.0
    return tuple(a + distance * (b - a) / length for a, b in zip(start, end, strict=True))


def format_point(xy) -> str:
    """Write coordinates as SVG needs them."""
    return f"{xy[0]:.1f},{xy[1]:.1f}"
