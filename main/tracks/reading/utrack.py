"""Tracks of u-track (MATLAB): the variable tracksFinal of a .mat file.

Source: https://github.com/DanuserLab/u-track, software/trackCloseGapsKalmanSparse.m (OUTPUT tracksFinal) and
software/@Tracks/Tracks.m.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.reading.points import build_tracks
from main.tracks.table import Tracks
from main.utils.errors import InputError

FIELDS = ("tracksCoordAmpCG", "seqOfEvents")
COLUMNS_PER_FRAME = 8  # x, y, z, amplitude, and the standard deviation of each
START, END = 1, 2  # second column of seqOfEvents
MAX_FRAME = 2**31
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
    coordinates, events = _collect_matrices(_load_compounds(Path(path)), path)
    points, n_cuts = _cut_at_events(*_place_rows(coordinates, events, path))
    points = points.reset_index(drop=True)
    first = ~points["piece"].duplicated()
    names = points.loc[first, "compound"].to_numpy() + 1
    others = np.flatnonzero(pd.Series(names).duplicated())
    names[others] = len(coordinates) + 1 + np.arange(len(others))
    errors = points[["dx", "dy"]].where(lambda values: np.isfinite(values) & (values > 0))
    if errors.notna().any(axis=None):
        points["sigma"] = np.hypot(errors["dx"], errors["dy"]) / np.sqrt(2)
    points["track"] = np.cumsum(first) - 1
    cut = f"{path}: tracks were cut at {n_cuts[START]} splits and {n_cuts[END]} merges."
    points = points.drop(columns=["compound", "segment", "piece", "dx", "dy", "dz", "da"])
    return build_tracks(points, names, path, "u-track", warnings=[cut] if any(n_cuts.values()) else [])


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
    if not found[0].size:
        raise InputError(f"{path}: tracksFinal holds no track; track again in u-track.")
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


def _collect_matrices(compounds, path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return tracksCoordAmpCG and seqOfEvents of every compound track, as matrices of numbers of the right width."""
    matrices = [[compound[name] for compound in compounds] for name in FIELDS]
    for name, width, found in zip(FIELDS, (COLUMNS_PER_FRAME, 4), matrices, strict=True):
        for place, matrix in enumerate(found, 1):
            full = isinstance(matrix, np.ndarray) and matrix.dtype.kind in "fiu" and matrix.ndim == 2 and len(matrix)
            if not full or matrix.shape[1] == 0 or matrix.shape[1] % width or (width == 4 and matrix.shape[1] != width):
                raise InputError(
                    f"{path}: {name} of tracksFinal({place}) is no full matrix with {width} columns"
                    f"{' per frame' if width == COLUMNS_PER_FRAME else ''}; {WAY_OUT}."
                )
    return tuple(matrices)


def _place_rows(coordinates, events, path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make one row for each point and one for each event, of all compound tracks.

    Parameters
    ----------
    coordinates, events : list of numpy.ndarray
        tracksCoordAmpCG and seqOfEvents of each compound track.
    path : path
        File, for errors.

    Returns
    -------
    points : pandas.DataFrame
        compound, segment (both count from 0 over the file), frame, x, y, z, amplitude, dx, dy, dz, da.
    events : pandas.DataFrame
        kind, segment (that another one meets there, NaN for none), frame.
    """
    n_events = np.array([len(matrix) for matrix in events])
    n_segments = np.array([len(matrix) for matrix in coordinates])
    n_frames = np.array([matrix.shape[1] // COLUMNS_PER_FRAME for matrix in coordinates])
    compound = np.repeat(np.arange(len(events)), n_events)
    frame, kind, _, met = np.concatenate(events).astype(np.float64).T
    starts = np.cumsum(n_events) - n_events
    first, last = np.minimum.reduceat(frame, starts), np.maximum.reduceat(frame, starts)
    wrong = ~(np.abs(frame) < MAX_FRAME) | (frame != np.round(frame)) | ((met < 1) | (met > n_segments[compound]))
    begin = np.minimum.reduceat(np.where(kind == START, frame, np.inf), starts)
    end = np.maximum.reduceat(np.where(kind == END, frame, -np.inf), starts)
    misfit = (last - first + 1 != n_frames) | (begin != first) | (end != last)
    if wrong.any() or misfit.any():
        place = compound[wrong][0] if wrong.any() else np.argmax(misfit)
        raise InputError(
            f"{path}: seqOfEvents of tracksFinal({place + 1}) does not fit its tracksCoordAmpCG, expected frames from "
            f"the first start to the last end and numbers of segments; {WAY_OUT}."
        )
    first_segment = np.cumsum(n_segments) - n_segments
    compound_of_segment = np.repeat(np.arange(len(coordinates)), n_segments)
    length = n_frames[compound_of_segment]  # rows of each segment
    segment = np.repeat(np.arange(len(length)), length)
    place = np.arange(len(segment)) - np.repeat(np.cumsum(length) - length, length)
    rows = np.concatenate([matrix.reshape(-1, COLUMNS_PER_FRAME) for matrix in coordinates]).astype(np.float64)
    points = pd.DataFrame(rows, columns=["x", "y", "z", "amplitude", "dx", "dy", "dz", "da"])
    points.insert(0, "frame", first[compound_of_segment[segment]].astype(np.int64) + place)
    points.insert(0, "segment", segment)
    points.insert(0, "compound", compound_of_segment[segment])
    met = met - 1 + first_segment[compound]
    return points, pd.DataFrame({"kind": kind, "segment": met, "frame": frame})


def _cut_at_events(points: pd.DataFrame, events: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, int]]:
    """Cut segments at the frame where another one leaves (split) or enters (merge): from there on they are a new track.

    Parameters
    ----------
    points, events : pandas.DataFrame
        As returned by `_place_rows`.

    Returns
    -------
    points : pandas.DataFrame
        Those with a position, and a column piece, a number that only points of the same track share.
    n_cuts : dict of int -> int
        START or END -> number of events of this kind that are splits or merges.
    """
    points = points[points[["x", "y"]].notna().any(axis=1)]
    met = events[events["segment"].notna()]
    cuts = np.unique(met["segment"].astype(np.int64) * 2 * MAX_FRAME + met["frame"].astype(np.int64))
    # As many cuts lie at or before a point, in its segment or an earlier one, as there are before its piece.
    before = np.searchsorted(cuts, points["segment"] * 2 * MAX_FRAME + points["frame"], side="right")
    points = points.assign(piece=points["segment"] + before)
    return points, {kind: int((met["kind"] == kind).sum()) for kind in (START, END)}
