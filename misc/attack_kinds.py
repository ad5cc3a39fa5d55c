"""Cases of kinds of files: archives, images, pickles, links, pipes, devices, names and permissions."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from functools import partial

import numpy as np
import torch
from attack_cases import OPTIONS, Case, Plan, Reading, infer, join, make_rows, must_refuse, write

FAMILY = "kinds"
ENDINGS = ("csv", "csv.gz", "zip", "parquet", "xml", "txt", "")
NAMES = {
    "spaces": "my tracks  of  today.csv",
    "letters beyond ASCII": "µm_Zürich_軌跡.csv",
    "quotes": "a'b\"c.csv",
    "line end": "a\nb.csv",
    "tab": "a\tb.csv",
    "escape": "a\x1b[31mb.csv",
    "brackets": "a[1].csv",
    "star": "a*.csv",
    "question mark": "a?.csv",
    "percent": "a%s%d{0}.csv",
    "dollar": "$HOME.csv",
    "semicolon": "a;rm.csv",
    "HTML": "<b>a&b.csv",
    "long": "n" * 250 + ".csv"[:4],
    "hidden": ".csv",
    "only an ending": ".parquet",
    "backslash": "a\\b.csv",
    "right to left": "a\u202eb.csv",
    "not UTF-8": os.fsdecode(b"a\xff\xfeb.csv"),
    "ends with space": "tracks.csv ",
    "ends with dot": "tracks.csv.",
    "surrogate": os.fsdecode(b"\xed\xa0\x80.csv"),
    "comma": "a,b=c.csv",
    "colon": "C:tracks.csv",
    "URL": "http:tracks.csv",
}


def compress(text: bytes, how: str) -> bytes:
    """Pack a text as an archive or another kind of file."""
    buffer = io.BytesIO()
    if how == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("tracks.csv", text)
    elif how == "zip bomb":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("tracks.csv", b"0,0,1,1\n" * 10**7)
    elif how == "tar":
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("tracks.csv"), io.BytesIO(b""))
    elif how == "numpy":
        np.save(buffer, np.zeros((5, 4)))
    elif how == "npz":
        np.savez(buffer, x=np.zeros(5))
    elif how == "torch":
        torch.save({"x": torch.zeros(4)}, buffer)
    else:
        return {
            "gzip": lambda: gzip.compress(text),
            "gzip bomb": lambda: gzip.compress(b"0,0,1,1\n" * 10**7),
            "gzip, damaged": lambda: gzip.compress(text)[:-9],
            "xz": lambda: lzma.compress(text),
            "bz2": lambda: bz2.compress(text),
            "zlib": lambda: zlib.compress(text),
            "zstd": lambda: bytes.fromhex("28b52ffd") + text[:200],
            "lz4": lambda: bytes.fromhex("04224d18") + text[:200],
            "7z": lambda: b"7z\xbc\xaf\x27\x1c" + bytes(60),
            "rar": lambda: b"Rar!\x1a\x07\x00" + bytes(60),
            "pickle": lambda: pickle.dumps({"x": [1, 2]}),
            "png": lambda: b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + bytes(30),
            "jpeg": lambda: b"\xff\xd8\xff\xe0" + bytes(60),
            "tiff": lambda: b"II*\x00" + bytes(60),
            "pdf": lambda: b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
            "hdf5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(60),
            "xls": lambda: bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512),
            "elf": lambda: b"\x7fELF" + bytes(60),
            "html": lambda: b"<!DOCTYPE html><html><table><tr><td>1</td></tr></table></html>",
            "json": lambda: b'[{"track_id": 0, "frame": 0, "x": 1.0, "y": 2.0}]\n',
            "json of one object": lambda: b'{"tracks": [[0, 0, 1, 2]]}',
            "yaml": lambda: b"tracks:\n  - [0, 0, 1, 2]\n",
            "script": lambda: b"#!/bin/sh\necho 1,2,3\n",
            "random": lambda: np.random.default_rng(5).bytes(5000),
            "zeros": lambda: bytes(5000),
            "PAR1 alone": lambda: b"PAR1",
            "PAR1 twice": lambda: b"PAR1PAR1",
            "XML of nothing": lambda: b'<?xml version="1.0"?><a/>',
            "prose": lambda: b"This file has been moved to the server.\nAsk Anna.\n",
            "git conflict": lambda: b"<<<<<<< HEAD\n" + text + b"=======\n" + text + b">>>>>>> x\n",
            "git LFS": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        }[how]()
    return buffer.getvalue()


ARCHIVES = """zip;zip bomb;tar;numpy;npz;torch;gzip;gzip bomb;gzip, damaged;xz;bz2;zlib;zstd;lz4;7z;rar;pickle;png;jpeg
tiff;pdf;hdf5;xls;elf;html;json;json of one object;yaml;script;random;zeros;PAR1 alone;PAR1 twice;XML of nothing;prose
git conflict;git LFS"""


def pack(how, ending, folder, rng):
    """A file that is no table, under an ending of a table."""
    rows = make_rows(rng)
    name = f"tracks.{ending}".rstrip(".")
    text = compress(join(rows).encode(), how)
    plan = must_refuse(folder, text, name)
    if how in ("gzip", "xz", "bz2", "zip") and ending == "csv.gz":
        plan.readings = [Reading(rows)]  # it may also be unpacked
    return plan


def write_sqlite(folder, rng):
    """A data base."""
    connection = sqlite3.connect(folder / "tracks.csv")
    connection.execute("create table spots (track integer, x real)")
    connection.commit()
    connection.close()
    return Plan(infer("tracks.csv"), ("tracks.csv",))


def name_file(which, folder, rng):
    """A good table under an odd name."""
    rows, name = make_rows(rng), NAMES[which]
    os.makedirs(folder, exist_ok=True)
    (folder / name).write_text(join(rows))
    return Plan(infer(name), (name, repr(name), "name", "a b.csv", "\\x"), [Reading(rows)])


def name_nothing(which, folder, rng):
    """Paths without a file."""
    name = {
        "missing": "missing.csv",
        "missing folder": "no/such/folder/tracks.csv",
        "empty": "",
        "blank": " ",
        "dot": ".",
        "two dots": "..",
        "root": "/",
        "too long": "n" * 5000 + ".csv",
        "too long a part": "n" * 300 + ".csv",
        "NUL": "a\0b.csv",
        "pattern without match": "*.csv",
        "pattern that is broken": "[a.csv",
        "recursive pattern": "**/*.csv",
        "home": "~/tracks.csv",
        "URL": "https://localhost/tracks.csv",
        "s3": "s3://bucket/tracks.csv",
        "file URL": "file:///etc/passwd",
        "dash": "-",
        "not UTF-8": os.fsdecode(b"\xff.csv"),
        "stdin": "/dev/stdin",
        "file as folder": "a.csv/b.csv",
        "no file at all": None,
    }[which]
    if which == "file as folder":
        write(folder, "x", "a.csv")
    command = infer(name) if name is not None else ["infer", *OPTIONS]
    return Plan(command, () if not (name or "").strip() else (name[:50], "name", "path"))


def make_special(which, folder, rng):
    """Links, pipes, devices and folders in place of a file."""
    rows = make_rows(rng)
    good = write(folder, join(rows), "good.csv")
    path = folder / "tracks.csv"
    plan = Plan(infer("tracks.csv"), ("tracks.csv",))
    if which == "link to itself":
        path.symlink_to("tracks.csv")
    elif which == "links in a circle":
        path.symlink_to("b.csv")
        (folder / "b.csv").symlink_to("tracks.csv")
    elif which == "link to nothing":
        path.symlink_to("gone.csv")
    elif which == "link to a folder":
        path.symlink_to(".")
    elif which == "link to a file":
        path.symlink_to(good)
        plan = Plan(infer("tracks.csv"), None, [Reading(rows)])
    elif which == "hard link":
        os.link(folder / good, path)
        plan = Plan(infer("tracks.csv"), None, [Reading(rows)])
    elif which == "pipe":
        os.mkfifo(path)
    elif which == "pipe named Parquet":
        os.mkfifo(folder / "tracks.parquet")
        plan = Plan(infer("tracks.parquet"), ("tracks.parquet",))
    elif which == "folder":
        path.mkdir()
    elif which == "folder named XML":
        (folder / "tracks.xml").mkdir()
        plan = Plan(infer("tracks.xml"), ("tracks.xml",))
    elif which == "folder named Parquet":
        (folder / "tracks.parquet").mkdir()
        plan = Plan(infer("tracks.parquet"), ("tracks.parquet",))
    elif which.startswith("device"):
        name = which.removeprefix("device ")
        plan = Plan(infer(name), (name,))
    elif which == "same file twice":
        plan = Plan(["infer", good, good, *OPTIONS], (good,))
    elif which == "same file by a link":
        path.symlink_to(good)
        plan = Plan(["infer", good, "tracks.csv", *OPTIONS], (good, "tracks.csv"))
    elif which == "sparse file of 1 TB":
        with open(path, "wb") as file:
            file.truncate(10**12)
    return plan


def forbid(what, folder, rng):
    """Files and folders that the user may not read or write."""
    rows = make_rows(rng)
    write(folder, join(rows))
    inside = folder / "closed"
    inside.mkdir()
    plan = Plan(infer("tracks.csv"), ("tracks.csv", "out", "closed"), process={"as_nobody": True})
    if what == "file":
        (folder / "tracks.csv").chmod(0)
    elif what == "folder of the file":
        write(inside, join(rows))
        plan.command[1] = "closed/tracks.csv"
        inside.chmod(0)
    elif what == "folder of the results":
        inside.chmod(0o555)
        plan.command[3] = "closed/out"
    elif what == "results in a closed folder":
        inside.chmod(0)
        plan.command[3] = "closed/out"
    elif what == "one of two files":
        write(folder, join(rows), "b.csv")
        (folder / "b.csv").chmod(0)
        plan = Plan(["infer", "tracks.csv", "b.csv", *OPTIONS], ("b.csv",), process={"as_nobody": True})
    elif what == "readable alone":
        folder.chmod(0o555)
        plan.command[3] = str(folder / "out")
    return plan


def list_cases() -> list[Case]:
    """All cases of this family."""
    cases = []

    def add(build, *values, quick=True):
        text = ", ".join((build.__name__.replace("_", " "), *values))
        cases.append(Case(FAMILY, text, partial(build, *values), quick=quick))

    for i, how in enumerate(ARCHIVES.replace("\n", ";").split(";")):
        others = {ENDINGS[i % 7], ENDINGS[(i + 3) % 7], *(("csv.gz",) if how in ("gzip", "xz", "zip") else ())}
        for ending in sorted({"csv", *others}):
            add(pack, how, ending, quick="bomb" not in how)
    add(write_sqlite)
    for which in NAMES:
        add(name_file, which)
    for which in """missing;missing folder;empty;blank;dot;two dots;root;too long;too long a part;NUL
            pattern without match;pattern that is broken;recursive pattern;home;URL;s3;file URL;dash;not UTF-8;stdin
            file as folder;no file at all""".replace("\n", ";").split(";"):
        add(name_nothing, which.strip())
    for which in """link to itself;links in a circle;link to nothing;link to a folder;link to a file;hard link;pipe
            pipe named Parquet;folder;folder named XML;folder named Parquet;device /dev/null;device /dev/zero
            device /dev/urandom;device /proc/self/mem;device /proc/self/maps;device /dev/full;same file twice
            same file by a link;sparse file of 1 TB""".replace("\n", ";").split(";"):
        add(make_special, which.strip())
    closed = ("file", "folder of the file", "folder of the results", "results in a closed folder", "one of two files")
    for what in (*closed, "readable alone"):
        add(forbid, what)
    return cases
