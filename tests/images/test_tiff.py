"""TIFF files: what is read, what is refused and in which words, damaged files, memory."""

import tracemalloc

import numpy as np
import pytest
import tifffile

from main.images.tiff import open_movie, read_movie
from main.utils.errors import InputError

FRAMES = np.random.default_rng(1).poisson(9, (8, 40, 50)).astype(np.uint16)


def write_frame_by_frame(path, frames, **options):
    with tifffile.TiffWriter(path) as writer:
        for frame in frames:
            writer.write(frame, **options)


WRITERS = {
    "imagej": lambda path: tifffile.imwrite(path, FRAMES, imagej=True, metadata={"axes": "TYX"}),
    "imagej_slices": lambda path: tifffile.imwrite(path, FRAMES, imagej=True, metadata={"axes": "ZYX"}),
    "ome": lambda path: tifffile.imwrite(path, FRAMES, ome=True, metadata={"axes": "TYX"}),
    "tifffile": lambda path: tifffile.imwrite(path, FRAMES),
    "plain": lambda path: tifffile.imwrite(path, FRAMES, metadata=None),
    "compressed": lambda path: tifffile.imwrite(path, FRAMES, metadata=None, compression="zlib"),
    "tiles": lambda path: tifffile.imwrite(path, FRAMES, tile=(16, 16), compression="zlib"),
    "bigtiff": lambda path: tifffile.imwrite(path, FRAMES, bigtiff=True),
    "big_endian": lambda path: tifffile.imwrite(path, FRAMES, byteorder=">"),
    "separate": lambda path: write_frame_by_frame(path, FRAMES),
    "separate_plain": lambda path: write_frame_by_frame(path, FRAMES, metadata=None),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_is_read_whole_and_in_parts(kind, tmp_path):
    path = tmp_path / "movie.tif"
    WRITERS[kind](path)
    frames, movie = read_movie(path)
    np.testing.assert_array_equal(frames, FRAMES)
    assert frames.dtype == np.float32 and (movie.n_frames, movie.height, movie.width) == FRAMES.shape
    assert bool(movie.warnings) == (kind == "imagej_slices")
    with open_movie(path) as movie:
        parts = list(movie.chunks(3))
        assert [first for first, _ in parts] == [0, 3, 6]
        np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), FRAMES)
        np.testing.assert_array_equal(movie.sample(4), FRAMES[:4])


def test_many_channels_are_frames(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.concatenate([FRAMES, FRAMES]), imagej=True)  # tifffile calls them channels
    frames, movie = read_movie(path)
    np.testing.assert_array_equal(frames[:8], FRAMES)
    assert "16 frames channels" in movie.warnings[0]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
def test_kinds_of_numbers(dtype, tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, FRAMES.astype(dtype))
    np.testing.assert_array_equal(read_movie(path)[0], FRAMES)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("share", [0.1, 0.55, 0.999])
def test_a_file_that_is_cut_is_refused(kind, share, tmp_path):
    path = tmp_path / "movie.tif"
    WRITERS[kind](path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    try:
        frames, _ = read_movie(path)
    except InputError as error:
        assert str(path) in str(error)
    else:  # only what stands behind the last frame was cut
        np.testing.assert_array_equal(frames, FRAMES)
        assert share == 0.999


def test_calibration_is_read_where_it_is_declared(tmp_path):
    path = tmp_path / "movie.tif"
    micron = {"axes": "TYX", "unit": "micron", "finterval": 20.0, "tunit": "ms"}
    tifffile.imwrite(path, FRAMES, imagej=True, resolution=(10, 10), metadata=micron)
    assert read_calibration(path) == (pytest.approx(0.1), pytest.approx(0.02))
    ome = {"axes": "TYX", "PhysicalSizeX": 157.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 157.0}
    ome |= {"PhysicalSizeYUnit": "nm", "TimeIncrement": 0.02}
    tifffile.imwrite(path, FRAMES, ome=True, metadata=ome)
    assert read_calibration(path) == (pytest.approx(0.157), pytest.approx(0.02))


def read_calibration(path):
    movie = read_movie(path)[1]
    return movie.pixel_size_um, movie.frame_interval_s


def test_a_calibration_is_never_guessed(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, FRAMES, resolution=(300, 300), resolutionunit="inch")
    assert read_calibration(path) == (None, None)
    tifffile.imwrite(
        path, FRAMES, imagej=True, resolution=(300, 300), metadata={"axes": "TYX", "unit": "inch", "fps": 10.0}
    )
    assert read_calibration(path) == (None, None)
    tifffile.imwrite(path, FRAMES, imagej=True, resolution=(10, 5), metadata={"axes": "TYX", "unit": "um"})
    assert read_calibration(path) == (None, None)
    assert "not square" in read_movie(path)[1].warnings[0]


def write_nan(path):
    frames = FRAMES.astype(np.float32)
    frames[5, 3, 3] = np.nan
    tifffile.imwrite(path, frames)


REFUSED = {
    "no TIFF file": lambda path: path.write_text("x,y\n1,2\n"),
    "No such file": lambda path: None,
    "has 3 colours": lambda path: tifffile.imwrite(path, np.zeros((8, 40, 50, 3), np.uint8), photometric="rgb"),
    "has 1 frame, expected a movie of 4": lambda path: tifffile.imwrite(path, FRAMES[0]),
    "has 3 frames": lambda path: tifffile.imwrite(path, FRAMES[:3], photometric="minisblack"),
    "8 times, 2 channels": lambda path: tifffile.imwrite(
        path, np.stack([FRAMES, FRAMES], 1), imagej=True, metadata={"axes": "TCYX"}
    ),
    "8 times, 2 depths": lambda path: tifffile.imwrite(
        path, np.stack([FRAMES, FRAMES], 1), ome=True, metadata={"axes": "TZYX"}
    ),
    "has 8 channels": lambda path: tifffile.imwrite(path, FRAMES, imagej=True, metadata={"axes": "CYX"}),
    "expected 24 x 24": lambda path: tifffile.imwrite(path, FRAMES[:, :23]),
    "complex": lambda path: tifffile.imwrite(path, FRAMES.astype(np.complex64)),
    "black or white": lambda path: tifffile.imwrite(path, FRAMES > 5),
    "frame 5 .* no finite number": write_nan,
    "is no TIFF": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused_in_one_sentence(words, tmp_path):
    path = tmp_path / "movie.tif"
    REFUSED[words](path)
    with pytest.raises(InputError, match=words) as raised:
        read_movie(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", WRITERS)
def test_damaged_bytes_give_a_sentence_or_frames(kind, tmp_path):
    path = tmp_path / "movie.tif"
    WRITERS[kind](path)
    data, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(20):
        changed = bytearray(data)
        places = np.concatenate([rng.integers(4, 400, 2), rng.integers(4, len(data), 2)])
        for place in places:
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            frames, _ = read_movie(path)
        except InputError as error:
            assert str(path) in str(error)
        else:
            assert frames.ndim == 3 and np.isfinite(frames).all()


def test_memory_is_that_of_a_part(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.zeros((2_000, 64, 64), np.uint16))  # 16 MB
    tracemalloc.start()
    with open_movie(path) as movie:
        n = sum(len(frames) for _, frames in movie.chunks(50))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 2_000 and peak < 8e6
