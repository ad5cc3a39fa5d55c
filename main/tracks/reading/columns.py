"""Finds the columns of track_id, frame or time, x and y by their names, and the units that stand in these names."""

import difflib
import re
import shlex
from functools import lru_cache

import numpy as np
import pandas as pd

from main.tracks.table import COLUMNS
from main.utils.errors import InputError

LENGTHS = {  # word for a length unit, in lower case -> unit of `main.tracks.table.Units`
    **dict.fromkeys(("px", "pix", "pixel", "pixels"), "px"),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns"), "um"),
    **dict.fromkeys(("micrometer", "micrometers", "micrometre", "micrometres"), "um"),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), "nm"),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), "mm"),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), "cm"),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "m"),
    **dict.fromkeys(("å", "angstrom", "angstroms", "ångström", "ångstrom"), "angstrom"),
    **dict.fromkeys(("inch", "inches"), "inch"),  # ImageJ has it from the print resolution of an image
}
SECONDS_PER_UNIT = {  # by the word for a time unit, in lower case
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs", "usec", "µsec", "μsec", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nanosecond", "nanoseconds"), 1e-9),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
}
FRAME_WORDS = dict.fromkeys(("frame", "frames"), "frame")  # in place of a time unit: the column counts frames
SPELLINGS = {  # role -> ranks of names: lower case, words joined by _, without units; a rank counts if those above lack
    "track_id": (
        # fmt: skip
        ("track_id", "trackid", "track", "tracks", "trajectory", "trajectory_id", "traj", "traj_idx", "traj_id")
        + ("trajectoryid", "particle", "particle_id", "particleid", "track_idx", "track_index", "track_number")
        + ("tracknumber", "track_no", "track_nr"),
        ("track_n", "track_label", "molecule", "molecule_id"),  # track_n: "Track n°" of ImageJ's Manual Tracking
        ("id",),  # often numbers the points
    ),
    "frame": (
        ("frame", "frames", "frame_id", "frame_idx", "frame_number", "frame_index", "frame_no", "frame_nr"),
        ("time_point", "timepoint", "image_number", "imagenumber", "slice", "slice_n", "slice_number"),
    ),
    "x": (
        ("x", "pos_x", "position_x", "x_pos", "x_position", "xpos"),
        ("x_coordinate", "x_coord", "coord_x", "centroid_x", "x_centroid", "center_x", "x_center")
        + ("location_center_x",),  # CellProfiler
    ),
    "y": (
        ("y", "pos_y", "position_y", "y_pos", "y_position", "ypos"),
        ("y_coordinate", "y_coord", "coord_y", "centroid_y", "y_centroid", "center_y", "y_center")
        + ("location_center_y",),
    ),
}
TIME_SPELLINGS = ("time", "t", "position_t", "timestamp", "time_stamp", "elapsed_time")
OBJECT_LABELS = re.compile(r"track_objects_label(_\d+)?$")  # CellProfiler writes the longest distance behind it
GUESS_WORDS = {  # words in a name that make it a good guess for a role
    "track_id": {"track", "tracks", "trajectory", "traj", "particle", "molecule", "object", "cell", "label", "id"},
    "frame": {"frame", "frames", "time", "t", "slice", "timepoint", "image"},
    "x": {"x"},
    "y": {"y"},
}
MAX_LISTED_NAMES, MAX_NAME_LENGTH = 15, 40  # in messages
BRACKETS = re.compile(r"[(\[{]([^)\]}]*)[)\]}]")
WORDS = re.compile(r"[^\W_]+")
INSIDE_WORD = re.compile(r"(?<=[a-zà-ÿ])(?=[A-Z])")  # positionX is position X
GLUED = re.compile(r"([xyzt])(nm|um|µm|px|pix|mm|ms)")  # xnm of SMAP


def split_unit(name, words: dict, anywhere: bool = True) -> tuple[str, object, str | None]:
    """Split the name of a column into its words and the unit in it.

    Parameters
    ----------
    name : str
    words : dict
        Word for a unit, in lower case -> what it stands for.
    anywhere : bool
        Whether a unit of two or more letters counts at any place among the words; else at the end only, as a unit of
        one letter does. In brackets it always counts.

    Returns
    -------
    plain : str
        The words without units, in lower case, joined by underscores.
    unit : object or None
        Value of `words`; None if the name holds no unit, or several that differ.
    strange : str or None
        Text in brackets, or several units, that cannot be used.
    """
    inside, tokens = _split_words(str(name))
    found = [words[part] for part in inside if part in words]
    strange = next((part for part in inside if part not in words), None) if not found else None
    plain = []
    for place, token in enumerate(tokens):
        last = place == len(tokens) - 1
        if token in words and len(tokens) > 1 and (last and place > 0 or anywhere and len(token) > 1):
            found.append(words[token])
        else:
            plain.append(token)
    if len(set(found)) > 1:
        return "_".join(plain), None, " and ".join(map(str, dict.fromkeys(found)))
    return "_".join(plain), found[0] if found else None, strange


@lru_cache(maxsize=2**16)  # a name is looked up for every role
def _split_words(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what stands in brackets, and the words outside them, in lower case."""
    text = name.strip()
    for damaged in ("Âµ", "Î¼", "\ufffd", "μ"):  # µ in the wrong encoding, Greek mu
        text = text.replace(damaged, "µ")
    inside = tuple(part.strip().lower() for part in BRACKETS.findall(text))
    words = tuple(word.lower() for word in WORDS.findall(INSIDE_WORD.sub(" ", BRACKETS.sub(" ", text))))
    glued = GLUED.fullmatch(words[0]) if len(words) == 1 else None
    return inside, glued.groups() if glued else words


def find_length_unit(name, source) -> str | None:
    """Return the length unit in the name of a column, None if there is none.

    Raises
    ------
    InputError
        If brackets hold something else than a known unit, or the name holds two units.
    """
    _, unit, strange = split_unit(name, LENGTHS)
    if unit is None and strange is not None:
        raise InputError(
            f"{source}: column '{name}' has the unit '{strange}', expected one of "
            f"{', '.join(dict.fromkeys(LENGTHS.values()))}; rename the column."
        )
    return unit


def find_time_unit(name, source) -> float | str | None:
    """Return the seconds per unit of time in the name of a column; "frame" if it counts frames; None without a unit.

    Raises
    ------
    InputError
        If brackets hold something else than a known unit.
    """
    _, unit, strange = split_unit(name, SECONDS_PER_UNIT | FRAME_WORDS, anywhere=False)
    if unit is None and strange is not None:
        raise InputError(
            f"{source}: column '{name}' has the unit '{strange}', expected s, ms, us, ns, min, h or frame; rename the "
            "column."
        )
    return unit


def find_columns(raw: pd.DataFrame, source, given: dict[str, str]) -> tuple[dict[str, str], str | None]:
    """Find the columns of track_id, frame, x, y and time, and the length unit in the names of x and y.

    Parameters
    ----------
    raw : pandas.DataFrame
        The table as read.
    source : str or Path
        File, for errors.
    given : dict
        track_id, frame, x, y -> column name, for columns that need not be found.

    Returns
    -------
    columns : dict
        track_id, frame, x, y, time -> column name in the file. At least one of frame and time is there.
    unit : str or None
        Unit of x and y in `main.tracks.table.Units`; None if the names hold no unit.

    Raises
    ------
    InputError
        If a column is missing, two columns with other values fit equally well, or x and y have different units.
    """
    check_given(raw.columns, source, given)
    columns, unsettled = dict(given), {}
    for role in ("track_id", "x", "y"):
        if role not in given:
            candidates = _list_candidates(raw.columns, role)
            columns |= {role: candidates[0]} if candidates else {}
            if len({_hash_values(raw[name], role, source) for name in candidates}) > 1:
                unsettled[role] = candidates
    frames = [] if "frame" in given else _list_candidates(raw.columns, "frame", set(columns.values()))
    if len({_hash_values(raw[name], "frame", source) for name in frames}) > 1:
        unsettled["frame"] = frames
    if unsettled:
        role, (first, second, *_) = next(iter(unsettled.items()))
        raise InputError(
            f"{source}: columns '{first}' and '{second}' could both be {role}, and they differ; name the right one, "
            f"such as {format_option({role: names[0] for role, names in unsettled.items()})}."
        )
    columns.pop("frame", None)
    columns |= _find_clock(raw, source, given, frames, set(columns.values()))
    missing = [role for role in COLUMNS if role not in columns and not (role == "frame" and "time" in columns)]
    if missing:
        raise InputError(_describe_missing(raw.columns, source, missing))
    refuse_repeated(raw, source, columns)
    units = {find_length_unit(columns[role], source) for role in ("x", "y")}
    if len(units) > 1:
        raise InputError(
            f"{source}: columns '{columns['x']}' and '{columns['y']}' have different units, expected one; name two "
            "columns of the same unit with --columns x=NAME,y=NAME."
        )
    return {role: columns[role] for role in (*COLUMNS, "time") if role in columns}, units.pop()


def _find_clock(raw, source, given, frames, used) -> dict[str, str]:
    """Return the column of frames, of time, or of both, as {"frame": name, "time": name}."""
    frame = given.get("frame", frames[0] if frames else None)
    times = [name for name in raw.columns if _spell_time(name) in TIME_SPELLINGS and name not in used | {frame}]
    counting = [name for name in times if find_time_unit(name, source) == "frame"]
    times = [name for name in times if name not in counting]
    times.sort(key=lambda name: find_time_unit(name, source) is None)  # those with a unit first
    if frame is None and counting:
        frame = counting[0]
    if frame is None:  # t is a frame number if it holds whole numbers and no unit
        frame = next((n for n in times if str(n).strip().lower() == "t" and _holds_whole_numbers(raw[n])), None)
        times = [name for name in times if name != frame]
    elif "frame" in given:
        named = isinstance(find_time_unit(frame, source) if _spell_time(frame) in TIME_SPELLINGS else None, float)
        spelled = any(split_unit(frame, {})[0] in rank for rank in SPELLINGS["frame"])
        if named or (not spelled and not _holds_whole_numbers(raw[frame])):
            return {"time": frame}
    clock = {} if frame is None else {"frame": frame}
    return clock | ({"time": times[0]} if times else {})


def _spell_time(name) -> str:
    return split_unit(name, SECONDS_PER_UNIT | FRAME_WORDS, anywhere=False)[0]


def _holds_whole_numbers(values: pd.Series) -> bool:
    """Return whether no value is a number with decimals; text counts as whole, it is refused later with its row."""
    if pd.api.types.is_integer_dtype(values):
        return True
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return not (np.isfinite(numbers) & (numbers != np.round(numbers))).any()


def spell_columns(header) -> dict[str, str]:
    """Return column names without length units, in lower case and with underscores -> the first column of this name."""
    spelled = {}
    for name in header:
        spelled.setdefault(split_unit(name, LENGTHS)[0], name)
    return spelled


def _list_candidates(header, role: str, used=()) -> list[str]:
    """List the columns of the highest rank of names of one role, in the order of that rank."""
    plain = {}
    for name in header:
        words = split_unit(name, LENGTHS if role in ("x", "y") else {})[0]
        words = "track_id" if role == "track_id" and OBJECT_LABELS.match(words) else words
        if name not in used and not (role == "frame" and isinstance(_get_time_unit(name), float)):
            plain.setdefault(words, []).append(name)
    for rank in SPELLINGS[role]:
        found = [name for words in rank for name in plain.get(words, [])]
        if found:
            return found
    return []


def _get_time_unit(name):
    return split_unit(name, SECONDS_PER_UNIT, anywhere=False)[1]


def _hash_values(values: pd.Series, role: str, source):
    """Return a key that is equal for two columns that give the same result as this role.

    Of tracks only the grouping counts, of frames only the differences; positions count with the unit in their name.
    """
    if role == "track_id":
        return pd.factorize(values)[0].tobytes()
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    if role == "frame" and np.isfinite(numbers[:1]).all():
        return (numbers - numbers[:1]).tobytes()
    return (numbers.tobytes(), find_length_unit(values.name, source))


def check_given(header: pd.Index, source, given: dict[str, str]) -> None:
    """Raise InputError if a column that was named is not in the file, with near matches, or a name stands twice."""
    if not header.is_unique:
        twice = header[header.duplicated()][0]
        raise InputError(f"{source}: has several columns '{twice}', expected each name once; rename or remove one.")
    names = [str(name) for name in header]
    missing = [name for name in given.values() if name not in names]
    if missing:
        near = [match for name in missing for match in _find_near(name, names)]
        guess = f"near it is {' or '.join(map(repr, dict.fromkeys(near)))}; " if near else ""
        raise InputError(
            f"{source}: no column {' or '.join(map(repr, missing))} among {list_names(header)}; {guess}name the right "
            "one with --columns."
        )
    twice = {name for name in given.values() if list(given.values()).count(name) > 1}
    if twice:
        raise InputError(f"{source}: column '{twice.pop()}' is named for two roles; name one column for each.")


def refuse_repeated(raw: pd.DataFrame, source, columns: dict[str, str]) -> None:
    """Raise InputError if a column that is used has a namesake with other values, which pandas renames to NAME.1."""
    for role, name in columns.items():
        twin = f"{name}.1"
        if twin in raw.columns and not raw[name].equals(raw[twin].rename(name)):
            raise InputError(
                f"{source}: has two columns '{name}' with different values, expected one {role}; rename or remove one."
            )


def list_names(header) -> str:
    """Return the names of columns for a message, shortened if they are many or long."""
    names = [str(name) if len(str(name)) <= MAX_NAME_LENGTH else f"{str(name)[:MAX_NAME_LENGTH]}..." for name in header]
    more = f" and {len(names) - MAX_LISTED_NAMES} more" if len(names) > MAX_LISTED_NAMES else ""
    return ", ".join(names[:MAX_LISTED_NAMES]) + more


def format_option(columns: dict[str, str]) -> str:
    """Return the option --columns, as a shell takes it, from role -> column name."""
    pairs = ",".join(f"{'track' if role == 'track_id' else role}={name}" for role, name in columns.items())
    return f"--columns {pairs if set(pairs) <= set('µ') | _SAFE else shlex.quote(pairs)}"


_SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=,.-")


def _find_near(name: str, names) -> list[str]:
    lower = {other.lower(): other for other in names}
    return [lower[match] for match in difflib.get_close_matches(str(name).lower(), lower, n=2, cutoff=0.6)]


def _describe_missing(header, source, missing) -> str:
    guesses = {}
    for role in missing:
        fitting = [n for n in header if set(split_unit(n, LENGTHS)[0].split("_")) & GUESS_WORDS[role]]
        fitting = [name for name in fitting if name not in guesses.values()] or _find_near(role, map(str, header))
        if fitting:
            guesses[role] = min(map(str, fitting), key=len)
    might = "".join(f"{role} might be '{name}'; " for role, name in guesses.items())
    option = format_option({role: guesses.get(role, "NAME") for role in missing})
    among = f"{', '.join(missing)} among {list_names(header)}"
    return f"{source}: no column for {among}; {might}name the columns with {option}."
