"""TrackMate's saved session (the "full" XML): spots and edges become tracks without branches."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from main.tracks.reading.elements import RowBuffer
from main.tracks.table import Tracks, validate, warn_of_depth
from main.tracks.values import parse_whole_numbers
from main.utils.errors import InputError

COLUMNS = {"track_id": "track_id", "frame": "FRAME", "x": "POSITION_X", "y": "POSITION_Y"}

CHILDREN = {  # tag in TrackMate's XML files -> tags of the elements in it
    "Tracks": ("particle",),
    "particle": ("detection",),
    "AllSpots": ("SpotsInFrame", "Spot"),
    "SpotsInFrame": ("Spot",),
    "AllTracks": ("Track",),
    "Track": ("Edge",),
    "FilteredTracks": ("TrackID",),
}


def read_session(path, elements, find_units) -> Tracks:
    """Read the tracks that passed TrackMate's filters, cut where they split or merge.

    Parameters
    ----------
    path : str or Path
        XML whose root is `TrackMate`, for errors.
    elements : iterator
        As `main.tracks.reading.elements.iterate_elements` gives them, from the first one below the root.
    find_units : callable
        (length unit, time unit, time between frames in this unit), as the file has them -> Units.

    Returns
    -------
    Tracks
        track_id is TrackMate's. If a track was cut, the piece that starts first keeps its number, and the other pieces
        get numbers above the largest one. A point that is joined only by branching edges becomes a track of one point.

    Raises
    ------
    InputError
        If there are no tracks, no length unit is declared, an edge joins a spot that is not in the file, or a spot is
        in two tracks, see also
        `main.tracks.table.validate`.
    """
    model, image, spots, edges, kept, n_rows, declared = parse_session(elements)
    if not len(edges):
        raise InputError(f"{path}: holds no track, expected edges between spots; link the spots in TrackMate first.")
    if "spatialunits" not in model:
        raise InputError(f"{path}: declares no length unit (element Model), save the session again in TrackMate.")
    if kept is not None:
        passed = pd.to_numeric(pd.Series(list(kept), dtype=object), errors="coerce")
        edges = edges[pd.to_numeric(edges["track_id"], errors="coerce").isin(passed)]
        if not len(edges):
            raise InputError(f"{path}: none of its tracks passed TrackMate's track filters, loosen the filters.")
    source, target = (find_spots(spots, edges[name], path) for name in ("source", "target"))
    named = parse_whole_numbers(edges["track_id"], path, "TRACK_ID")
    frame = pd.to_numeric(spots["FRAME"], errors="coerce").to_numpy()
    swap = frame[source] > frame[target]
    source, target = np.where(swap, target, source), np.where(swap, source, target)
    joined = pd.DataFrame({"source": source, "target": target, "track": named}).drop_duplicates()
    source, target, named = (joined[name].to_numpy() for name in joined)
    check_edges(source, target, named, path)
    linked, track = cut_branches(source, target, named, frame)
    n_left = len(spots) - len(linked)
    dropped = {"unlinked or filtered": n_left} if n_left else {}
    raw = spots.iloc[linked].assign(track_id=track)
    table = validate(raw[[*COLUMNS.values()]], path, COLUMNS)
    warnings = []
    if declared not in (None, str(n_rows)):
        warnings.append(f"{path}: declares {declared} spots and holds {n_rows}.")
    splits, merges = (int((np.unique(ends, return_counts=True)[1] > 1).sum()) for ends in (source, target))
    if splits or merges:
        warnings.append(f"{path}: tracks were cut at {splits} splits and {merges} merges.")
    warnings += warn_of_depth(spots["POSITION_Z"].iloc[linked], path)
    units = find_units(model["spatialunits"], model.get("timeunits", ""), image.get("timeinterval", "nan"))
    return Tracks(table, units, Path(path), "trackmate-xml", dropped, warnings, n_rows=n_rows)


def parse_session(elements):
    """Parse the attributes of Model and ImageData, the spots, the edges, and the list of tracks that passed filters.

    Returns
    -------
    model, image : dict of str -> str
    spots : pandas.DataFrame
        ID, FRAME, POSITION_X, POSITION_Y, POSITION_Z; text or NaN where the file holds no number.
    edges : pandas.DataFrame
        track_id, source, target (ids of spots), likewise.
    kept : set of str or None
        track_id of the tracks that passed TrackMate's filters; None if the file has no such list.
    n_rows : int
        Number of spots in the file.
    declared : str or None
        Number of spots that the file declares.
    """
    model, image, kept, track, frame, n_rows, declared = {}, {}, None, None, None, 0, None
    names = ("ID", "FRAME", "POSITION_X", "POSITION_Y", "POSITION_Z")
    spots, edges = RowBuffer(names), RowBuffer(["track_id", "source", "target"])
    for event, tag, attributes in elements:
        if event == "end":
            n_rows += tag == "Spot"
        elif tag == "Model":
            model = attributes
        elif tag == "ImageData":
            image = attributes
        elif tag == "AllSpots":
            declared = attributes.get("nspots")
        elif tag == "SpotsInFrame":
            frame = attributes.get("frame")
        elif tag == "Spot":
            spots.append([attributes.get(name, frame if name == "FRAME" else None) for name in names])
        elif tag == "Track":
            track = attributes.get("TRACK_ID")
        elif tag == "Edge":
            edges.append((track, attributes.get("SPOT_SOURCE_ID"), attributes.get("SPOT_TARGET_ID")))
        elif tag == "FilteredTracks":
            kept = set()
        elif tag == "TrackID" and kept is not None:
            kept.add(attributes.get("TRACK_ID"))
    return model, image, spots.make_table(), edges.make_table(), kept, n_rows, declared


def find_spots(spots, ids, path) -> np.ndarray:
    """Find the rows of `spots` that have these ids.

    Parameters
    ----------
    spots : pandas.DataFrame
        With a column ID.
    ids : pandas.Series, shape (E,)
    path : path
        File, for errors.

    Returns
    -------
    numpy.ndarray of int, shape (E,)

    Raises
    ------
    InputError
        If an id is missing from `spots`, or two spots have the same id.
    """
    spot_ids = pd.to_numeric(spots["ID"], errors="coerce").to_numpy()
    order = np.argsort(spot_ids)
    if (np.diff(spot_ids[order]) == 0).any():
        raise InputError(
            f"{path}: two spots have the same ID, expected a different one for each; save the session again."
        )
    wanted = pd.to_numeric(ids, errors="coerce").to_numpy()
    place = (
        np.minimum(np.searchsorted(spot_ids[order], wanted), len(spot_ids) - 1)
        if len(spot_ids)
        else np.zeros(len(wanted), int)
    )
    if not len(spot_ids) or (spot_ids[order][place] != wanted).any():
        raise InputError(f"{path}: an edge joins a spot that is not in the file; save the session again.")
    return order[place]


def check_edges(source, target, track, path) -> None:
    """Raise InputError if an edge joins a spot with itself, or edges of two tracks share a spot."""
    if (source == target).any():
        raise InputError(f"{path}: an edge joins a spot with itself; save the session again.")
    pairs = pd.DataFrame({"spot": np.concatenate([source, target]), "track": np.tile(track, 2)}).drop_duplicates()
    if pairs["spot"].duplicated().any():
        raise InputError(f"{path}: a spot belongs to two tracks, expected one; save the session again.")


def cut_branches(source, target, track, frame):
    """Cut a graph of spots at every split (several edges leave a spot) and merge (several edges enter one).

    Parameters
    ----------
    source, target : (E,) array of int
        Rows of the spots that each edge joins, the earlier spot as source.
    track : (E,) array
        Track of each edge.
    frame : (N,) array
        Frame of all spots.

    Returns
    -------
    spots, track_id : (M,) array of int
        Rows of the spots that have an edge, ascending, and the track without branches that each belongs to.
    """
    spots, joined = np.unique(np.concatenate([source, target]), return_inverse=True)
    a, b = joined[: len(source)], joined[len(source) :]
    leaves, enters = np.bincount(a, minlength=len(spots)), np.bincount(b, minlength=len(spots))
    simple = (leaves[a] == 1) & (enters[b] == 1)
    ones = np.ones(simple.sum())
    _, piece = connected_components(coo_array((ones, (a[simple], b[simple])), shape=(len(spots),) * 2), directed=False)
    of_spot = np.empty(len(spots), dtype=np.int64)
    of_spot[a], of_spot[b] = track, track
    first = (
        pd.DataFrame({"piece": piece, "track": of_spot, "frame": frame[spots]})
        .sort_values(["track", "frame", "piece"], kind="stable")
        .drop_duplicates("piece")
    )
    again = first.duplicated("track").to_numpy()
    names = first["track"].to_numpy().copy()
    names[again] = names.max() + 1 + np.arange(again.sum())
    return spots, pd.Series(names, index=first["piece"].to_numpy())[piece].to_numpy()
