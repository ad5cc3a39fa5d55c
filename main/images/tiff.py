"""Reads movies and blocks of frames from TIFF files, some frames at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from defusedxml import ElementTree

from main.utils.errors import InputError

MIN_FRAMES, MIN_SIDE_PX = 4, 24
MAX_FRAME_PIXELS = 2**26  # 8,192 x 8,192; a damaged header may declare any number
CHUNK_BYTES = 2**25  # of the frames that are read at a time, as 4-byte numbers
FRAME_AXES = "TIQRZ"  # letters of tifffile: time, index, other, other, depth
MAX_CHANNELS = 8  # more are frames over time: tifffile writes them so for ImageJ where no axes are given
AXIS_NAMES = {"C": "channels", "Z": "depths (z)", "T": "times", "S": "colours", "P": "positions", "R": "tiles"}
DAMAGE = ("invalid page offset", "corrupt", "invalid value offset", "failed to reshape")  # in tifffile's log
UM_PER_UNIT = {
    **dict.fromkeys(("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
}  # no cm and no inch: ImageJ takes them from the print resolution of an image
S_PER_UNIT = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
}


@dataclass(frozen=True)
class Movie:
    """An open movie of F frames of H x W pixels; frames are read when they are asked for.

    Parameters
    ----------
    path : Path
    n_frames, height, width : int
    dtype : numpy.dtype
        Of the file; frames are always read as float32.
    pixel_size_um, frame_interval_s : float or None
        As the file declares them, um and s; None if it does not.
    warnings : tuple of str
        One sentence each.
    """

    path: Path
    n_frames: int
    height: int
    width: int
    dtype: np.dtype
    pixel_size_um: float | None
    frame_interval_s: float | None
    warnings: tuple[str, ...]
    _file: tifffile.TiffFile
    _pages: list
    _data_offset: int | None  # of all frames, if they stand one behind the other without compression

    def read(self, first: int, n: int) -> np.ndarray:
        """Read some frames.

        Parameters
        ----------
        first, n : int
            Number of the first frame, from 0, and how many frames; fewer where the movie ends.

        Returns
        -------
        numpy.ndarray of float32, shape (n, H, W)

        Raises
        ------
        InputError
            If the file is damaged there, needs a decoder that is not installed, or holds a value that is no number.
        """
        n = min(n, self.n_frames - first)
        with _refuse_damage(self.path), np.errstate(over="ignore", invalid="ignore"):
            if self._data_offset is not None:
                frames = self._read_contiguous(first, n)
            else:
                frames = np.empty((n, self.height, self.width), np.float32)
                for i, page in enumerate(self._pages[first : first + n]):
                    frames[i] = self._read_page(page)
        if not np.isfinite(frames).all():
            bad = first + int(np.nonzero(~np.isfinite(frames).all((1, 2)))[0][0])
            raise InputError(
                f"{self.path}: frame {bad} (from 0) holds a pixel that is no finite number (NaN, infinite or beyond "
                "32 bits); replace it, or export the movie again."
            )
        return frames

    def chunks(self, frames_at_once: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Read all frames in parts; yields the number of the first frame, and frames (n, H, W)."""
        at_once = frames_at_once or max(1, CHUNK_BYTES // (4 * self.height * self.width))
        for first in range(0, self.n_frames, at_once):
            yield first, self.read(first, at_once)

    def sample(self, n: int) -> np.ndarray:
        """Read at most n frames, evenly spread over the movie in runs of up to `MIN_FRAMES`; (n, H, W)."""
        if self.n_frames <= n:
            return self.read(0, n)
        starts = np.linspace(0, self.n_frames - MIN_FRAMES, max(1, n // MIN_FRAMES)).astype(int)
        return np.concatenate([self.read(int(first), MIN_FRAMES) for first in np.unique(starts)])

    def _read_contiguous(self, first: int, n: int) -> np.ndarray:
        dtype = self.dtype.newbyteorder(self._file.byteorder)
        pixels = self.height * self.width
        handle = self._file.filehandle
        handle.seek(self._data_offset + first * pixels * dtype.itemsize)
        values = np.frombuffer(handle.read(n * pixels * dtype.itemsize), dtype)
        return values.reshape(n, self.height, self.width).astype(np.float32)

    def _read_page(self, page) -> np.ndarray:
        ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends) > self._file.filehandle.size:
            raise ValueError("the file ends within a frame")
        return page.asarray().reshape(self.height, self.width).astype(np.float32)


@contextmanager
def open_movie(path: str | Path, min_frames: int = MIN_FRAMES) -> Iterator[Movie]:
    """Open a TIFF file of grey frames over time: ImageJ, OME, BigTIFF, or one page for each frame.

    Parameters
    ----------
    path : path
    min_frames : int
        Fewest frames that are accepted.

    Yields
    ------
    Movie

    Raises
    ------
    InputError
        If it is no TIFF file, is damaged, or holds colours, channels, depths, too few frames or too small frames.
    """
    path = Path(path)
    _check_file(path)
    with _refuse_damage(path) as log:
        file = tifffile.TiffFile(path)
    with file:
        with _refuse_damage(path) as log:
            n_pages = len(file.pages)  # reads the whole chain of pages
            series = file.series
        if n_pages == 0 or any(word in message for message in log for word in DAMAGE):
            raise InputError(_damaged(path))
        yield _describe(path, file, series, min_frames)


def read_movie(path: str | Path, min_frames: int = MIN_FRAMES) -> tuple[np.ndarray, Movie]:
    """Read all frames of a small file, (F, H, W) float32, with its `Movie`, which is closed; see `open_movie`."""
    with open_movie(path, min_frames) as movie:
        return movie.read(0, movie.n_frames), movie


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as handle:
            start = handle.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if start[:2] not in (b"II", b"MM") or not {42, 43} & set(start[2:]):
        raise InputError(f"{path}: is no TIFF file; save the movie as TIFF, for example with ImageJ.")


def _damaged(path: Path) -> str:
    return f"{path}: is damaged or not complete; copy it or export it again."


@contextmanager
def _refuse_damage(path: Path) -> Iterator[list[str]]:
    """Turn what tifffile raises for a damaged file into an InputError; yields what tifffile logs meanwhile."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger, propagate = logging.getLogger("tifffile"), logging.getLogger("tifffile").propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield messages
    except InputError:
        raise
    except Exception as error:  # tifffile raises nearly anything on damaged bytes
        if "imagecodecs" in str(error):
            raise InputError(
                f"{path}: is compressed in a way that cannot be read without the package imagecodecs; save it "
                "uncompressed, or run pip install imagecodecs."
            ) from error
        raise InputError(_damaged(path)) from error
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _describe(path: Path, file: tifffile.TiffFile, series: list, min_frames: int) -> Movie:
    """Check what the file holds, and return it as a movie."""
    first = series[0]
    separate = len(series) > 1 and all(s.axes == "YX" for s in series)  # written frame by frame
    if len(series) > 1 and not (separate and len({(s.shape, s.dtype) for s in series}) == 1):
        raise InputError(
            f"{path}: holds {len(series)} images of different sizes or kinds, expected frames of one movie; save them "
            "apart."
        )
    warnings = []
    height, width, n_frames = _check_axes(path, first, len(series) if separate else 1, min_frames, warnings)
    _check_values(path, first)
    offset = None if separate else first.dataoffset
    with _refuse_damage(path):
        pages = [s.pages[0] for s in series] if separate else list(first.pages) if offset is None else []
    if any(page is None for page in pages):
        raise InputError(f"{path}: frames of it are in other files, which are missing; give one file with all frames.")
    if offset is not None and first.dataoffset + first.nbytes > file.filehandle.size:
        raise InputError(_damaged(path))
    if offset is None and len(pages) != n_frames:
        raise InputError(f"{path}: has {len(pages)} pages for {n_frames} frames, expected one for each; export again.")
    with _refuse_damage(path):
        pixel_size, interval = read_calibration(file, warnings, path)
    return Movie(path, n_frames, height, width, first.dtype, pixel_size, interval, tuple(warnings), file, pages, offset)


def _check_axes(path, series, n_series: int, min_frames: int, warnings: list[str]) -> tuple[int, int, int]:
    """Return height, width and number of frames of a series, or refuse it."""
    sizes = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "YX"]
    colours = dict(sizes).get("S", 1)
    if colours > 1:
        raise InputError(
            f"{path}: has {colours} colours for each pixel, expected grey values; export it as 16-bit grey."
        )
    rest = [(axis, size) for axis, size in sizes if axis not in "YX"]
    if "X" not in series.axes or "Y" not in series.axes or len(rest) > 1:
        shown = ", ".join(f"{size} {AXIS_NAMES.get(axis, f'along axis {axis}')}" for axis, size in rest)
        raise InputError(f"{path}: has {shown}, expected frames over time only; save one channel and one depth of it.")
    axis, n_frames = rest[0] if rest else ("T", n_series)
    many = axis == "C" and n_frames > MAX_CHANNELS
    if axis not in FRAME_AXES and not many:
        raise InputError(
            f"{path}: has {n_frames} {AXIS_NAMES.get(axis, f'images along axis {axis}')}, expected frames over time; "
            "save one of them, or set the number of frames in Image > Properties of ImageJ."
        )
    if axis == "Z" or many:
        warnings.append(f"{path}: calls its {n_frames} frames {AXIS_NAMES[axis]}; they are taken as frames over time.")
    if n_frames < min_frames:
        raise InputError(
            f"{path}: has {n_frames} frame{'s' * (n_frames != 1)}, expected a movie of {min_frames} or more."
        )
    height, width = (dict(sizes)[axis] for axis in "YX")
    if min(height, width) < MIN_SIDE_PX:
        raise InputError(
            f"{path}: has frames of {width} x {height} pixels, expected {MIN_SIDE_PX} x {MIN_SIDE_PX} or more; cut a "
            "larger field."
        )
    if height * width > MAX_FRAME_PIXELS:
        raise InputError(
            f"{path}: has frames of {width} x {height} pixels, expected {MAX_FRAME_PIXELS:,} pixels at most; cut it."
        )
    return height, width, n_frames


def _check_values(path, series) -> None:
    if series.dtype is None or series.dtype.kind not in "uif":
        kind = {"c": "complex", "b": "black or white"}.get(getattr(series.dtype, "kind", ""), "unknown")
        raise InputError(f"{path}: has {kind} values, expected grey values; save it as 16-bit grey.")
    if series.keyframe.photometric == tifffile.PHOTOMETRIC.RGB:
        raise InputError(f"{path}: has colours, expected grey values; export it as 16-bit grey.")


def read_calibration(file: tifffile.TiffFile, warnings: list[str], path) -> tuple[float | None, float | None]:
    """Return the pixel size, um, and the frame interval, s, that a file declares; None for what it does not.

    The resolution of a plain TIFF is that of a print, and the frame rate of ImageJ (fps) that of the display: neither
    is used.

    Source: OME model 2016-06, Pixels; ImageJ, ij.io.FileInfo.
    """
    if file.is_ome:
        x, y, interval = _read_ome(file)
    elif file.is_imagej:
        x, y, interval = _read_imagej(file)
    else:
        return None, None
    if x is not None and y is not None and not math.isclose(x, y, rel_tol=1e-3):
        warnings.append(f"{path}: declares pixels of {x:g} x {y:g} um, which are not square; their size is not used.")
        x = None
    return _positive(x), _positive(interval)


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _read_ome(file) -> tuple[float | None, float | None, float | None]:
    pixels = next(
        (e for e in ElementTree.fromstring(file.ome_metadata).iter() if e.tag.rpartition("}")[2] == "Pixels"), None
    )
    if pixels is None:
        return None, None, None

    def convert(name, units, default):
        unit = pixels.get(f"{name}Unit", default).strip().lower()
        value = pixels.get(name)
        return None if value is None or unit not in units else float(value) * units[unit]

    lengths = [convert(f"PhysicalSize{axis}", UM_PER_UNIT, "um") for axis in "XY"]
    return *lengths, convert("TimeIncrement", S_PER_UNIT, "s")


def _read_imagej(file) -> tuple[float | None, float | None, float | None]:
    metadata, tags = file.imagej_metadata or {}, file.pages[0].tags
    length = UM_PER_UNIT.get(str(metadata.get("unit", "")).strip().lower())
    sizes = []
    for axis in "XY":
        tag = tags.get(f"{axis}Resolution")
        pixels, per = tag.value if tag is not None and length is not None else (0, 1)
        sizes.append(length * per / pixels if pixels else None)
    interval, unit = metadata.get("finterval"), str(metadata.get("tunit", "s")).strip().lower()
    known = isinstance(interval, int | float) and unit in S_PER_UNIT
    return *sizes, interval * S_PER_UNIT[unit] if known else None
