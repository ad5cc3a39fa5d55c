"""Cases of columns: units in names, several candidates, formats that can be mistaken, --columns, time for frames."""

from __future__ import annotations

import re
from functools import partial

from attack_cases import Case, Plan, Reading, infer, join, make_rows, may_read, must_read, must_refuse, write

FAMILY = "columns"
UNITS = {
    "um": ("um", 1.0),
    "µm": ("um", 1.0),
    "μm": ("um", 1.0),
    "micron": ("um", 1.0),
    "microns": ("um", 1.0),
    "nm": ("nm", 1e-3),
    "mm": ("mm", 1e3),
    "cm": ("cm", 1e4),
    "m": ("m", 1e6),
    "inch": ("inch", 25400.0),
    "angstrom": ("angstrom", 1e-4),
    "px": ("px", None),
    "pixel": ("px", None),
    "pixels": ("px", None),
}
OTHER_UNITS = ("pm", "A", "a.u.", "furlong", "deg")
STYLES = ("x_{}", "x [{}]", "x ({})", "X ({})", "x({})", "x[{}]", "pos_x_{}", "position_x [{}]", "x  {}")
SECONDS = {"s": 1.0, "ms": 1e-3, "sec": 1.0, "seconds": 1.0, "min": 60.0, "us": 1e-6}
TIME_NAMES = ("t", "time", "time_s", "t_s", "t [s]", "time (s)", "Time", "timestamp", "time_ms", "t [ms]", "t_min")


def of_y(name: str) -> str:
    """The name of y that belongs to a name of x."""
    return re.sub("(?<![A-Za-z])[xX]", lambda x: {"x": "y", "X": "Y"}[x[0]], name, count=1)


def name_unit(style, unit, folder, rng):
    """A unit in the names of x and y counts, wherever it stands."""
    rows, x = make_rows(rng), style.format(unit)
    text = join(rows, ("track_id", "frame", x, of_y(x)))
    position, scale = UNITS.get(unit, ("?", None))
    if unit in UNITS:
        return must_read(folder, text, rows, position=position, um_per_unit=scale)
    return must_refuse(folder, text)


def give_unit(unit, folder, rng):
    """Columns that are given by --columns keep the unit of their names."""
    rows = make_rows(rng)
    text = join(rows, ("a", "b", f"p_{unit}", f"q_{unit}"))
    options = ("--columns", f"track=a,frame=b,x=p_{unit},y=q_{unit}")
    position, scale = UNITS.get(unit, ("?", None))
    if unit in UNITS:
        return must_read(folder, text, rows, options=options, position=position, um_per_unit=scale)
    return may_read(folder, text, rows, options=options, names=("--columns",))  # it may be part of a name


def mix_units(first, second, folder, rng):
    """x and y in different units."""
    return must_refuse(folder, join(make_rows(rng), ("track_id", "frame", f"x_{first}", f"y_{second}")))


CANDIDATES = {  # name of a case: header; further columns are filled with other numbers
    "x and X": ("track_id", "frame", "x", "y", "X"),
    "x and X, Y": ("track_id", "frame", "x", "y", "X", "Y"),
    "x and x_um": ("track_id", "frame", "x", "y", "x_um", "y_um"),
    "x_px and x_um": ("track_id", "frame", "x_px", "y_px", "x_um", "y_um"),
    "x and pos_x": ("track_id", "frame", "x", "y", "pos_x", "pos_y"),
    "x and position_x": ("track_id", "frame", "x", "y", "position_x", "position_y"),
    "id and track_id": ("track_id", "frame", "x", "y", "id"),
    "track and particle": ("track", "frame", "x", "y", "particle"),
    "track_id and trajectory": ("track_id", "frame", "x", "y", "trajectory"),
    "frame and t": ("track_id", "frame", "x", "y", "t"),
    "frame and frame_id": ("track_id", "frame", "x", "y", "frame_id"),
    "frame and Frame": ("track_id", "frame", "x", "y", "Frame"),
    "y twice": ("track_id", "frame", "x", "y", "y "),
    "saSPT and t": ("trajectory", "frame", "x", "y", "t"),
    "saSPT and time": ("trajectory", "frame", "x", "y", "time"),
    "trackpy and t": ("particle", "frame", "x", "y", "t"),
    "napari and frame": ("ID", "T", "y", "x", "frame"),
    "AnDi and track_id": ("traj_idx", "frame", "x", "y", "track_id"),
    "TrackMate and x": ("TRACK_ID", "FRAME", "POSITION_X", "POSITION_Y", "x", "y"),
    "TrackMate and track": ("TRACK_ID", "FRAME", "POSITION_X", "POSITION_Y", "track"),
}


def offer_candidates(which, folder, rng):
    """Two columns that both could be meant: a question, unless the names leave no doubt."""
    header = CANDIDATES[which]
    rows = make_rows(rng)
    others = [[f"{rng.normal() * 30:.3f}" for _ in header[4:]] for _ in rows]
    order = [0, 1, 3, 2] if which.startswith("napari") else [0, 1, 2, 3]
    text = join([[*(row[i] for i in order), *more] for row, more in zip(rows, others, strict=True)], header)
    plan = may_read(folder, text, rows)
    if which.startswith("TrackMate"):
        plan.readings = [Reading(rows, None, "um", 1.0)]
    if which in ("x and x_um", "x_px and x_um", "x and X", "x and X, Y", "y twice"):
        plan.readings = []
    return plan


def name_other(header, folder, rng):
    """Names that nobody knows are asked for."""
    rows = make_rows(rng)
    if header == "track,time point,x,y":
        return may_read(folder, join(rows, header.split(",")), rows)
    return must_refuse(folder, join(rows, header.split(",")))


def give_columns(text, right, folder, rng):
    """Values of --columns, right and wrong."""
    rows = make_rows(rng)
    write(folder, join(rows, ("particle no", "frame", "x=1", "y")))
    plan = Plan(infer("tracks.csv", "--columns", text), ("tracks.csv", "--columns"))
    plan.readings = [Reading(rows)] if right else []
    return plan


def give_format(name, folder, rng):
    """A format that the file does not have."""
    rows = make_rows(rng)
    plan = may_read(folder, join(rows), rows, options=("--format", name), names=("--format",))
    if name == "spoton":
        plan.readings = [Reading(rows, None, "um", 1.0)]  # what this format means
    if name.startswith("trackmate") or name in ("none", ""):
        plan.readings = []
    return plan


def time_rows(rows, interval, offset=0.0, digits=6):
    """Rows with times in place of frames."""
    return [[row[0], f"{offset + int(row[1]) * interval:.{digits}f}", *row[2:]] for row in rows]


def put_time(name, interval, folder, rng):
    """Time in seconds in place of frames: frame and interval are found, or the file is refused."""
    rows = make_rows(rng)
    unit = {"time_ms": 1e-3, "t [ms]": 1e-3, "t_min": 60.0}.get(name, 1.0)
    timed = time_rows(rows, interval / unit, digits=9)
    plan = may_read(folder, join(timed, ("track_id", name, "x", "y")), rows, frame_interval_s=interval)
    if name in ("t", "time", "Time", "timestamp"):  # frames can be counted, but no unit of time is named
        plan.readings.append(Reading(rows))
    if float(interval / unit).is_integer():  # whole numbers may be frames, unless the name says otherwise
        plan.readings.append(Reading([[row[0], str(int(float(row[1]))), *row[2:]] for row in timed]))
    return plan


def disturb_time(how, folder, rng):
    """Times with jitter, gaps, an offset, or no common interval."""
    rows, interval = make_rows(rng, 4, 20), 0.02
    header = ("track_id", "time_s", "x", "y")
    timed = time_rows(rows, interval)
    options = ()
    if how == "gaps":
        kept = [i for i, row in enumerate(rows) if int(row[1]) not in (5, 6, 11)]
        rows, timed = [rows[i] for i in kept], [timed[i] for i in kept]
    elif how == "offset":
        timed = time_rows(rows, interval, 100.0)
        rows = [[r[0], str(int(r[1]) + 5000), *r[2:]] for r in rows]
        plan = may_read(folder, join(timed, header), rows, frame_interval_s=interval)
        plan.readings.append(Reading([[r[0], str(int(r[1]) - 5000), *r[2:]] for r in rows], None, "px", None, interval))
        return plan
    elif how == "rounded to ms":
        timed = time_rows(rows, interval, digits=3)
    elif how.startswith("jitter"):
        size = float(how.split()[1]) * interval
        timed = [[r[0], f"{float(r[1]) + rng.uniform(-size, size):.6f}", *r[2:]] for r in timed]
    elif how == "random times":
        timed = [[r[0], f"{t:.6f}", *r[2:]] for r, t in zip(rows, rng.uniform(0, 9, len(rows)), strict=True)]
        return must_refuse(folder, join(timed, header))
    elif how == "two intervals":
        timed = [[r[0], f"{float(r[1]) * (1 + 0.37 * (int(r[0]) % 2)):.6f}", *r[2:]] for r in timed]
        return must_refuse(folder, join(timed, header))
    elif how == "negative":
        timed = time_rows(rows, interval, -1.0)
        plan = may_read(folder, join(timed, header), rows, frame_interval_s=interval)
        shift = [[r[0], str(int(r[1]) - 50), *r[2:]] for r in rows]
        plan.readings.append(Reading(shift, None, "px", None, interval))
        return plan
    elif how == "same for all":
        return must_refuse(folder, join([[r[0], "0.5", *r[2:]] for r in timed], header))
    elif how == "nan":
        timed[3][1] = "nan"
        return must_refuse(folder, join(timed, header))
    elif how == "given interval":
        options = ("--frame-interval", "0.02")
    elif how == "given other interval":
        return must_refuse(
            folder, join(timed, header), options=("--frame-interval", "0.05"), names=("--frame-interval",)
        )
    elif how == "given half interval":
        options = ("--frame-interval", "0.01")
        plan = may_read(folder, join(timed, header), rows, options=options, names=("--frame-interval",))
        plan.readings = [Reading([[r[0], str(2 * int(r[1])), *r[2:]] for r in rows], None, "px", None, 0.01)]
        return plan
    error = 0.01 if how.startswith("jitter") else 1e-6
    plan = may_read(folder, join(timed, header), rows, options=options, frame_interval_s=interval, interval_error=error)
    plan.check_d = not how.startswith("jitter")
    return plan


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values):
        text = ", ".join((build.__name__.replace("_", " "), *map(str, values)))
        cases.append(Case(FAMILY, text, partial(build, *values)))

    for i, unit in enumerate((*UNITS, *OTHER_UNITS)):
        for style in {STYLES[0], STYLES[1], STYLES[i % len(STYLES)]}:
            add(name_unit, style, unit)
        add(give_unit, unit)
    for style in STYLES[2:]:
        add(name_unit, style, "um")
    for first, second in (("um", "nm"), ("px", "um"), ("mm", "um"), ("nm", "px"), ("um", "mm"), ("um", "s")):
        add(mix_units, first, second)
    for which in CANDIDATES:
        add(offer_candidates, which)
    for header in ("a,b,c,d", "track,time point,x,y", "track_id,frame,lat,lon", "0,1,2,3", "frame,x,y,z", "x,y,x,y"):
        add(name_other, header)
    good = ("track=particle no,x=x=1", "track=particle no,frame=frame,x=x=1,y=y")
    bad = (
        "",
        "=",
        "track",
        "track=",
        "=x",
        "x=x",
        "z=1",
        "track=none",
        "track=particle no,x=y,y=y",
        "track=frame,x=y",
        "track=a,track=b",
        "x=x;y=y",
        "track=particle no,x=nowhere",
        "😀=1",
        "track=particle no,frame=x=1,x=x=1",
        ",,,",
    )
    for text in good:
        add(give_columns, text, True)
    for text in bad:
        add(give_columns, text, False)
    formats = ("andi", "saspt", "trackpy", "spoton", "napari", "trackmate-csv", "trackmate-xml", "plain", "none", "")
    for name in formats:
        add(give_format, name)
    for name in TIME_NAMES:
        for interval in (0.02, 0.033333, 1.0):
            add(put_time, name, interval)
    disturbed = ("gaps", "offset", "rounded to ms", "jitter 0.01", "jitter 0.1", "jitter 0.4", "random times", "nan")
    more = (
        "two intervals",
        "negative",
        "same for all",
        "given interval",
        "given other interval",
        "given half interval",
    )
    for how in (*disturbed, *more):
        add(disturb_time, how)
    unique = {case.name: case for case in cases}
    return list(unique.values())
