"""TrackMate's whole session (the "full" XML): spots and edges to tracks without branches."""

from pathlib import Path

import numpy as np
import pandas as pd
from defusedxml.ElementTree import iterparse
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from main.tracks.table import Tracks, validate, whole_numbers
from main.utils.errors import InputError

COLUMNS = {"track_id": "track_id", "frame": "FRAME", "x": "POSITION_X", "y": "POSITION_Y"}


def read_session(path, find_units) -> Tracks:
    """Tracks that passed TrackMate's filters; where they split or merge, they are cut.

    Parameters
    ----------
    path : str or Path
        XML whose root is `TrackMate`.
    find_units : callable
        (space unit, time unit, time between frames in it) as the file has them -> Units.

    Returns
    -------
    Tracks
        track_id is TrackMate's own; of a track that was cut, the piece that starts first keeps it and the others are
        numbered on from the largest. Points between two branches that no unbranched step reaches are tracks of one.

    Raises
    ------
    InputError
        No tracks, an edge of a spot that is not there, see also `main.tracks.table.validate`.
    xml.etree.ElementTree.ParseError, defusedxml.DefusedXmlException
        Broken or forbidden XML.
    """
    model, image, spots, edges, kept = parse_session(path)
    if not len(edges):
        raise InputError(f"{path}: holds no track.")
    if kept is not None:
        edges = edges[edges["track_id"].isin(kept)]
        if not len(edges):
            raise InputError(f"{path}: none of its tracks passed TrackMate's track filters.")
    source, target = (find_spots(spots, edges[name], path) for name in ("source", "target"))
    named = whole_numbers(edges["track_id"], path, "TRACK_ID")
    swap = spots["FRAME"].to_numpy()[source] > spots["FRAME"].to_numpy()[target]
    source, target = np.where(swap, target, source), np.where(swap, source, target)
    linked, track = unbranched(source, target, named, spots["FRAME"].to_numpy())
    n_left = len(spots) - len(linked)
    dropped = {"unlinked or filtered": n_left} if n_left else {}
    raw = spots.iloc[linked].assign(track_id=track)
    table = validate(raw[[*COLUMNS.values()]], path, COLUMNS)
    warnings = []
    splits, merges = (int((np.unique(ends, return_counts=True)[1] > 1).sum()) for ends in (source, target))
    if splits or merges:
        warnings.append(f"{path}: {splits} splits and {merges} merges, tracks were cut there.")
    if spots["POSITION_Z"].iloc[linked].nunique() > 1:
        warnings.append(f"{path}: z varies and is not used, the analysis is two-dimensional.")
    units = find_units(model.get("spatialunits", "pixel"), model.get("timeunits", ""), image.get("timeinterval", "nan"))
    return Tracks(table, units, Path(path), "trackmate-xml", dropped, warnings)


def parse_session(path):
    """Attributes of Model and ImageData, spots, edges, and the ids of filtered tracks (None without that list).

    Returns
    -------
    model, image : dict
    spots : pandas.DataFrame
        ID, FRAME, POSITION_X, POSITION_Y, POSITION_Z, numbers as far as they are such.
    edges : pandas.DataFrame
        track_id, source, target (ids of spots).
    kept : set of int or None
    """
    model, image, spots, edges, kept, track = {}, {}, [], [], None, None
    names = ("ID", "FRAME", "POSITION_X", "POSITION_Y", "POSITION_Z")
    frame = None
    for event, element in iterparse(path, events=("start", "end"), forbid_dtd=True):
        tag = element.tag
        if event == "start":
            if tag == "Model":
                model = dict(element.attrib)
            elif tag == "SpotsInFrame":
                frame = element.get("frame")
            elif tag == "Track":
                track = element.get("TRACK_ID")
            elif tag == "FilteredTracks":
                kept = set()
        else:
            if tag == "Spot":
                spots.append([element.get(name, frame if name == "FRAME" else None) for name in names])
            elif tag == "Edge":
                edges.append((track, element.get("SPOT_SOURCE_ID"), element.get("SPOT_TARGET_ID")))
            elif tag == "TrackID" and kept is not None:
                kept.add(element.get("TRACK_ID"))
            elif tag == "ImageData":
                image = dict(element.attrib)
            if tag in ("Spot", "SpotsInFrame", "Edge", "Track", "TrackID"):
                element.clear()  # a session of a million spots fits
    spots = pd.DataFrame(spots, columns=names).apply(pd.to_numeric, errors="coerce")
    edges = pd.DataFrame(edges, columns=["track_id", "source", "target"])
    kept = None if kept is None else set(pd.to_numeric(pd.Series(sorted(map(str, kept)), dtype=str), errors="coerce"))
    return model, image, spots, edges.apply(pd.to_numeric, errors="coerce"), kept


def find_spots(spots, ids, path) -> np.ndarray:
    """Rows of `spots` that have these ids.

    Raises
    ------
    InputError
        If one is not there, or stands there twice.
    """
    own = spots["ID"].to_numpy(dtype=np.float64)
    order = np.argsort(own)
    if (np.diff(own[order]) == 0).any():
        raise InputError(f"{path}: two spots have the same ID.")
    wanted = ids.to_numpy(dtype=np.float64)
    place = np.minimum(np.searchsorted(own[order], wanted), len(own) - 1) if len(own) else np.zeros(len(wanted), int)
    if not len(own) or (own[order][place] != wanted).any():
        raise InputError(f"{path}: an edge joins a spot that is not in the file.")
    return order[place]


def unbranched(source, target, track, frame):
    """Cut a graph of spots where an edge leaves a spot that others leave, or enters one that others enter.

    Parameters
    ----------
    source, target : (E,) array of int
        Spots that each edge joins, the earlier one first.
    track : (E,) array
        Track of each edge.
    frame : (N,) array
        Of all spots.

    Returns
    -------
    spots, track_id : (M,) array of int
        Spots that any edge touches, in order, and the unbranched track that each is in.
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
