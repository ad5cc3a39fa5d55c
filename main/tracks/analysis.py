"""From tracks to result tables: the page that reads top to bottom.

`analyse` takes a table in memory, `main.tracks.pipeline.infer_files` takes files. Both call `analyse_tracks`, which
alone knows the order of the steps.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from main.tracks.inference.calibration import intervals_of_tracks
from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.immobile import decide_immobile
from main.tracks.inference.predictor import load_predictor
from main.tracks.options import DEFAULT_WEIGHTS, ESTIMATE, MIN_LENGTH, check_values
from main.tracks.pieces import cut_pieces, every_frame
from main.tracks.quality.check import check_tracks, warn_of_exposure
from main.tracks.reading.formats import read_table
from main.tracks.results.tables import Results, add_motion, points_and_segments, track_rows
from main.tracks.samples.read import analyse_sample
from main.tracks.table import Tracks, with_units
from main.utils.errors import InputError


def analyse(
    table,
    *,
    pixel_size_um=None,
    frame_interval_s=None,
    localization_error=None,
    exposure=0.0,
    correct_drift=False,
    columns=None,
    weights=None,
    adapt="none",
    min_length=MIN_LENGTH,
    device="auto",
    progress=False,
) -> Results:
    """Analyse a table of tracks in memory: `main/infer.py` from a notebook.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per point. Columns as in any of the CSV formats (found by their names, or named by `columns`).
    pixel_size_um : float, optional
        Micrometres per pixel. Without it positions are in pixels, unless the column names say otherwise (`x_um`,
        `y [nm]`).
    frame_interval_s : float, optional
        Seconds between frames. Without it times are in frames.
    localization_error : float or "estimate", optional
        Standard deviation per coordinate, in the unit of x and y. Used instead of the table's error columns.
    exposure, correct_drift
        As in `main.tracks.pipeline.infer_files`.
    columns : dict, optional
        track_id, frame, x, y -> column name.
    weights, adapt, min_length, device, progress
        As in `main.tracks.pipeline.infer_files`.

    Returns
    -------
    Results
        points, segments and tracks as `main/infer.py` writes them; quality is what the tracks show of wrong points,
        drift and localisation error, with all warnings.

    Raises
    ------
    InputError
        One sentence that says what is wrong.
    """
    check_values(pixel_size_um, frame_interval_s, localization_error, min_length, adapt, exposure)
    tracks = read_table(table, "the table", columns=columns, frame_interval=frame_interval_s)
    tracks = with_units(tracks, pixel_size_um, frame_interval_s)
    tracks = check_tracks(tracks, localization_error, exposure, correct_drift)
    predictor, config = load_predictor(weights or DEFAULT_WEIGHTS[adapt], device)
    check_features([tracks], config)
    sigma = None if localization_error == ESTIMATE else localization_error
    results = analyse_tracks(tracks, predictor, config, min_length, sigma, progress, adapt == "sample", exposure)
    results.check_finite("the table")
    warnings = tracks.warnings + tracks.quality["warnings"] + warn_of_exposure(exposure)
    return replace(results, quality=tracks.quality | {"warnings": warnings})


def analyse_tracks(
    tracks: Tracks,
    predictor,
    config: dict,
    min_length=MIN_LENGTH,
    sigma=None,
    progress=False,
    adapt=False,
    exposure=0.0,
) -> Results:
    """Predict, segment and tabulate every track of one file.

    Parameters
    ----------
    tracks : Tracks
    predictor : main.tracks.inference.predictor.Predictor
    config : dict
        Configuration of the weights (options of the segmentation, training range, calibration).
    min_length : int
        Tracks with fewer points get no segments; neither do pieces between long gaps with fewer points.
    sigma : float, optional
        Localisation error, unit of x. By default the error columns of the file, if it has any.
    progress : bool
        Show a progress bar.
    adapt : bool
        Analyse all tracks together, as one sample.
    exposure : float
        Share of the frame interval during which the shutter is open, for `d_cve`.

    Returns
    -------
    Results
        K, D and MSD in the units of `tracks.units`; x and y as in the file. The interval of K carries the error of
        alpha along; that of msd_1, the MSD at one frame, is narrower.
    """
    pieces = cut_pieces(tracks.table, min_length)  # a row for each part of a track between long gaps
    sigmas = track_sigma(tracks, sigma)
    analysed = pieces[pieces["analysed"]]
    paths = piece_positions(tracks.table, analysed)
    errors = sigmas[analysed["track_id"]].to_numpy()
    if adapt:
        predictions, segmented, sample = analyse_sample(predictor, config, paths, errors, progress)
    else:
        predictions, sample = predictor.predict(paths, errors, progress), None
        segmented = segment_many(predictions, config)
    predictions, segmented, unclear = decide_immobile(predictions, segmented, paths, errors)
    segmented = intervals_of_tracks(predictions, segmented, config.get("calibration", {}))
    points, segments = points_and_segments(tracks.table, analysed, predictions, segmented)
    segments = add_motion(points, segments, sigmas)
    unclear = analysed.loc[unclear, "track_id"]
    by_track = track_rows(tracks, pieces, points, segments, sigmas, config, exposure, unclear)
    return Results(points, segments, by_track, sample).in_units(tracks.units)


def track_sigma(tracks: Tracks, sigma: float | None) -> pd.Series:
    """Localisation error of each track: the given one, or the median of the file's errors of its points, or NaN."""
    ids = tracks.table["track_id"]
    if sigma is not None:
        return pd.Series(float(sigma), index=pd.Index(ids.unique(), name="track_id"))
    points = tracks.table["sigma"] if "sigma" in tracks.table else pd.Series(np.nan, tracks.table.index)
    return points.groupby(ids).median()


def piece_positions(table: pd.DataFrame, pieces: pd.DataFrame) -> list[np.ndarray]:
    """Positions of each piece at every frame, shape (T, 2), NaN where the particle was not seen."""
    frame, xy = table["frame"].to_numpy(), table[["x", "y"]].to_numpy()
    rows = [slice(*ends) for ends in pieces[["first", "last"]].to_numpy()]
    return [every_frame(xy[row], frame[row]) for row in rows]


def check_features(files, config: dict) -> None:
    """Raise InputError for positions that the weights' features cannot read."""
    for file in files:
        if config.get("features") == "m3" and file.units.position != "px":
            raise InputError(
                f"{file.path}: positions are in {file.units.position}, expected pixels, which "
                "these weights were trained in; take other --weights."
            )
