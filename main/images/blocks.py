"""The TIFF blocks of a folder: which there are, what each holds, and their units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from main.images.tiff import read_movie
from main.utils.errors import InputError, make_printable
from main.utils.files import sha256

ENDINGS = (".tif", ".tiff")
MAX_PIXELS = 2**24  # of all frames of a block, 64 MiB as 4-byte numbers; 256 frames of 256 x 256
BLOCK_NAME = re.compile(r"block-\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """A file of F frames of one molecule.

    Parameters
    ----------
    path : Path
    acquisition : str
        What stands before `block-NUMBER` in its name; such files share a camera and a point spread function. Empty for
        other names.
    shape : tuple of int
        F, H, W.
    sha256 : str
    pixel_size_um, frame_interval_s : float or None
        As the file declares them.
    warnings : tuple of str
        Sentences.
    """

    path: Path
    acquisition: str
    shape: tuple[int, int, int]
    sha256: str
    pixel_size_um: float | None
    frame_interval_s: float | None
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the file, printable."""
        return make_printable(self.path.name)


def find_blocks(folder: Path) -> list[Path]:
    """List the TIFF files of a folder by name; InputError if there is no folder, or no such file in it."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder}: {what}, expected a folder of TIFF files, one for each molecule.")
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error}).") from error
    if not paths:
        raise InputError(f"{folder}: holds no .tif file; give the folder in which the blocks themselves stand.")
    return paths


def name_block(path: Path) -> str:
    """Return `block-NUMBER` as a file name holds it, in small letters; the name without ending where there is none."""
    found = BLOCK_NAME.search(path.name)
    return found.group().lower() if found else path.stem


def find_first_name(paths: Iterable[Path]) -> str:
    """Return the first block name: that of the lowest number, then by letters."""
    return min((name_block(path) for path in paths), key=_sort_key)


def _sort_key(name: str) -> list:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def check_block(path: Path) -> Block:
    """Read a file whole, and say what it holds.

    Raises
    ------
    InputError
        If it is damaged, or not frames over time of one channel, 4 or more of 24 x 24 pixels or more.
    """
    frames, movie = read_movie(path)
    if frames.size > MAX_PIXELS:
        raise InputError(
            f"{path}: has {movie.n_frames} frames of {movie.width} x {movie.height} pixels, expected a block of "
            f"at most {MAX_PIXELS:,} pixels around one molecule; python main/localise.py reads whole movies."
        )
    found = BLOCK_NAME.search(path.name)
    acquisition = path.name[: found.start()] if found else ""
    return Block(
        path,
        acquisition,
        frames.shape,
        sha256(path),
        movie.pixel_size_um,
        movie.frame_interval_s,
        movie.warnings,
    )


def read_frames(block: Block) -> np.ndarray:
    """Read the frames of a block, (F, H, W) float32; InputError if it has changed its size since `check_block`."""
    frames = read_movie(block.path)[0]
    if frames.shape != block.shape:
        raise InputError(f"{block.path}: has changed while it was read; try again.")
    return frames


def settle_unit(blocks: list[Block], name: str, option: str, told: float | None) -> float | None:
    """Return pixel size or frame interval of all blocks: what is told, else what the files declare.

    Parameters
    ----------
    blocks : list of Block
    name : str
        Field of `Block`.
    option : str
        Name of the option that tells it.
    told : float, optional

    Raises
    ------
    InputError
        If files declare different values and none is told.
    """
    if told is not None:
        return told
    known = [block for block in blocks if getattr(block, name) is not None]
    if not known:
        return None
    value = getattr(known[0], name)
    for block in known:
        if not math.isclose(getattr(block, name), value, rel_tol=1e-3):
            raise InputError(
                f"{block.path}: declares {option} {getattr(block, name):g}, but {known[0].name} {value:g}; give "
                f"{option}, or put them into folders of their own."
            )
    return value
