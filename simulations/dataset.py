"""Labelled tracks as data sets, in memory (`TrackDataset`) or read piece by piece from Parquet (`LazyTrackDataset`).

Both give the same items, one dictionary of tensors per track, which `collate` pads to a batch. Positions and
localisation error are in px, K in px^2/frame^alpha.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from simulations.files import write_atomically
from simulations.parameters import MODELS, STATES

DTYPES = {
    "xy": torch.float32,
    "k": torch.float32,
    "alpha": torch.float32,
    "state": torch.int8,
    "offsets": torch.int64,
    "sigma": torch.float32,
    "model": torch.int8,
}
MAX_PX = 1e9  # of a coordinate: float32 holds it to 64 px, and its square is finite
MAX_K = 1e12  # px^2/frame^alpha: a million times the largest of any prior
LIMITS = {  # smallest and largest value of each column
    "x": (-MAX_PX, MAX_PX),
    "y": (-MAX_PX, MAX_PX),
    "k": (0, MAX_K),
    "alpha": (0, 2),
    "state": (0, len(STATES) - 1),
    "sigma": (0, MAX_PX),
    "model": (0, len(MODELS) - 1),
}
MIN_LENGTH = 2  # frames of a track; one of a single frame has no step


class TrackDataset(Dataset):
    """n labelled tracks with N frames in total, as tensors in memory or memory-mapped from a file.

    Parameters
    ----------
    xy : tensor (N, 2) float32
        Positions of all tracks, one after the other, px.
    k, alpha : tensor (N,) float32
        Labels of every frame; 0 where trapped.
    state : tensor (N,) int8
        Index into `STATES`.
    offsets : tensor (n + 1,) int64
        Track i holds frames offsets[i] to offsets[i + 1].
    sigma : tensor (n,) float32
        Localisation error, px; nan where unknown.
    model : tensor (n,) int8
        Index into `MODELS`.
    info : dict, optional
        Origin of the tracks: numbers, strings, lists and dictionaries.

    Raises
    ------
    ValueError
        If a tensor has the wrong type or length.
    """

    def __init__(self, xy, k, alpha, state, offsets, sigma, model, info: dict | None = None):
        self.xy, self.k, self.alpha, self.state = xy, k, alpha, state
        self.offsets, self.sigma, self.model = offsets, sigma, model
        self.info = dict(info or {})
        self.check()

    def check(self) -> None:
        """Raise ValueError unless all tensors are present and their shapes fit together."""
        for name, dtype in DTYPES.items():
            value = getattr(self, name, None)
            if not isinstance(value, torch.Tensor) or value.dtype != dtype:
                raise ValueError(f"a TrackDataset needs a tensor {name} of {dtype}")
        n_tracks, n_frames = len(self.offsets) - 1, len(self.xy)
        shapes = {"xy": (n_frames, 2), "sigma": (n_tracks,), "model": (n_tracks,), "offsets": (n_tracks + 1,)}
        for name in DTYPES:
            shape = shapes.get(name, (n_frames,))
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"tensor {name} of a TrackDataset should have shape {shape}")
        if n_tracks < 0 or self.offsets[0] != 0 or self.offsets[-1] != n_frames or (self.length < 1).any():
            raise ValueError("offsets of a TrackDataset should rise from 0 to the number of frames")

    @property
    def length(self) -> torch.Tensor:
        """Frames of every track, (n,) int64."""
        return self.offsets.diff()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Copy of one track: xy (T, 2), k, alpha, state (T,), sigma, model ()."""
        index = range(len(self))[index]  # IndexError beyond the end, negative ones from the end
        frames = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return {
            "xy": self.xy[frames].clone(),
            "k": self.k[frames].clone(),
            "alpha": self.alpha[frames].clone(),
            "state": self.state[frames].long(),
            "sigma": self.sigma[index].clone(),
            "model": self.model[index].long(),
        }

    def subset(self, indices: Sequence[int], info: dict | None = None) -> TrackDataset:
        """Copy the given tracks, in the given order, to a new data set."""
        indices = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        length = self.length[indices]
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
        shift = torch.repeat_interleave(self.offsets[indices] - offsets[:-1], length)
        rows = torch.arange(int(offsets[-1])) + shift
        frames = {name: getattr(self, name)[rows] for name in ("xy", "k", "alpha", "state")}
        tracks = {name: getattr(self, name)[indices] for name in ("sigma", "model")}
        info = self.info if info is None else info
        return TrackDataset(**frames, offsets=offsets, **tracks, info=info)

    def save(self, path) -> None:
        """Write the tensors and `info` as a plain dictionary with `torch.save`; `load_dataset` reads the file."""
        content = {name: getattr(self, name) for name in DTYPES} | {"info": self.info}
        write_atomically(path, lambda part: torch.save(content, part))

    @classmethod
    def from_parquet(cls, paths: Iterable, info: dict | None = None) -> TrackDataset:
        """Read tables with the columns track_id, x, y, k, alpha, state, sigma, model; rows of a track lie together.

        Raises
        ------
        ValueError
            If a file cannot be read, lacks a column, or holds a value that cannot be.
        """
        parts = [_from_table(_read(path), path) for path in _paths(paths)]
        steps = torch.cat([part.length for part in parts])
        columns = {n: torch.cat([getattr(part, n) for part in parts]) for n in DTYPES if n != "offsets"}
        return cls(**columns, offsets=torch.cat([steps.new_zeros(1), steps.cumsum(0)]), info=info)


class LazyTrackDataset(Dataset):
    """The items of `TrackDataset.from_parquet(paths)`, read from the files when they are needed, by row group.

    Only the number of tracks of each row group and the last few row groups are in memory. Read the items in the order
    that `order` gives: in a purely random order a whole row group is read for every track.

    Parameters
    ----------
    paths : path or list of paths
        Parquet files as written by `concat.py`: no track lies in two row groups.
    cached_groups : int
        Number of row groups that are kept in memory.

    Raises
    ------
    ValueError
        If a file cannot be read, lacks a column, or has a track in two row groups; and, when an item is read, if a
        value in its row group cannot be.
    """

    def __init__(self, paths: Iterable, cached_groups: int = 4):
        self.groups: list[tuple[Path, int, int]] = []  # file, row group, first row
        self.cached_groups = cached_groups
        self._cache: OrderedDict[int, TrackDataset] = OrderedDict()
        lengths = [group for path in _paths(paths) for group in self._track_lengths(path)]
        self.length = torch.as_tensor(np.concatenate([np.zeros(0, np.int64), *lengths]))  # frames of every track, (n,)
        self.first = np.cumsum([0, *map(len, lengths)])  # first track of every group

    def _track_lengths(self, path: Path) -> list[np.ndarray]:
        """Frames of the tracks of each row group."""
        lengths, first_ids, last, rows = [], [], None, 0
        for group in range(_open(path).metadata.num_row_groups):
            ids = _track_ids(_read(path, group, ["track_id"]), path)
            starts = _track_starts(ids)
            if len(ids) and ids[0] == last:
                raise ValueError(f"{path} cuts track {last} between row groups {group - 1} and {group}")
            last = ids[-1] if len(ids) else last
            lengths.append(np.diff(starts, append=len(ids)))
            first_ids.append(ids[starts])
            self.groups.append((path, group, rows))
            rows += len(ids)
        _check_unique(np.concatenate([np.zeros(0, np.int64), *first_ids]), path)
        return lengths

    def __len__(self) -> int:
        return int(self.first[-1])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Copy of one track, with the entries of `TrackDataset.__getitem__`."""
        index = range(len(self))[index]
        group = int(np.searchsorted(self.first, index, side="right")) - 1
        return self._group(group)[index - int(self.first[group])]

    def _group(self, group: int) -> TrackDataset:
        if group not in self._cache:
            path, row_group, first_row = self.groups[group]
            self._cache[group] = _from_table(_read(path, row_group), path, first_row)
            if len(self._cache) > self.cached_groups:
                self._cache.popitem(last=False)
        self._cache.move_to_end(group)
        return self._cache[group]

    def order(self, rng: np.random.Generator) -> Iterator[int]:
        """Yield every track once, in random order among the row groups that are in memory together."""
        groups = rng.permutation(len(self.groups))
        for start in range(0, len(groups), self.cached_groups):
            chosen = groups[start : start + self.cached_groups]
            tracks = np.concatenate([np.arange(self.first[g], self.first[g + 1]) for g in chosen])
            yield from rng.permutation(tracks).tolist()


def collate(items: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Pad tracks with zeros at the end and stack them to one batch.

    Returns
    -------
    dict
        float32: xy (B, T, 2), k (B, T), alpha (B, T), sigma (B,); int64: state (B, T), length, model (B,).
    """
    batch = {n: pad_sequence([i[n] for i in items], batch_first=True) for n in ("xy", "k", "alpha", "state")}
    batch["length"] = torch.tensor([len(i["xy"]) for i in items])
    return batch | {name: torch.stack([i[name] for i in items]) for name in ("sigma", "model")}


def load_dataset(path) -> TrackDataset:
    """Memory-map the file of a `TrackDataset`; nothing that the file may contain is executed.

    Raises
    ------
    ValueError
        If the file cannot be read, or holds anything but the tensors of a `TrackDataset` and plain containers, or a
        value that cannot be; the message names its row, counted from 1.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} is missing: make it with simulations/pickle_data.py")
    try:
        with torch.serialization.safe_globals(OLD_CLASSES):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged or foreign file can raise nearly anything
        raise ValueError(f"{path} is no TrackDataset, and nothing in it was run: {_first_line(error)}") from error
    content = vars(content) if isinstance(content, TrackDataset) else content
    expected = {*DTYPES, "info"}
    if not isinstance(content, dict) or content.keys() != expected or not isinstance(content["info"], dict):
        raise ValueError(f"{path} is no TrackDataset: expected a dictionary of {', '.join(sorted(expected))}")
    try:
        json.dumps(content["info"], allow_nan=False)
        dataset = TrackDataset(**content)
        columns = {name: getattr(dataset, name).numpy() for name in DTYPES}
    except (TypeError, ValueError, RuntimeError, RecursionError) as error:  # of tensors of unusual kinds, and of info
        raise ValueError(f"{path} is no TrackDataset: {_first_line(error)}") from None
    columns |= {"x": columns["xy"][:, 0], "y": columns["xy"][:, 1]}
    check_values(columns, path)
    _check_lengths(columns["offsets"], path)
    return dataset


def check_values(columns: dict[str, np.ndarray], path, first_row: int = 0) -> None:
    """Check that every value of a table of tracks is within `LIMITS`; only `sigma` may be nan.

    Raises
    ------
    ValueError
        If one is not; the message names file, row (counted from 1) and column.
    """
    for name, (low, high) in LIMITS.items():
        values = columns[name]
        good = (values >= low) & (values <= high)
        if name == "sigma":
            good |= np.isnan(values)
        elif name == "state" and not np.issubdtype(values.dtype, np.integer):
            good &= values == np.round(values)
        if not good.all():
            row = int(np.argmin(good))
            unknown = " or nan" if name == "sigma" else ""
            raise ValueError(
                f"{path}, row {first_row + row + 1} of {name}: {values[row]} is not a number from {low:g} to "
                f"{high:g}{unknown}"
            )


def _check_lengths(offsets: np.ndarray, path, first_row: int = 0) -> None:
    short = np.diff(offsets) < MIN_LENGTH
    if short.any():
        row = first_row + int(offsets[np.argmax(short)]) + 1
        raise ValueError(f"{path}, row {row}: a track of one frame, expected tracks of {MIN_LENGTH} frames or more")


# Files written before 2026-11-24 hold an object of this class, from either module. They are accepted in one more
# release; write them anew with `load_dataset(path).save(path)`.
OLD_CLASSES = [(TrackDataset, f"{module}.TrackDataset") for module in ("main.utils.dataset", "simulations.dataset")]


def _first_line(error: Exception) -> str:
    """Why torch refused a file, in one line."""
    if "mmap can only" in str(error):
        return "it was not written by TrackDataset.save"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "GLOBAL" in line]
    return (named or lines or [type(error).__name__])[0].split(" was not an allowed")[0].rstrip(".")


def _paths(paths) -> list[Path]:
    return [Path(p) for p in ([paths] if isinstance(paths, (str, Path)) else paths)]


def _open(path: Path):
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path} cannot be read as Parquet: {_first_line(error)}") from error


def _read(path: Path, group: int | None = None, columns: list[str] | None = None):
    file = _open(path)
    try:
        return file.read(columns) if group is None else file.read_row_group(group, columns)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path} cannot be read as Parquet: {_first_line(error)}") from error


def _column(table, name: str, path) -> np.ndarray:
    if table.column_names.count(name) != 1:
        raise ValueError(f"{path} has {'two columns' if name in table.column_names else 'no column'} {name}")
    kind = table.schema.field(name).type
    if name != "model" and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ValueError(f"{path}: column {name} holds {kind}, expected numbers")
    return table[name].to_numpy()


def _track_ids(table, path) -> np.ndarray:
    ids = _column(table, "track_id", path)
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{path}: column track_id should hold whole numbers, none of them missing")
    return ids


def _track_starts(track_id: np.ndarray) -> np.ndarray:
    """Numbers of the rows at which a new track begins."""
    return np.flatnonzero(np.r_[len(track_id) > 0, track_id[1:] != track_id[:-1]][: len(track_id)])


def _check_unique(ids: np.ndarray, path) -> None:
    """Raise ValueError if a track begins twice."""
    found, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{path}: the rows of track {found[np.argmax(counts)]} do not lie together")


def _check_frames(frame: np.ndarray, starts: np.ndarray, path, first_row: int) -> None:
    """Raise ValueError if a frame of a track is missing."""
    good = np.r_[True, frame[1:] == frame[:-1] + 1][: len(frame)]
    good[starts] = True
    if not good.all():
        row = first_row + int(np.argmin(good)) + 1
        raise ValueError(f"{path}, row {row} of frame: does not follow the frame before, and data have no gaps")


def _from_table(table, path, first_row: int = 0) -> TrackDataset:
    """Turn a track table (pyarrow), whose first row has this number in the file, into a data set."""
    ids = _track_ids(table, path)
    starts = _track_starts(ids)
    column = {name: _column(table, name, path) for name in LIMITS}
    unknown = set(column["model"]) - set(MODELS)
    if unknown:
        raise ValueError(f"{path} names an unknown model {unknown.pop()!r}")
    column["model"] = np.array([MODELS.index(m) for m in column["model"][starts]], dtype=np.int8)
    column["offsets"] = np.r_[starts, len(ids)]
    _check_unique(ids[starts], path)
    if "frame" in table.column_names:
        _check_frames(_column(table, "frame", path), starts, path, first_row)
    check_values(column, path, first_row)
    _check_lengths(column["offsets"], path, first_row)
    values = {n: column[n] for n in ("k", "alpha", "state", "offsets")} | {
        "xy": np.stack([column["x"], column["y"]], 1),
        "sigma": column["sigma"][starts],
        "model": column["model"],
    }
    return TrackDataset(**{n: torch.tensor(v, dtype=DTYPES[n]) for n, v in values.items()})
