"""Cases of XML: entities, encodings, huge attributes, units, sessions with damaged edges and splits."""

from __future__ import annotations

from functools import partial

from attack_cases import Case, Plan, Reading, infer, make_rows, may_read, must_read, must_refuse, write

FAMILY = "XML"
HEAD = '<?xml version="1.0" encoding="{}"?>\n'
ENCODINGS = (
    "UTF-8",
    "utf-8",
    "UTF-16",
    "ISO-8859-1",
    "US-ASCII",
    "windows-1252",
    "utf-7",
    "UTF-32",
    "cp037",
    "nope",
    "",
)
TIMES = {"sec": 1.0, "s": 1.0, "ms": 1e-3, "min": 60.0, "hour": 3600.0}


def simple(rows, head='<Tracks nTracks="{n}" spaceUnits="micron" frameInterval="0.02" timeUnits="sec">', counts=True):
    """The text of simple tracks."""
    tracks = list(dict.fromkeys(row[0] for row in rows))
    lines = [head.format(n=len(tracks))]
    for track in tracks:
        spots = [row for row in rows if row[0] == track]
        lines.append(f'<particle nSpots="{len(spots)}">' if counts else "<particle>")
        lines += [f'<detection t="{f}" x="{x}" y="{y}" z="0.0" />' for _, f, x, y in spots]
        lines.append("</particle>")
    return "\n".join([*lines, "</Tracks>"]) + "\n"


def session(rows, edges=None, kept=None, units="micron", interval="0.02"):
    """The text of a saved session: spots with numbers from 100, and edges between them."""
    tracks = list(dict.fromkeys(row[0] for row in rows))
    if edges is None:
        edges = [
            (a[0], 100 + i, 101 + i) for i, (a, b) in enumerate(zip(rows[:-1], rows[1:], strict=True)) if a[0] == b[0]
        ]
    frames = sorted({int(row[1]) for row in rows})
    lines = ['<TrackMate version="7.0">', f'<Model spatialunits="{units}" timeunits="sec"><AllSpots>']
    for frame in frames:
        lines.append(f'<SpotsInFrame frame="{frame}">')
        lines += [
            f'<Spot ID="{100 + i}" FRAME="{f}" POSITION_X="{x}" POSITION_Y="{y}" POSITION_Z="0.0" />'
            for i, (_, f, x, y) in enumerate(rows)
            if int(f) == frame
        ]
        lines.append("</SpotsInFrame>")
    lines.append("</AllSpots><AllTracks>")
    for track in tracks:
        lines.append(f'<Track TRACK_ID="{track}">')
        lines += [f'<Edge SPOT_SOURCE_ID="{a}" SPOT_TARGET_ID="{b}" />' for t, a, b in edges if t == track]
        lines.append("</Track>")
    lines.append("</AllTracks><FilteredTracks>")
    lines += [f'<TrackID TRACK_ID="{track}" />' for track in (tracks if kept is None else kept)]
    lines.append("</FilteredTracks></Model><Settings>")
    lines.append(f'<ImageData timeinterval="{interval}" pixelwidth="0.1" /></Settings></TrackMate>')
    return "\n".join(lines) + "\n"


UM = {"position": "um", "um_per_unit": 1.0, "frame_interval_s": 0.02}


def encode(encoding, folder, rng):
    """Declared encodings, of which some are unusual."""
    rows = make_rows(rng)
    text = (HEAD.format(encoding) if encoding else "") + simple(rows).replace(
        "micron", "µm" if encoding != "US-ASCII" else "um"
    )
    if encoding == "cp037":
        text = text.replace("µm", "um")
    data = text.encode(encoding if encoding not in ("nope", "") else "utf-8", "xmlcharrefreplace")
    usual = encoding in ("UTF-8", "utf-8", "ISO-8859-1", "US-ASCII", "UTF-16", "")
    return (must_read if usual else may_read)(folder, data, rows, "tracks.xml", **UM)


def lie_about_encoding(declared, real, folder, rng):
    """A declared encoding that is not the real one."""
    rows = make_rows(rng)
    data = (HEAD.format(declared) + simple(rows).replace("micron", "µm")).encode(real)
    return may_read(folder, data, rows, "tracks.xml", **UM)


def refuse_text(which, folder, rng):
    """XML that must not be read, or at least not expanded."""
    rows = make_rows(rng)
    body = simple(rows)
    laugh = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
    texts = {
        "billion laughs": f'<!DOCTYPE x [<!ENTITY a0 "ha">{laugh}]><Tracks a="&a9;"></Tracks>',
        "quadratic": f'<!DOCTYPE x [<!ENTITY a "{"a" * 100_000}">]><Tracks>{"&a;" * 1000}</Tracks>',
        "file entity": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Tracks>&a;</Tracks>',
        "URL entity": '<!DOCTYPE x [<!ENTITY a SYSTEM "http://127.0.0.1:9/x">]><Tracks>&a;</Tracks>',
        "outer DTD": f'<!DOCTYPE Tracks SYSTEM "http://127.0.0.1:9/x.dtd">{body}',
        "parameter entity": f'<!DOCTYPE x [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]>{body}',
        "unknown entity": body.replace("micron", "&mu;m"),
        "cut in an element": body[: len(body) // 2],
        "cut before the end": body.replace("</Tracks>", ""),
        "two roots": body + body,
        "text behind the end": body + "trailing",
        "text above": "x" + body,
        "attribute twice": body.replace('t="0"', 't="0" t="1"', 1),
        "broken quote": body.replace('x="', "x=", 1),
        "NUL": body.replace("<particle", "\0<particle", 1),
        "control character": body.replace("micron", "mi\x01cron"),
        "empty root": "<Tracks/>",
        "no detections": "<Tracks><particle/></Tracks>",
        "other root": body.replace("Tracks", "Root"),
        "HTML": "<html><body><table/></body></html>",
        "deep": "<Tracks>" + "<a>" * 200_000 + "</a>" * 200_000 + "</Tracks>",
        "attribute of 100 MB": f'<Tracks a="{"x" * 10**8}"></Tracks>',
        "text of 100 MB": f"<Tracks>{'x' * 10**8}</Tracks>",
        "comment of 50 MB": f"<Tracks><!--{'x' * 5 * 10**7}--></Tracks>",
        "name of 10 MB": f"<{'a' * 10**7}/>",
        "200,000 attributes": "<Tracks " + " ".join(f'a{i}="1"' for i in range(200_000)) + "/>",
        "empty": "",
        "declaration alone": HEAD.format("UTF-8"),
    }
    return must_refuse(folder, texts[which], "tracks.xml")


def change_value(attribute, value, folder, rng):
    """One attribute of a detection with a value that is no number, or is missing."""
    rows = make_rows(rng)
    i = {"t": 1, "x": 2, "y": 3}[attribute]
    row = rows[17]
    old = f'<detection t="{row[1]}" x="{row[2]}" y="{row[3]}"'
    new = old.replace(f' {attribute}="{row[i]}"', "" if value is None else f' {attribute}="{value}"')
    lines = simple(rows).split("\n")
    at = [k for k, line in enumerate(lines) if line.startswith(old)][0]
    lines[at] = lines[at].replace(old, new)
    return must_refuse(folder, "\n".join(lines), "tracks.xml")


def change_units(space, time, interval, folder, rng):
    """Units and the time between frames, as declared."""
    rows = make_rows(rng)
    head = f'<Tracks nTracks="4" spaceUnits="{space}" frameInterval="{interval}" timeUnits="{time}">'
    known = {"um": 1.0, "µm": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "inch": 25400.0, "pixel": None, "px": None}
    text = simple(rows, head)
    if space not in known:
        return must_refuse(folder, text, "tracks.xml")
    try:
        seconds = float(interval) * TIMES.get(time, float("nan"))
    except ValueError:
        return must_refuse(folder, text, "tracks.xml")
    position = {"um": "um", "µm": "um", "micron": "um", "pixel": "px"}.get(space, space)
    sane = 1e-9 < seconds < 1e7
    more = {"position": position, "um_per_unit": known[space], "frame_interval_s": seconds if sane else None}
    return may_read(folder, text, rows, "tracks.xml", **more)


def restructure(which, folder, rng):
    """Simple tracks with elements at odd places."""
    rows = make_rows(rng)
    text = simple(rows)
    first = text.index("<detection")
    spot = '<detection t="90" x="1" y="2" z="0" />'
    changed = {
        "comments": text.replace("<particle", "<!-- a --><particle"),
        "processing instruction": "<?xml version='1.0'?><?style a?>" + text,
        "CDATA": text.replace("</particle>", "<![CDATA[<detection/>]]></particle>", 1),
        "namespace": text.replace("<Tracks", '<Tracks xmlns="http://x.org/a"'),
        "prefix": text.replace("<detection", "<a:detection").replace("<Tracks", '<Tracks xmlns:a="http://x.org/a"'),
        "upper case": text.replace("detection", "Detection"),
        "detection in detection": text[:first]
        + "<detection t='91' x='1' y='1' z='0'>"
        + spot
        + "</detection>"
        + text[first:],
        "detection beside particle": text.replace("</Tracks>", spot + "</Tracks>"),
        "particle in particle": text.replace("</particle>", f"<particle nSpots='1'>{spot}</particle></particle>", 1),
        "group of particles": text.replace("<particle", "<group><particle").replace(
            "</particle>", "</particle></group>"
        ),
        "empty particle": text.replace("</Tracks>", '<particle nSpots="0"></particle></Tracks>'),
        "wrong nTracks": text.replace('nTracks="4"', 'nTracks="7"'),
        "wrong nSpots": text.replace('nSpots="12"', 'nSpots="13"', 1),
        "without counts": simple(rows, counts=False),
        "frame twice": text[:first] + f'<detection t="0" x="{rows[0][2]}" y="9" z="0" />' + text[first:],
        "without z": text.replace(' z="0.0"', ""),
        "more attributes": text.replace(' z="0.0"', ' z="0.0" q="1"'),
        "floating frames": text.replace('t="1"', 't="1.0"'),
    }[which]
    if which == "detection in detection":
        rows = [*rows, ["0", "91", "1", "1"], ["0", "90", "1", "2"]]
    must = ("comments", "processing instruction", "without z", "more attributes", "floating frames", "without counts")
    return (must_read if which in must else may_read)(folder, changed, rows, "tracks.xml", **UM)


def damage_session(which, folder, rng):
    """Saved sessions: whole, with splits and merges, and with edges and spots that do not fit."""
    rows = make_rows(rng)
    text = session(rows)
    edge = '<Edge SPOT_SOURCE_ID="100" SPOT_TARGET_ID="101" />'
    bad = {
        "edge to a spot that is missing": text.replace('TARGET_ID="105"', 'TARGET_ID="999"'),
        "edge without target": text.replace(' SPOT_TARGET_ID="105"', ""),
        "edge of text": text.replace('TARGET_ID="105"', 'TARGET_ID="abc"'),
        "edge to itself": text.replace(edge, '<Edge SPOT_SOURCE_ID="100" SPOT_TARGET_ID="100" />'),
        "edge twice": text.replace(edge, edge + edge),
        "edge and its reverse": text.replace(edge, edge + '<Edge SPOT_SOURCE_ID="101" SPOT_TARGET_ID="100" />'),
        "edge within a frame": text.replace(edge, edge + '<Edge SPOT_SOURCE_ID="100" SPOT_TARGET_ID="112" />'),
        "edge between tracks": text.replace(edge, edge + '<Edge SPOT_SOURCE_ID="103" SPOT_TARGET_ID="120" />'),
        "spot twice": text.replace('<Spot ID="105"', '<Spot ID="104"'),
        "spot without position": text.replace(f' POSITION_X="{rows[5][2]}"', ""),
        "spot of NaN": text.replace(f'POSITION_X="{rows[5][2]}"', 'POSITION_X="NaN"'),
        "spot without frame": text.replace('ID="105" FRAME="5"', 'ID="105"'),
        "spot in another frame": text.replace('ID="105" FRAME="5"', 'ID="105" FRAME="7"'),
        "track without number": text.replace('<Track TRACK_ID="1">', "<Track>"),
        "track of text": text.replace('<Track TRACK_ID="1">', '<Track TRACK_ID="a">'),
        "track twice": text.replace('<Track TRACK_ID="1">', '<Track TRACK_ID="0">'),
        "no track passed": session(rows, kept=[]),
        "unknown track passed": session(rows, kept=["77"]),
        "without edges": session(rows, edges=[]),
        "without model": text.replace("<Model", "<Other").replace("</Model", "</Other"),
        "cut": text[: len(text) * 2 // 3],
        "unit unknown": session(rows, units="furlong"),
        "interval of text": session(rows, interval="soon"),
        "interval negative": session(rows, interval="-1"),
        "ids of 2^53 and one more": text.replace('"100"', f'"{2**53}"').replace('"101"', f'"{2**53 + 1}"'),
        "spots without frames around": text.replace("SpotsInFrame", "Frame"),
    }
    if which == "whole":
        return must_read(folder, text, rows, "session.xml", **UM)
    if which == "filtered":
        kept = [row for row in rows if row[0] in "02"]
        return must_read(folder, session(rows, kept=["0", "2"]), kept, "session.xml", n_rows=len(rows), **UM)
    plan = may_read(folder, bad[which], rows, "session.xml", **UM)
    plan.check_d = False
    kept = [row for row in rows if row[0] != "1"]
    plan.readings += [Reading(rows, any_ids=True, **UM), Reading(kept, len(rows), **UM)]
    if which in ("edge to itself", "spot of NaN", "spot without position"):
        plan.readings += [Reading(rows[:i] + rows[i + 1 :], len(rows), any_ids=True, **UM) for i in (0, 5)]
    if which in (
        "edge within a frame",
        "edge between tracks",
        "track twice",
        "interval negative",
        "spot without frame",
        "spot in another frame",
    ):
        plan.check = count_spots
    return plan


def count_spots(folder) -> str:
    """Say whether spots are missing from the account of a session."""
    from attack_judge import read_result  # the judge imports the neighbours of this module

    counts = read_result(folder / "out")[0]["counts"]
    n_read = counts["points"] + sum(counts["dropped"].values())
    return "" if n_read == 48 else f"{n_read} spots read or dropped of 48"


def name_wrongly(ending, format, folder, rng):
    """XML under another ending, and other files under that of XML."""
    rows = make_rows(rng)
    options = ("--format", format) if format else ()
    name = write(folder, simple(rows), f"tracks.{ending}")
    return Plan(infer(name, *options), (name, "--format"), [Reading(rows, **UM)])


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values):
        text = ", ".join((build.__name__.replace("_", " "), *map(str, values)))
        cases.append(Case(FAMILY, text, partial(build, *values), quick="MB" not in text and "200,000" not in text))

    for encoding in ENCODINGS:
        add(encode, encoding)
    for declared, real in (("utf-8", "cp1252"), ("utf-16", "utf-8"), ("ascii", "utf-8"), ("utf-8", "utf-16")):
        add(lie_about_encoding, declared, real)
    for which in """billion laughs;quadratic;file entity;URL entity;outer DTD;parameter entity;unknown entity
            cut in an element;cut before the end;two roots;text behind the end;text above;attribute twice;broken quote
            NUL;control character;empty root;no detections;other root;HTML;deep;attribute of 100 MB;text of 100 MB
            comment of 50 MB;name of 10 MB;200,000 attributes;empty;declaration alone""".replace("\n", ";").split(";"):
        add(refuse_text, which.strip())
    for attribute in ("t", "x", "y"):
        for value in (None, "", "nan", "inf", "abc", "1,5", "1e999", "0x1"):
            add(change_value, attribute, value)
    for space in ("um", "µm", "micron", "nm", "pixel", "px", "mm", "", "inch"):
        add(change_units, space, "sec", "0.02")
    for time in ("s", "ms", "min", "hour", ""):
        add(change_units, "um", time, "20")
    for interval in ("nan", "0", "-1", "text", "1e-300", "1e300", "", "0,02"):
        add(change_units, "um", "sec", interval)
    for which in """comments;processing instruction;CDATA;namespace;prefix;upper case;detection in detection
            detection beside particle;particle in particle;group of particles;empty particle;wrong nTracks;wrong nSpots
            without counts;frame twice;without z;more attributes;floating frames""".replace("\n", ";").split(";"):
        add(restructure, which.strip())
    for which in """whole;filtered;edge to a spot that is missing;edge without target;edge of text;edge to itself
            edge twice;edge and its reverse;edge within a frame;edge between tracks;spot twice;spot without position
            spot of NaN;spot without frame;spot in another frame;track without number;track of text;track twice
            no track passed;unknown track passed;without edges;without model;cut;unit unknown;interval of text
            interval negative;ids of 2^53 and one more;spots without frames around""".replace("\n", ";").split(";"):
        add(damage_session, which.strip())
    for ending, format in (("csv", ""), ("csv", "trackmate-xml"), ("txt", ""), ("XML", ""), ("xml", "plain")):
        add(name_wrongly, ending, format)
    return cases
