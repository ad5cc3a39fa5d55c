"""Rows of the audit about the microscope and the linking: exposure, sigma, drift, wrong points, what is left out."""

import os
import tempfile
from pathlib import Path

import numpy as np
from audit_motion import ALPHAS, MSD_1, D, true_k
from audit_rows import (
    COVERAGE_OR_MORE,
    FREE,
    TRAPPED,
    Cell,
    Row,
    count,
    frame_states,
    has_warning,
    longest_segments,
    make_cell,
    mean,
    median,
    read,
    read_files,
    run_warns,
    share,
    state_share_of_frames,
    yes,
)
from known_tracks import STEP, beads, blurred, drift, fractional, localise, spike

from main.tracks.pipeline import infer_files
from main.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
REAL_TRACKS = Path(os.environ.get("TRACEWISE_TRACKS", ROOT.parent / "shared" / "data" / "tracks"))
REAL_PIXEL_UM, REAL_FRAME_S = 0.16, 0.00748  # of the HaloTag-NLS movies (saSPT)
SPIKE_STEPS = 300
FILE_TRACKS = 100  # of a file whose sigma is wrong or estimated, at every scale
FIELD = 50.0  # um; where tracks are, when one of their points is put at (0, 0)
NEIGHBOURS = 10  # frames around a wrong point that may suffer
UNCHANGED = (0.9, 1.1)  # ratio to what the same tracks give without the disturbance
MIN_HARM = 0.1  # error of alpha from which a wrong sigma must be warned of, chosen
ALWAYS, NEVER = (0.95, None), (None, 0.1)  # share of tracks or runs with a warning


def motion_rows(results, alpha: float, text: str, warned: float = 0.0) -> list[Row]:
    """Bias of alpha, K and msd_1: medians over the longest segment of each track, without targets."""
    rows = longest_segments(results)
    return [
        Row("alpha - truth", text, median(rows["alpha"] - alpha), None, warned),
        Row("K / truth", text, median(rows["k"] / true_k(alpha)), None, warned),
        Row("msd_1 / truth", text, median(rows["msd_1"] / MSD_1), None, warned),
    ]


def measure_exposure(exposure, known, rng, scale) -> list[Row]:
    """Tracks that the exposure blurs, with the exposure given."""
    rows, sigma = [], 0.2 * STEP
    for alpha in ALPHAS:
        tracks = localise(blurred(count(600, scale), 100, alpha, exposure, rng), sigma, rng)
        results, record = read_files(tracks, sigma if known else None, exposure=exposure)
        told = "known" if known else "unknown"
        text = f"alpha {alpha:g}, exposure {exposure:g}, given, 100 frames, noise .2, sigma {told}"
        warned = run_warns(record, "exposure")
        rows += motion_rows(results, alpha, text, float(warned))
        if alpha == 1:
            rows.append(Row("d_cve / D", text, mean(results.tracks["d_cve"] / D), (0.97, 1.03), float(warned)))
        if exposure == 1:
            rows.append(Row("warned of the exposure (1: yes)", text, yes(warned), (1, 1)))
    return rows


def measure_wrong_sigma(noise, factor, rng, scale) -> list[Row]:
    """A localisation error that the tracks contradict."""
    rows, sigma, repetitions, n = [], noise * STEP, count(10, scale), FILE_TRACKS
    for alpha in ALPHAS:
        text = f"alpha {alpha:g}, {n} tracks of 100 frames, noise {noise:g}, sigma given {factor:g} x the truth"
        warned, biases = [], []
        for _ in range(repetitions):
            tracks = localise(fractional(n, 100, alpha, rng), sigma, rng)
            results, record = read_files(tracks, factor * sigma)
            warned.append(run_warns(record, "localisation error", "contradict"))
            biases.append(longest_segments(results)[["alpha", "k"]])
        alphas, ks = (np.concatenate([b[name] for b in biases]) for name in ("alpha", "k"))
        bias = median(alphas - alpha)
        harmful = ALWAYS if abs(bias.value) >= MIN_HARM else None
        rows.append(Row("runs that warn of sigma", text, share(warned), NEVER if factor == 1 else harmful))
        if factor != 1:
            rows.append(Row("alpha - truth", text, bias, None, np.mean(warned)))
            rows.append(Row("K / truth", text, median(ks / true_k(alpha)), None, np.mean(warned)))
    return rows


def measure_sigma(noise, rng, scale) -> list[Row]:
    """Sigma that the tool estimates."""
    rows, sigma, repetitions, n = [], noise * STEP, count(40, scale), FILE_TRACKS
    for alpha in ALPHAS:
        found = [estimate_sigma(localise(fractional(n, 100, alpha, rng), sigma, rng)) for _ in range(repetitions)]
        given = [f for f in found if f]
        text = f"alpha {alpha:g}, {n} tracks of 100 frames, noise {noise:g}, --localization-error estimate"
        rows.append(Row("runs that give an estimate (the others refuse)", text, share([f is not None for f in found])))
        if not given:
            continue
        values, lows, highs = np.array(given).T
        width = f"median upper / lower end {np.median(highs / np.maximum(lows, 1e-12)):.2f}"
        rows.append(Row("estimated sigma / truth", text, mean(values / sigma)))
        hits = (lows <= sigma) & (sigma <= highs)
        rows.append(Row("sigma inside its 90 % interval", text, share(hits), COVERAGE_OR_MORE, 0.0, width))
    return rows


def estimate_sigma(tracks) -> tuple[float, float, float] | None:
    """Estimate of sigma and its interval, from run.json; None if the tool refuses to estimate it."""
    try:
        entry = read_files(tracks, "estimate")[1]["localization_error"][0]
    except InputError:
        return None
    return entry["estimate"], entry["low"], entry["high"]


def measure_drift(name, speed, rng, scale) -> list[Row]:
    """A drift that all tracks share; `speed` in steps a frame."""
    sigma, n = 0.2 * STEP, count(200, scale)
    still = beads(n, 100) if name == "immobile" else fractional(n, 100, 1.0, rng)
    still = localise(still, sigma, rng)
    tracks = drift(still, speed * STEP)
    reference = longest_segments(read(still, sigma))["k"]
    text = f"{name}, drift of {speed:g} steps a frame, {n} tracks of 100 frames, noise .2, sigma known"
    results, record = read_files(tracks, sigma)
    warned = run_warns(record, "drift")
    corrected, after = read_files(tracks, sigma, correct_drift=True)
    rows = [Row("warned of drift (1: yes)", text, yes(warned), (1, 1))]
    rows += drift_rows(results, reference, name, text, float(warned), judged=False)
    warned, text = float(run_warns(after, "drift")), text + ", --correct-drift"
    return rows + drift_rows(corrected, reference, name, text, warned, judged=True)


def drift_rows(results, reference, name, text, warned, judged) -> list[Row]:
    """States and K of tracks that drift, or drifted; `reference` is K of the same tracks without the drift."""
    if name == "immobile":
        trapped = mean(state_share_of_frames(results, TRAPPED))
        return [Row("frames trapped", text, trapped, (0.95, None) if judged else None, warned)]
    longest = longest_segments(results)
    return [
        Row("K over that without drift", text, median(longest["k"] / reference), UNCHANGED if judged else None, warned),
        Row("alpha - truth", text, median(longest["alpha"] - 1), (-0.05, 0.05) if judged else None, warned),
        Row("frames free", text, mean(state_share_of_frames(results, FREE)), ALWAYS if judged else None, warned),
    ]


def measure_wrong_point(name, rng, scale) -> list[Row]:
    """One wrong point in each track."""
    sigma, n = 0.2 * STEP, count(200, scale)
    right = [FIELD + track for track in localise(fractional(n, 100, 1.0, rng), sigma, rng)]
    if name == "spike":
        wrong = spike(right, SPIKE_STEPS * STEP, rng)
        text = f"one point {SPIKE_STEPS} steps off"
    else:
        wrong = [track.copy() for track in right]
        for track in wrong:
            track[rng.integers(5, 95)] = 0.0
        text = f"one point at (0, 0), tracks at ({FIELD:g}, {FIELD:g}) um"
    text += ", alpha 1, 100 frames, noise .2, sigma known"
    before, after = read(right, sigma), read(wrong, sigma)
    place = [np.flatnonzero((r != w).any(axis=1))[0] for r, w in zip(right, wrong, strict=True)]
    near = np.abs(np.arange(100) - np.array(place)[:, None]) <= NEIGHBOURS
    same, ratios = [], []
    tables = [r.points.sort_values(["track_id", "frame"]) for r in (before, after)]
    k_before, k_after = (dict(list(table.groupby("track_id"))) for table in tables)
    for i, (s, t) in enumerate(zip(frame_states(before), frame_states(after), strict=True)):
        far = ~near[i]
        seen = k_after[i]["frame"].to_numpy()  # a point that was left out has no row
        same.append((s[seen] == t)[far[seen]].mean())
        ks = k_before[i]["k"].to_numpy()[far], k_after[i]["k"].to_numpy()[far[seen]]
        ratios.append(np.median(ks[1]) / np.median(ks[0]))
    ratios = np.array(ratios)
    earlier = f"without it {has_warning(before).mean():.2f}"
    off = f"beyond a factor 2 in {np.mean(~((ratios > 0.5) & (ratios < 2))):.3f} of the tracks"
    return [
        Row(
            "tracks with a warning",
            text,
            share(has_warning(after)),
            ALWAYS,
            0.0,
            earlier,
        ),
        Row("far frames whose state is as without it", text, mean(same), ALWAYS),
        Row("K of the far frames over that without it", text, median(ratios), UNCHANGED, 0.0, off),
    ]


def measure_real(rng, scale) -> list[Row]:
    """Whether the tool says that the fast molecules of real files are left out."""
    text = "HaloTag-NLS, two files of saSPT, real tracks"
    files = sorted(REAL_TRACKS.glob("saspt_u2os_ht_nls_region_*.csv"))
    question = "warned that short tracks differ (1: yes)"
    if not files:
        return [Row(question, text, share([]), (1, 1), 0.0, f"skipped: {REAL_TRACKS.name} is not here")]
    with tempfile.TemporaryDirectory() as folder:
        run = infer_files(files, Path(folder) / "out", pixel_size=REAL_PIXEL_UM, frame_interval=REAL_FRAME_S)
    entry = run.record["left_out"][-1]
    used, left_out = entry["d_cve_used"], entry["d_cve_left_out"]
    used = "unknown" if used is None else f"{used:.3g}"
    note = (
        f"d_cve of the analysed {used}, of those left out {left_out:.3g} um^2/s; points used {entry['points_used']}, "
    )
    note += f"left out {entry['points_left_out']}"
    warned = bool(entry["reasons"]) and len(run.record["warnings"]) > 0
    return [Row(question, text, yes(warned), (1, 1), 0.0, note)]


def list_cells() -> list[Cell]:
    """All cells of this file."""
    told = {True: "known", False: "unknown"}
    cells = [
        make_cell(f"Exposure: {exposure:g}, sigma {told[known]}", measure_exposure, exposure, known)
        for known in told
        for exposure in (0.5, 1.0)
    ]
    cells += [
        make_cell(f"Sigma: {factor:g} times the true one, noise {noise:g}", measure_wrong_sigma, noise, factor)
        for noise in (0.2, 0.7)
        for factor in (1.0, 2.0, 0.5)
    ]
    cells += [make_cell(f"Sigma: estimated, noise {noise:g}", measure_sigma, noise) for noise in (0.2, 0.7)]
    cells += [
        make_cell(f"Drift: {name}, {speed:g} steps a frame", measure_drift, name, speed)
        for name, speed in (("immobile", 0.05), ("free", 0.3), ("free", 1.0))
    ]
    cells += [make_cell(f"One wrong point: {name}", measure_wrong_point, name) for name in ("spike", "at (0, 0)")]
    cells.append(make_cell("Left out: real tracks", measure_real))
    return cells
