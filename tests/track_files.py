"""Track tables written in every format that is read, for the tests of readers."""

import numpy as np
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


def mdf(table, clusters=2):
    """MTrackJ's data file of version 1.5.1; tracks are dealt out to clusters and numbered in each."""
    lines = ["MTrackJ 1.5.1 Data File", "Displaying true true true 1 2 0 3 100 4 0 0 0 2 1 12 0 true true true false"]
    lines += ["Assembly 1 FF0000"]
    for cluster in range(clusters):
        lines += [f"Cluster {cluster + 1} FF0000"]
        inside = table[table["track_id"] % clusters == cluster]
        for number, (_, track) in enumerate(inside.groupby("track_id"), 1):
            lines += [f"Track {number} FFFF00 true"]
            points = track[["frame", "x", "y"]].itertuples(index=False)
            lines += [f"Point {i} {x!r} {y!r} 1.0 {frame + 1:.1f} 1.0" for i, (frame, x, y) in enumerate(points, 1)]
    return "\n".join([*lines, "End of MTrackJ Data File"]) + "\n"


def write_mtrackj_table(table, path, interval=0.03, unit="µm"):
    """MTrackJ's table of points, which ImageJ saves with tabs and rounds to three digits; PID counts points."""
    names = ["Nr", "TID", "PID", f"x [{unit}]", f"y [{unit}]", "t [sec]", "I [val]", f"D2S [{unit}]", "α [deg]"]
    points = table.groupby("track_id").cumcount() + 1
    rows = zip(
        range(1, len(table) + 1), table["track_id"] + 1, points, table["x"], table["y"], table["frame"], strict=True
    )
    lines = [f"{n}\t{t}\t{p}\t{x!r}\t{y!r}\t{f * interval:.3f}\t99\t0\tNA" for n, t, p, x, y, f in rows]
    path.write_text("\n".join(["\t".join(names), *lines]) + "\n", encoding="utf-8")


def write_imaris(table, path, unit="um"):
    """Imaris' Position.csv: three lines above the header, an empty column at the end, a spot in no track."""
    head = (
        "\nPosition\n ==================== \nPosition X,Position Y,Position Z,Unit,Category,Collection,Time,TrackID,ID,"
    )
    rows = table[["x", "y", "frame", "track_id"]].itertuples(index=False)
    lines = [f"{x!r},{y!r},0,{unit},Spot,Position,{f + 1},{10**9 + t},{i}," for i, (x, y, f, t) in enumerate(rows)]
    path.write_text(
        "\n".join([head, *lines, f"1.5,2.5,0,{unit},Spot,Position,1,,{len(table)},"]) + "\n", encoding="utf-8"
    )


def icy(groups):
    """Icy's tracks from tables of track_id, frame, x, y and optionally type, one for each track group."""
    text = ['<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<root>\n<trackfile version="1"/>']
    for place, table in enumerate(groups):
        text += [f'<trackgroup description="Run{place}">']
        for name, track in table.groupby("track_id"):
            kinds = track["type"] if "type" in track else [1] * len(track)
            rows = zip(track["frame"], track["x"], track["y"], kinds, strict=True)
            text += [f'<track id="{name}">']
            text += [
                '<detection classname="plugins.nchenouard.particletracking.DetectionSpotTrack" color="-6553856" '
                f't="{t}" type="{kind}" x="{x!r}" y="{y!r}" z="0"/>'
                for t, x, y, kind in rows
            ]
            text += ["</track>"]
        text += ["</trackgroup>"]
    return "\n".join([*text, "<linklist/>\n</root>"])


def write_mosaic_table(table, path):
    """MosaicSuite's Traj_*.csv, a results table of ImageJ, whose first column numbers the rows and has no name."""
    rows = table[["track_id", "frame", "x", "y"]].itertuples(index=False)
    lines = [f"{i},{t + 1},{f},{x!r},{y!r},0,4.2,2.1,5.3,15.3,48.2,9.4" for i, (t, f, x, y) in enumerate(rows, 1)]
    path.write_text("\n".join([" ,Trajectory,Frame,x,y,z,m0,m1,m2,m3,m4,NPscore", *lines]) + "\n")


def mosaic_report(table, unit="pixel"):
    """MosaicSuite's report of all trajectories, Traj_*.txt."""
    lines = ["% Configuration:", "% \tKernel radius: 3", "% Frames information:", "% \tWidth : 128 pixel", ""]
    lines += [
        "%\tPer frame information (verbose output):",
        "% Trajectory linking (verbose output):",
        "",
        "%% Trajectories:",
    ]
    lines += ["%%\t 1st column: frame number", f"%%\t 2nd column: x coordinate top-down({unit})"]
    lines += [
        f"%%\t 3rd column: y coordinate left-right({unit})",
        f"%%\t 4th column: z coordinate bottom-top({unit})",
        "",
    ]
    for name, track in table.groupby("track_id"):
        head = f"%% frame x ({unit})     y ({unit})    z ({unit})      m0         m1           m2           s "
        lines += [f"%% Trajectory {name + 1}", head]
        points = track[["frame", "x", "y"]].itertuples(index=False)
        lines += [f"{f} {x:.6f} {y:.6f} 0.000000 4.2 2.1 5.3 15.3 48.2 9.4" for f, x, y in points]
        lines += [""]
    return "\n".join(lines)


def utrack(compounds):
    """u-track's tracksFinal, as scipy.io.savemat takes it.

    compounds: list of (segments, events): segments is a list of {frame: (x, y, dx)}, events the rows of seqOfEvents.
    """
    final = np.empty(
        (len(compounds), 1), dtype=[(name, object) for name in ("tracksFeatIndxCG", "tracksCoordAmpCG", "seqOfEvents")]
    )
    for place, (segments, events) in enumerate(compounds):
        first, last = min(map(min, segments)), max(map(max, segments))
        held = np.full((len(segments), last - first + 1, 8), np.nan)
        for row, segment in enumerate(segments):
            for frame, (x, y, error) in segment.items():
                held[row, frame - first] = x, y, 0, 0.01, error, error, 0, 0.001
        final[place, 0] = (
            1.0 * ~np.isnan(held[:, :, 0]),
            held.reshape(len(segments), -1),
            np.array(events, dtype=float),
        )
    return {"tracksFinal": final}


def write_utrack(table, path, error=0.1):
    """One compound track of one segment for each track; frames from 1."""
    from scipy.io import savemat

    compounds = []
    for _, track in table.groupby("track_id"):
        segment = {f + 1: (x, y, error) for f, x, y in track[["frame", "x", "y"]].itertuples(index=False)}
        compounds.append(([segment], [[min(segment), 1, 1, np.nan], [max(segment), 2, 1, np.nan]]))
    savemat(path, utrack(compounds), do_compression=True)
