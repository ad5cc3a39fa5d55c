"""Checks the tracks of one whole file before they are analysed: wrong points, drift, localisation error, in this order.

What is found does not depend on how the file is cut into blocks later. It goes to run.json and to the warnings.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from main.tracks.options import ESTIMATE
from main.tracks.quality.drift import Drift, estimate_drift
from main.tracks.quality.noise import NoiseEstimate, estimate_noise
from main.tracks.quality.outliers import find_wrong_points
from main.tracks.table import Tracks
from main.utils.errors import InputError

MAX_LISTED = 1000  # wrong points and jumps of a file in run.json
CHECKED = ("skipped", "jump")  # columns that are added to the table where they hold something
MIN_BIASING_EXPOSURE = 0.25  # of the frame interval; half of it changes alpha by .07 to .22
WRONG_POINTS = "wrong"  # reason under which they are counted among the dropped points


def check_tracks(
    tracks: Tracks, localization_error: float | str | None = None, exposure: float = 0.0, correct_drift: bool = False
) -> Tracks:
    """Leave out wrong points, estimate drift and localisation error, and say what contradicts what is given.

    Parameters
    ----------
    tracks : Tracks
        A whole file.
    localization_error : float or "estimate", optional
        As given, unit of x. With "estimate" the estimate becomes the localisation error of all points.
    exposure : float
        Share of the frame interval during which the shutter is open.
    correct_drift : bool
        Subtract the common drift from x and y, if it is larger than chance makes it.

    Returns
    -------
    Tracks
        Without wrong points, which are counted in `dropped`. Its table has two more columns if they hold something:
        skipped (bool), whether wrong points stood just before this point, and jump (bool), whether the step to this
        point is no motion. `quality` holds what was found, for run.json, and the warnings.

    Raises
    ------
    InputError
        If the localisation error shall be estimated and the tracks do not determine it.
    """
    tracks = replace(tracks, table=tracks.table.drop(columns=list(CHECKED), errors="ignore"))
    tracks, wrong = leave_out_wrong_points(tracks)
    drift = estimate_drift(tracks.table)
    corrected = correct_drift and drift.significant
    still = subtract_drift(tracks.table, drift) if drift.significant else tracks.table
    noise = estimate_noise(still, exposure)
    table = still if corrected else tracks.table
    used = localization_error
    if localization_error == ESTIMATE:
        used = noise.sigma
        if not noise.determined:
            raise InputError(refuse_estimate(tracks, noise))
        table = table.assign(sigma=used)
    elif localization_error is None and "sigma" in table:
        used = table["sigma"].median()
    sigma, sigma_warnings = describe_noise(tracks, noise, used)
    moved, drift_warnings = describe_drift(tracks, drift, corrected)
    quality = {
        "localization_error": sigma,
        "drift": moved,
        "wrong_points": wrong,
        "warnings": sigma_warnings + drift_warnings + warn_of_wrong_points(tracks, wrong),
    }
    return replace(tracks, table=table, quality=quality)


def leave_out_wrong_points(tracks: Tracks) -> tuple[Tracks, dict]:
    """Leave out points that are not on the path of their particle, and mark jumps; says which they are.

    Returns
    -------
    tracks : Tracks
    found : dict
        points and jumps: numbers; points_listed and jumps_listed: the first of them as (track_id, frame).
    """
    wrong, jump = find_wrong_points(tracks.table)
    found = {"points": int(wrong.sum()), "jumps": int(jump.sum())}
    for name, which in (("points_listed", wrong), ("jumps_listed", jump)):
        rows = tracks.table.loc[which, ["track_id", "frame"]].head(MAX_LISTED)
        found[name] = rows.to_numpy().tolist()
    if not (wrong.any() or jump.any()):
        return tracks, found
    table = tracks.table.assign(skipped=np.append(False, wrong[:-1]), jump=jump)[~wrong].reset_index(drop=True)
    dropped = tracks.dropped | ({WRONG_POINTS: found["points"]} if wrong.any() else {})
    return replace(tracks, table=table, dropped=dropped), found


def subtract_drift(table: pd.DataFrame, drift: Drift) -> pd.DataFrame:
    """Return the table with x and y relative to the field as it was in the first frame."""
    moved = drift.at(table["frame"].to_numpy())
    return table.assign(x=table["x"] - moved[:, 0], y=table["y"] - moved[:, 1])


def describe_noise(tracks: Tracks, noise: NoiseEstimate, used: float | None) -> tuple[dict, list[str]]:
    """Return the localisation error, as used and as estimated, for run.json, and a warning if they contradict."""
    used = None if used is None or np.isnan(used) else float(used)
    contradicted = used is not None and noise.contradicts(used)
    ends = [None if np.isnan(value) else value for value in (noise.sigma, noise.low, noise.high)]
    entry = {"unit": tracks.units.position, "used": used}
    entry |= dict(zip(("estimate", "low", "high"), ends, strict=True))
    entry |= {"determined": noise.determined, "contradicted": contradicted}
    if not contradicted:
        return entry, []
    advice = f"correct it or give --localization-error {ESTIMATE}" if noise.determined else "correct it"
    unit = tracks.units.position
    return entry, [
        f"{tracks.path}: the localisation error of {used:.3g} {unit} contradicts the tracks, whose steps show "
        f"{noise.sigma:.3g} {unit} (90 % interval {noise.low:.3g} to {noise.high:.3g}); {advice}."
    ]


def refuse_estimate(tracks: Tracks, noise: NoiseEstimate) -> str:
    """Return the sentence that refuses an estimate."""
    shown = "too few steps"
    if np.isfinite(noise.sigma):
        shown = f"90 % interval {noise.low:.3g} to {noise.high:.3g} {tracks.units.position}"
    return (
        f"{tracks.path}: the tracks do not determine the localisation error ({shown}), measure it on immobile "
        "particles and give its value to --localization-error."
    )


def describe_drift(tracks: Tracks, drift: Drift, corrected: bool) -> tuple[dict, list[str]]:
    """Return the drift for run.json, and a warning if it matters and stays in the positions."""
    known = np.isfinite(drift.velocity).all()
    entry = {
        "unit": f"{tracks.units.position}/frame",
        "velocity": drift.velocity.tolist() if known else None,
        "error": drift.error.tolist() if known else None,
        "varies": drift.varies,
        "tracks_affected": drift.affected,
        "matters": drift.matters,
        "corrected": corrected,
    }
    if corrected or not drift.matters:
        return entry, []
    speed, unit = f"{drift.largest:.3g}", tracks.units.position
    speed = f"up to {speed} {unit}" if drift.varies else f"{speed} +- {np.hypot(*drift.error):.2g} {unit}"
    return entry, [
        f"{tracks.path}: all tracks drift together by {speed} a frame, which changes K, alpha and state of "
        f"{100 * drift.affected:.0f} % of them; remove the drift with --correct-drift."
    ]


def warn_of_wrong_points(tracks: Tracks, found: dict) -> list[str]:
    """Return warnings that name the first wrong point and the first jump."""
    warnings = []
    if found["points"]:
        track, frame = found["points_listed"][0]
        warnings.append(
            f"{tracks.path}: {found['points']} points lie far off their tracks (the first: track {track}, frame "
            f"{frame}) and are left out; check how these spots were linked."
        )
    if found["jumps"]:
        track, frame = found["jumps_listed"][0]
        warnings.append(
            f"{tracks.path}: {found['jumps']} steps lead to another place (the first: track {track}, frame {frame}), "
            "where tracks are cut; check how these spots were linked."
        )
    return warnings


def warn_of_exposure(exposure: float) -> list[str]:
    """Return a warning if the exposure is long enough to bias what the networks find.

    The figures are those of misc/audit.md: 600 tracks of 100 frames, localisation error known, 0.2 of a step; alpha
    0.4, 1, 1.6.
    """
    if exposure < MIN_BIASING_EXPOSURE:
        return []
    return [
        f"The exposure of {exposure:g} frame intervals biases K, alpha and msd_1, because the networks take positions "
        "as instantaneous (a full exposure: alpha .17 to .40 too large, K times 1.8 to 2.2, msd_1 times .4 to 1.1; "
        "half of it: .07 to .22, 1.2 to 1.4, .6 to 1.1); rely on d_cve, which is corrected, or shorten the exposure."
    ]
