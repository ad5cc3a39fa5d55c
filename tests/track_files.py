"""Track tables written in every format that is read, for the tests of readers."""

import pandas as pd


def write_plain(table, path):
    table.to_csv(path, index=False)


def write_semicolons(table, path):
    names = {"track_id": "Trajectory ID", "frame": "Frame", "x": "X [px]", "y": "Y [px]"}
    table.rename(columns=names).to_csv(path, sep=";", index=False)


def write_parquet(table, path):
    table.to_parquet(path)


def write_andi(table, path):
    table.rename(columns={"track_id": "traj_idx"}).astype(float).to_csv(path, index=False)


def write_trackpy(table, path):
    table.rename(columns={"track_id": "particle"}).astype({"particle": float})[["y", "x", "frame", "particle"]].to_csv(
        path
    )


def write_trackpy_indexed(table, path):
    """As trackpy leaves it after a groupby: the frame in the index."""
    table.rename(columns={"track_id": "particle"}).set_index("frame")[["y", "x", "particle"]].to_csv(path)


def write_napari(table, path):
    table.rename(columns={"track_id": "ID", "frame": "T", "x": "X", "y": "Y"}).astype(float)[
        ["ID", "T", "Y", "X"]
    ].to_csv(path, index=False)


def write_saspt(table, path):
    extra = pd.DataFrame({"track_id": [-1, -1], "frame": [0, 0], "x": [1.0, 2.0], "y": [3.0, 4.0]})
    pd.concat([table, extra]).rename(columns={"track_id": "trajectory"})[["y", "x", "frame", "trajectory"]].to_csv(
        path, index=False
    )


def write_spoton(table, path):
    table.rename(columns={"track_id": "trajectory"}).assign(t=table["frame"] * 0.01)[
        ["frame", "t", "trajectory", "x", "y"]
    ].to_csv(path, index=False)


def write_trackmate(table, path):
    """As TrackMate 7 writes it: three description rows, unlinked spots blank."""
    names = ["LABEL", "TRACK_ID", "POSITION_X", "POSITION_Y", "POSITION_T", "FRAME"]
    lines = [
        ",".join(names),
        "Label,Track ID,X,Y,T,Frame",
        "Label,Track ID,X,Y,T,Frame",
        ",,(micron),(micron),(ms),",
        "ID0,,1.0,1.0,0,0",
    ]
    lines += [f"ID1,{track},{x!r},{y!r},{frame * 20},{frame}" for track, frame, x, y in table.itertuples(index=False)]
    path.write_text("\n".join(lines) + "\n")


WRITERS = {
    "plain": ("csv", write_plain),
    "semicolons": ("csv", write_semicolons),
    "parquet": ("parquet", write_parquet),
    "andi": ("csv", write_andi),
    "trackpy": ("csv", write_trackpy),
    "saspt": ("csv", write_saspt),
    "spoton": ("csv", write_spoton),
    "trackmate-csv": ("csv", write_trackmate),
    "napari": ("csv", write_napari),
    "trackpy-indexed": ("csv", write_trackpy_indexed),
}


def xml(table, n_tracks=None, root="Tracks"):
    particles = []
    for _, track in table.groupby("track_id"):
        spots = "".join(
            f'<detection t="{t}" x="{x!r}" y="{y!r}" z="0.0"/>'
            for t, x, y in track[["frame", "x", "y"]].itertuples(index=False)
        )
        particles.append(f'<particle nSpots="{len(track)}">{spots}</particle>')
    declared = n_tracks or len(particles)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} nTracks="{declared}" spaceUnits="µm" '
        f'frameInterval="60.0" timeUnits="ms">{"".join(particles)}</{root}>'
    )


def session(spots, edges, kept=None, head='spatialunits="µm" timeunits="sec"', image='timeinterval="0.05"'):
    """The file's text from spots {id: (frame, x, y)} and edges {track: [(source, target)]}."""
    frames = {}
    for name, (frame, x, y) in spots.items():
        spot = f'<Spot ID="{name}" FRAME="{frame}" POSITION_X="{x!r}" POSITION_Y="{y!r}" POSITION_Z="0.0" QUALITY="9"/>'
        frames.setdefault(frame, []).append(spot)
    spot_text = "".join(f'<SpotsInFrame frame="{f}">{"".join(s)}</SpotsInFrame>' for f, s in frames.items())
    track_text = "".join(
        f'<Track name="Track_{track}" TRACK_ID="{track}">'
        + "".join(f'<Edge SPOT_SOURCE_ID="{a}" SPOT_TARGET_ID="{b}"/>' for a, b in own)
        + "</Track>"
        for track, own in edges.items()
    )
    kept = edges if kept is None else kept
    filtered = "".join(f'<TrackID TRACK_ID="{track}"/>' for track in kept)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><TrackMate version="7.11.1"><Log>x</Log><Model {head}>'
        f'<AllSpots nspots="{len(spots)}">{spot_text}</AllSpots><AllTracks>{track_text}</AllTracks>'
        f"<FilteredTracks>{filtered}</FilteredTracks></Model>"
        f'<Settings><ImageData filename="a.tif" pixelwidth="0.1" {image}/></Settings></TrackMate>'
    )


def chain(first, n, frame=0):
    """Spots first, first + 1, ... at successive frames, and the edges between them."""
    spots = {first + i: (frame + i, float(first + i), 0.5 * i) for i in range(n)}
    return spots, [(first + i, first + i + 1) for i in range(n - 1)]
