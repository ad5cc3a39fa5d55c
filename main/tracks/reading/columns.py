"""Finds the columns of track_id, frame, x and y by their names, and the units that stand in these names."""

import re

from main.tracks.table import COLUMNS
from main.utils.errors import InputError

SPELLINGS = {  # names of columns in files, in lower case, the first found is taken
    "track_id": (
        "track_id",
        "trackid",
        "track",
        "trajectory",
        "trajectory_id",
        "traj",
        "traj_idx",
        "traj_id",
        "particle",
        "particle_id",
        "track_idx",
        "track_number",
        "id",
    ),
    "frame": ("frame", "frames", "frame_id", "frame_idx", "frame_number", "frame_index", "t"),
    "x": ("x", "pos_x", "position_x", "x_pos", "x_position", "xpos"),
    "y": ("y", "pos_y", "position_y", "y_pos", "y_position", "ypos"),
}
LENGTH_UNIT = re.compile(r"[\s_(\[]+(px|pixels?|um|µm|μm|microns?|micrometers?|nm|nanometers?)[)\]]*$")
LENGTH_OF_LETTER = {"p": "px", "n": "nm", "u": "um", "m": "um", "µ": "um", "μ": "um"}  # first letter of a unit -> unit


def find_columns(header, source, given: dict[str, str]) -> tuple[dict[str, str], str]:
    """Find the columns of track_id, frame, x, y, and the length unit in the names of x and y.

    Parameters
    ----------
    header : iterable of str
        Column names of the file.
    source : str or Path
        File, for errors.
    given : dict
        track_id, frame, x, y -> column name, for columns that need not be found.

    Returns
    -------
    columns : dict
        track_id, frame, x, y -> column name in the file.
    unit : {"px", "um", "nm"}
        "px" if the names hold no unit.

    Raises
    ------
    InputError
        If a column is missing, or x and y have different units.
    """
    spelled = spell_columns(header)
    columns = {role: next((spelled[s] for s in SPELLINGS[role] if s in spelled), None) for role in COLUMNS}
    columns.update(given)
    missing = [role for role in COLUMNS if columns[role] is None]
    if missing:
        raise InputError(
            f"{source}: no column for {', '.join(missing)} among {', '.join(map(str, header))}; "
            "name them with --columns track=NAME,frame=NAME,x=NAME,y=NAME."
        )
    units = {_find_declared_unit(columns["x"]), _find_declared_unit(columns["y"])}
    if len(units) > 1:
        raise InputError(f"{source}: columns '{columns['x']}' and '{columns['y']}' have different units, expected one.")
    return columns, units.pop()


def spell_columns(header) -> dict[str, str]:
    """Return column names without units, in lower case and with underscores -> the first column of this name."""
    spelled = {}
    for name in header:
        plain = LENGTH_UNIT.sub("", str(name).lower().strip())
        spelled.setdefault(plain.replace(" ", "_"), name)
    return spelled


def _find_declared_unit(name: str) -> str:
    match = LENGTH_UNIT.search(str(name).lower().strip())
    return LENGTH_OF_LETTER[match.group(1)[0]] if match else "px"
