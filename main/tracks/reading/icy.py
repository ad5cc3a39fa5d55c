"""Icy's tracks, as its Track Manager saves them (XML).

Sources: https://byotrack.readthedocs.io/en/stable/icy.html (`load_tracks`) for the elements, and the class
plugins.nchenouard.spot.Detection of Icy for the attribute `type`: 1 is detected, 2 is virtual (interpolated).
"""

import pandas as pd

from main.tracks.reading.elements import iterate_elements
from main.tracks.reading.points import POINT_COLUMNS, build_tracks
from main.tracks.table import Tracks
from main.utils.errors import InputError

VIRTUAL = "2"  # Detection.DETECTIONTYPE_VIRTUAL_DETECTION


def read_icy(path) -> Tracks:
    """Read Icy's tracks: elements `detection` with t, x, y, z, in a `track` of a `trackgroup`.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Tracks
        Positions in pixels; frame is t, from 0. Virtual detections, which Icy put into gaps, are dropped and counted.
        Where groups use the same numbers, tracks are numbered in the order of the file. Tracks that are linked at
        splits and merges are different tracks in the file, and stay so.

    Raises
    ------
    InputError
        If the XML is broken or a detection has no number, see also `main.tracks.table.validate`.
    """
    points, tracks, n_links, above = [], [], 0, []
    dropped = {"virtual": 0, "in no track": 0}
    for event, tag, attributes in iterate_elements(path):
        if event == "end":
            above.pop()
            continue
        if tag == "track":
            tracks.append(attributes.get("id", ""))
        elif tag == "detection" and above[-1:] != ["track"]:
            dropped["in no track"] += 1
        elif tag == "detection" and attributes.get("type") == VIRTUAL:
            dropped["virtual"] += 1
        elif tag == "detection":
            points.append((len(tracks) - 1, *_parse_detection(attributes, tracks[-1], path)))
        elif above[-1:] == ["track"]:
            raise InputError(
                f"{path}: track {tracks[-1][:20]} holds an element '{tag[:20]}', expected detections; export the "
                "tracks again."
            )
        n_links += tag == "link"
        above.append(tag)
    linked = f"{path}: {n_links} links between tracks (splits and merges) are not followed."
    table = pd.DataFrame(points, columns=POINT_COLUMNS)
    return build_tracks(table, tracks, path, "icy", dropped, warnings=[linked] if n_links else [])


def _parse_detection(attributes: dict[str, str], track: str, path) -> tuple[float, float, float, float]:
    """Return t, x, y, z of an element `detection`."""
    try:
        return tuple(float(attributes.get(name, "nan" if name == "z" else "")) for name in "txyz")
    except ValueError as error:
        held = " ".join(f'{name}="{attributes.get(name, "")[:20]}"' for name in "txyz")
        raise InputError(
            f"{path}: a detection of track {track[:20]} holds {held}, expected a number each; export the tracks again."
        ) from error
