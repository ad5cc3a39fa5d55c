"""Tracks of u-track (MATLAB): the variable tracksFinal of a .mat file.

Source: https://github.com/DanuserLab/u-track, software/trackCloseGapsKalmanSparse.m (OUTPUT tracksFinal) and
software/@Tracks/Tracks.m.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.reading.points import POINT_COLUMNS, build_tracks
from main.tracks.table import Tracks
from main.utils.errors import InputError

FIELDS = ("tracksCoordAmpCG", "seqOfEvents")
COLUMNS_PER_FRAME = 8  # x, y, z, amplitude, and the standard deviation of each
START, END = 1, 2  # second column of seqOfEvents
MAX_VARIABLE_BYTES = 2**29  # decompressed: 8 million points, and memory stays below 2 GiB
HEADER_BYTES, TAG_BYTES, COMPRESSED = 128, 8, 15  # https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
CHUNK_BYTES = 2**20
UNREADABLE = (  # what scipy raises for damaged files
    ValueError,
    TypeError,
    LookupError,
    OSError,
    ArithmeticError,
    MemoryError,
    NotImplementedError,
    UnboundLocalError,
    struct.error,
    zlib.error,
)
WAY_OUT = "in MATLAB, save tracksFinal of u-track with save(name, 'tracksFinal', '-v7')"


def read_utrack(path) -> Tracks:
    """Read tracksFinal, one compound track each, cut where segments merge or split.

    Parameters
    ----------
    path : str or Path
        .mat file of version 5 to 7.

    Returns
    -------
    Tracks
        Positions in pixels; frames from 1; frames without a position (gaps) are left out. Column sigma is the root of
        the mean square of dx and dy, NaN where u-track had none. track_id is the place in tracksFinal, from 1; if
        compound tracks have several pieces, the first keeps this number and the others get numbers above the largest.

    Raises
    ------
    InputError
        If the file has no such variable, is too large, or a track has another layout; see also
        `main.tracks.table.validate`.
    """
    compounds = _load_compounds(Path(path))
    pieces, names, n_cuts, next_name = [], [], {START: 0, END: 0}, len(compounds) + 1
    for place, compound in enumerate(compounds, 1):
        coordinates, events = _check_compound(compound, place, path)
        for kind in n_cuts:
            n_cuts[kind] += int((np.isfinite(events[:, 3]) & (events[:, 1] == kind)).sum())
        found = _cut_compound(coordinates, events)
        for piece in found:
            piece[:, 0] = len(names)
            names.append(place if piece is found[0] else next_name)
            next_name += piece is not found[0]
            pieces.append(piece)
    columns = [*POINT_COLUMNS, "amplitude", "dx", "dy", "dz", "da"]
    points = pd.DataFrame(np.concatenate(pieces) if pieces else np.empty((0, len(columns))), columns=columns)
    points["track"] = points["track"].astype(np.int64)
    errors = points[["dx", "dy"]].where(lambda values: np.isfinite(values) & (values > 0))
    if errors.notna().any(axis=None):
        points["sigma"] = np.hypot(errors["dx"], errors["dy"]) / np.sqrt(2)
    cut = f"{path}: tracks were cut at {n_cuts[START]} splits and {n_cuts[END]} merges."
    return build_tracks(
        points.drop(columns=["dx", "dy", "dz", "da"]), names, path, "u-track", warnings=[cut] * any(n_cuts.values())
    )


def _load_compounds(path: Path) -> np.ndarray:
    """Load tracksFinal, or the only structure of the file that has its fields; shape (number of compound tracks,)."""
    from scipy.io import loadmat, whosmat  # only this format needs it

    try:
        _refuse_large_variables(path)
        structures = [name for name, _, kind in whosmat(path) if kind == "struct"]
        wanted = ["tracksFinal"] if "tracksFinal" in structures else structures
        held = loadmat(path, variable_names=wanted) if wanted else {}
    except InputError:
        raise
    except UNREADABLE as error:
        reason = str(error).strip().split("\n")[0][:100].rstrip(".") or "too large"
        raise InputError(f"{path}: cannot be read as a MATLAB file ({reason}); {WAY_OUT}.") from error
    found = [held[name] for name in wanted if name in held and set(FIELDS) <= set(held[name].dtype.names or ())]
    if len(found) != 1:
        raise InputError(
            f"{path}: has {len(found)} structures with the fields {' and '.join(FIELDS)}, expected one, which u-track "
            f"calls tracksFinal; {WAY_OUT}."
        )
    return found[0].reshape(-1)


def _refuse_large_variables(path: Path) -> None:
    """Raise InputError if a variable is larger than MAX_VARIABLE_BYTES once decompressed; holds 1 MiB at a time."""
    with open(path, "rb") as file:
        order = "<" if file.read(HEADER_BYTES)[-2:] == b"IM" else ">"
        while len(tag := file.read(TAG_BYTES)) == TAG_BYTES:
            kind, n_bytes = struct.unpack(f"{order}II", tag)
            end = file.tell() + n_bytes
            size, decompressor = n_bytes, zlib.decompressobj()
            if kind == COMPRESSED:
                packed, size = b"", 0
                while size <= MAX_VARIABLE_BYTES and (packed or file.tell() < end):
                    packed = packed or file.read(min(CHUNK_BYTES, end - file.tell()))
                    if not packed:
                        break
                    size += len(decompressor.decompress(packed, CHUNK_BYTES))
                    packed = decompressor.unconsumed_tail
                if size <= MAX_VARIABLE_BYTES and not decompressor.eof:
                    raise zlib.error("a variable is cut off")
            if size > MAX_VARIABLE_BYTES:
                raise InputError(
                    f"{path}: holds a variable above {MAX_VARIABLE_BYTES >> 20} MiB, more than is read; {WAY_OUT}, in "
                    "several files if it is that large."
                )
            file.seek(end)


def _check_compound(compound, place: int, path) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates (segments, frames, 8) and the events (E, 4) of one element of tracksFinal."""
    whole = f"tracksFinal({place})"
    coordinates, events = (compound[name] for name in FIELDS)
    numeric = all(isinstance(array, np.ndarray) and array.dtype.kind in "fiu" for array in (coordinates, events))
    if not numeric or coordinates.ndim != 2 or coordinates.shape[1] % COLUMNS_PER_FRAME:
        raise InputError(
            f"{path}: tracksCoordAmpCG of {whole} is no full matrix with {COLUMNS_PER_FRAME} columns per frame; "
            f"{WAY_OUT}."
        )
    if events.ndim != 2 or events.shape[1] != 4 or not len(events) or not np.isfinite(events[:, :3]).all():
        raise InputError(
            f"{path}: seqOfEvents of {whole} does not hold frame, kind, segment and the segment it meets for every "
            f"event; {WAY_OUT}."
        )
    if coordinates.shape[1] != COLUMNS_PER_FRAME * (np.ptp(events[:, 0]) + 1):
        raise InputError(
            f"{path}: tracksCoordAmpCG of {whole} has {coordinates.shape[1]} columns, expected {COLUMNS_PER_FRAME} for "
            f"each frame from the first to the last of seqOfEvents; {WAY_OUT}."
        )
    shape = (len(coordinates), coordinates.shape[1] // COLUMNS_PER_FRAME, COLUMNS_PER_FRAME)
    return coordinates.reshape(shape).astype(np.float64), events.astype(np.float64)


def _cut_compound(coordinates: np.ndarray, events: np.ndarray) -> list[np.ndarray]:
    """Cut a compound track into tracks without branches.

    A segment is cut at the frame where another one leaves it (split) or enters it (merge): the points from this frame
    on are a new track.

    Returns
    -------
    list of numpy.ndarray, shape (n, 10), float64
        0 (the place of the track), frame, x, y, z, amplitude, dx, dy, dz, da of the points of each track.
    """
    first_frame = events[:, 0].min()
    joined = events[np.isfinite(events[:, 3])]
    pieces = []
    for segment, rows in enumerate(coordinates, 1):
        seen = np.flatnonzero(~np.isnan(rows[:, :2]).all(axis=1))
        if not seen.size:
            continue
        frames = first_frame + seen
        points = np.column_stack([np.zeros(len(seen)), frames, rows[seen]])
        cuts = np.unique(joined[joined[:, 3] == segment, 0])
        pieces += [piece for piece in np.split(points, np.searchsorted(frames, cuts)) if len(piece)]
    return pieces
