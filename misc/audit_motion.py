"""Rows of the audit about single tracks that do not change: K, msd_1, alpha, immobility, length, flow, discs."""

import numpy as np
from audit_rows import (
    COVERAGE,
    COVERAGE_OR_MORE,
    FREE,
    TRAPPED,
    Cell,
    Row,
    count,
    describe_factor,
    frame_states,
    has_warning,
    inside,
    longest_segments,
    make_cell,
    mean,
    median,
    read,
    read_files,
    share,
    state_share_of_frames,
    yes,
)
from known_tracks import FRAME_INTERVAL, STEP, beads, disc, flow, fractional, immobile_phase, localise

from main.utils.errors import InputError

ALPHAS = (0.4, 1.0, 1.6)
LENGTHS = (30, 100, 200)
PIXEL = 0.1  # um
MSD_1 = 2 * STEP**2  # um^2
D = STEP**2 / (2 * FRAME_INTERVAL)  # um^2/s
POWER_TRACKS = 200
MIN_SHOWN = 0.02  # share of tracks with a warning; fewer are not mentioned
IDEAL_TRACKS = 2000  # for the power of the ideal test
IDEAL_FALSE_RATE = 0.01  # of immobile tracks that the ideal test calls moving; as the tool's own test states


def true_k(alpha: float) -> float:
    """K of `known_tracks.fractional`, um^2/s^alpha."""
    return STEP**2 / (2 * FRAME_INTERVAL**alpha)


def describe(alpha: float, frames: int, noise: float, known: bool, extra: str = "") -> str:
    """Say how tracks of fractional Brownian motion were made."""
    told = "known" if known else "unknown"
    return f"fractional Brownian motion, alpha {alpha:g}, {frames} frames, noise {noise:g}, sigma {told}{extra}"


def coverage_rows(results, alpha: float, text: str, target: tuple, flags_count: bool) -> list[Row]:
    """Share of the tracks whose 90 % intervals hold K, msd_1 and alpha: the longest segment of each.

    With `flags_count` a missed target counts as flagged where it holds for the tracks without a warning.
    """
    rows, warned = longest_segments(results), has_warning(results)
    truths = {"k": true_k(alpha), "msd_1": MSD_1, "alpha": alpha}
    words = {"k": "K in um^2/s^alpha", "msd_1": "msd_1", "alpha": "alpha"}
    made = []
    for name, truth in truths.items():
        hits = inside(rows, name, truth)
        ends = rows[f"{name}_lo"], rows[f"{name}_hi"]
        width = f"median width {np.nanmedian(ends[1] - ends[0]):.2f}" if name == "alpha" else describe_factor(*ends)
        quiet = hits[~warned].mean() if (~warned).any() else 1.0
        flagged = float(flags_count and warned.any() and quiet >= target[0])
        few = warned.mean() < MIN_SHOWN
        note = width + ("" if few else f"; warned {warned.mean():.2f}, inside of the others {quiet:.2f}")
        made.append(Row(f"{words[name]} inside its 90 % interval", text, share(hits), target, flagged, note, True))
    return made


def measure_intervals(frames, noise, known, rng, scale) -> list[Row]:
    """Coverage of the intervals of segments, and of K of one frame in the middle of each track."""
    rows, n = [], count(1000, scale)
    for alpha in ALPHAS:
        sigma = noise * STEP
        results = read(localise(fractional(n, frames, alpha, rng), sigma, rng), sigma if known else None)
        text = describe(alpha, frames, noise, known)
        rows += coverage_rows(results, alpha, text, COVERAGE if known else COVERAGE_OR_MORE, not known)
        middle = results.points[results.points["frame"] == frames // 2]
        note = "not judged: frames of one track are alike"
        rows.append(Row("K of one frame inside", text, share(inside(middle, "k", true_k(alpha))), None, 0.0, note))
    return rows


def measure_door(rng, scale) -> list[Row]:
    """The same coverage through `infer_files`, from a CSV file."""
    sigma = 0.2 * STEP
    results, _ = read_files(localise(fractional(count(1000, scale), 100, 0.4, rng), sigma, rng), sigma)
    return coverage_rows(results, 0.4, describe(0.4, 100, 0.2, True, ", through infer.py"), COVERAGE, False)


def measure_beads(frames, known, rng, scale) -> list[Row]:
    """Share of the frames of immobile particles that are called trapped."""
    rows = []
    for sigma in (0.01, 0.05, 0.15):
        results = read(localise(beads(count(300, scale), frames), sigma, rng), sigma if known else None)
        trapped, warned = state_share_of_frames(results, TRAPPED), has_warning(results)
        told = "known" if known else "unknown"
        text = f"immobile, {frames} frames, sigma {sigma:g} um, {told}"
        value = trapped if known else np.where(warned, 1.0, trapped)
        question = "frames trapped" if known else "frames trapped, or of a track with a warning"
        note = "" if known else f"trapped {np.nanmean(trapped):.2f}, tracks with a warning {warned.mean():.2f}"
        rows.append(Row(question, text, mean(value), (0.95, None), 0.0, note))
    return rows


def measure_bead_mixture(rng, scale) -> list[Row]:
    """Immobile and free particles in one table, sigma unknown."""
    n, sigma = count(150, scale), 0.05
    tracks = localise(beads(n, 100) + fractional(n, 100, 1.0, rng), sigma, rng)
    results = read(tracks)
    trapped, warned = state_share_of_frames(results, TRAPPED), has_warning(results)
    text = "half immobile, half free, 100 frames, sigma .05 um, unknown"
    value = np.where(warned, 1.0, trapped)[:n]
    note = f"trapped {trapped[:n].mean():.2f}, tracks with a warning {warned[:n].mean():.2f}"
    return [
        Row("frames of the immobile trapped, or with a warning", text, mean(value), (0.95, None), 0.0, note),
        Row("frames of the free called trapped", text, mean(trapped[n:]), (None, 0.05)),
    ]


def ideal_power(ratio: float, frames: int, rng) -> float:
    """Share of free tracks that the best test tells from immobile ones, K and sigma known (Neyman and Pearson).

    `ratio` is K dt / sigma^2; the test errs on `IDEAL_FALSE_RATE` of the immobile tracks.
    """
    n = frames - 1
    noise = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    free = noise + 2 * ratio * np.eye(n)
    contrast = np.linalg.inv(noise) - np.linalg.inv(free)

    def draw(covariance):
        steps = rng.normal(size=(2 * IDEAL_TRACKS, n)) @ np.linalg.cholesky(covariance).T
        score = ((steps @ contrast) * steps).sum(axis=1)
        return score.reshape(2, IDEAL_TRACKS).sum(axis=0)  # both coordinates

    return float((draw(free) > np.quantile(draw(noise), 1 - IDEAL_FALSE_RATE)).mean())


def measure_power(frames, rng, scale) -> list[Row]:
    """Share of the frames of slow free particles that are not called trapped, against K dt / sigma^2."""
    rows, sigma = [], 0.05
    for ratio in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0):
        step = sigma * np.sqrt(2 * ratio)
        results = read(localise(fractional(count(POWER_TRACKS, scale), frames, 1.0, rng, step), sigma, rng), sigma)
        moving = 1 - state_share_of_frames(results, TRAPPED)
        note = f"the ideal test (K known, {IDEAL_FALSE_RATE:.0%} of beads wrong): {ideal_power(ratio, frames, rng):.2f}"
        note += f"; tracks with a warning {has_warning(results).mean():.2f}"
        text = f"free, K dt / sigma^2 = {ratio:g}, {frames} frames, sigma known"
        rows.append(Row("frames not called trapped", text, mean(moving), None, 0.0, note))
    return rows


def measure_immobile_phase(noise, adapt, rng, scale) -> list[Row]:
    """Share of the frames of immobile phases that are called trapped."""
    rows, sigma = [], noise * STEP
    for stay, least in ((10, 0.75), (30, 0.93), (100, 0.98)):
        tracks, masks = immobile_phase(count(100 if adapt == "sample" else 300, scale), 200, stay, rng)
        results = read(localise(tracks, sigma, rng), sigma, adapt=adapt)
        states = frame_states(results)
        found = [(s[mask] == TRAPPED).mean() for s, mask in zip(states, masks, strict=True)]
        wrong = np.mean([(s[~mask] == TRAPPED).mean() for s, mask in zip(states, masks, strict=True)])
        text = f"free, immobile for {stay} of 200 frames, noise {noise:g}, sigma known, --adapt {adapt}"
        target = (least, None) if noise == 0.2 else None
        note = f"other frames called trapped {wrong:.3f}"
        rows.append(Row("frames of the phase trapped", text, mean(found), target, 0.0, note))
    return rows


def measure_stationary(frames, rng, scale) -> list[Row]:
    """Share of tracks that never change in which a changepoint is found."""
    rows = []
    for alpha in ALPHAS:
        for noise in (0.2, 0.7):
            sigma, n = noise * STEP, count(100 if frames > 500 else 300, scale)
            results = read(localise(fractional(n, frames, alpha, rng), sigma, rng), sigma)
            found = share(results.tracks["n_segments"] > 1)
            rows.append(Row("tracks with false changepoints", describe(alpha, frames, noise, True), found))
    return rows


def measure_gaps(missing, rng, scale) -> list[Row]:
    """Coverage on tracks of which a share of the points is missing."""
    rows, sigma = [], 0.2 * STEP
    for alpha in ALPHAS:
        tracks = localise(fractional(count(1000, scale), 100, alpha, rng), sigma, rng)
        results = read(tracks, sigma, missing, rng)
        text = describe(alpha, 100, 0.2, True, f", {missing:.0%} of the points missing")
        rows += coverage_rows(results, alpha, text, COVERAGE_OR_MORE, True)
    return rows


def measure_short(frames, rng, scale) -> list[Row]:
    """Coverage on tracks below the default --min-length: inside, or refused."""
    rows, sigma = [], 0.2 * STEP
    for alpha in ALPHAS:
        tracks = localise(fractional(count(1000, scale), frames, alpha, rng), sigma, rng)
        text = describe(alpha, frames, 0.2, True, ", --min-length 5")
        try:
            results = read(tracks, sigma, min_length=5)
        except InputError as error:
            rows.append(Row("refused (1: yes)", text, yes(True), (1, 1), 0.0, str(error)))
            continue
        if results.segments["k_lo"].isna().all():
            rows.append(Row("refused: no intervals (1: yes)", text, yes(True), (1, 1)))
        else:
            rows += coverage_rows(results, alpha, text, COVERAGE_OR_MORE, False)
    return rows


def measure_flow(rng, scale) -> list[Row]:
    """Brownian motion with a constant velocity."""
    rows, sigma, n = [], 0.2 * STEP, count(300, scale)
    for steps in (0.5, 1, 2):
        speed = steps * STEP / FRAME_INTERVAL
        results = read(localise(flow(fractional(n, 100, 1.0, rng), steps * STEP, rng), sigma, rng), sigma)
        longest = longest_segments(results)
        text = f"Brownian motion, velocity of {steps:g} free steps a frame, 100 frames, noise .2, sigma known"
        label = f"labels {describe_labels(longest)}"
        rows.append(Row("alpha", text, median(longest["alpha"]), None, 0.0, label))
        ratio = f"median over truth {(longest['net_speed'] / speed).median():.2f}; {count_empty(longest, 'net_speed')}"
        given = longest[longest["net_speed_lo"].notna()]
        hits = inside(given, "net_speed", speed)
        rows.append(
            Row("net_speed inside its 90 % interval, where given", text, share(hits), COVERAGE_OR_MORE, 0.0, ratio)
        )
    return rows


def measure_disc(noise, rng, scale) -> list[Row]:
    """Brownian motion in a reflecting disc."""
    rows, sigma, n = [], noise * STEP, count(300, scale)
    for steps in (1, 2, 4):
        radius = steps * STEP
        results = read(localise(disc(n, 100, radius, rng), sigma, rng), sigma)
        longest = longest_segments(results)
        text = f"disc of radius {steps} free steps, 100 frames, noise {noise:g}, sigma known"
        confined = share(longest["state"] == 1)
        rows.append(Row('labelled "confined"', text, confined, None, 0.0, f"labels {describe_labels(longest)}"))
        given = longest[longest["confinement_radius_lo"].notna()]
        note = f"median over truth {(longest['confinement_radius'] / radius).median():.2f}; "
        note += count_empty(longest, "confinement_radius")
        hits = inside(given, "confinement_radius", radius)
        question = "confinement_radius inside its 90 % interval, where given"
        rows.append(Row(question, text, share(hits), COVERAGE_OR_MORE, 0.0, note))
    return rows


def describe_labels(segments) -> str:
    """Share of the segments with each state, as text."""
    names = ("trapped", "confined", "free", "directed")
    return ", ".join(
        f"{name} {share_:.2f}" for i, name in enumerate(names) if (share_ := (segments["state"] == i).mean())
    )


def count_empty(segments, name: str) -> str:
    """Share of the segments in which a quantity is empty, as text."""
    return f"empty {segments[name].isna().mean():.2f}"


def measure_holds(rng, scale) -> list[Row]:
    """What held in the first audit: units, msd_1, d_cve."""
    sigma, n = 0.2 * STEP, count(300, scale)
    tracks = localise(fractional(n, 100, 1.0, rng), sigma, rng)
    results = read(tracks, sigma)
    text = describe(1, 100, 0.2, True)
    in_px = read_files([t / PIXEL for t in tracks], sigma / PIXEL, pixels=True, pixel_size=PIXEL)[0]
    worst = max(
        float(np.nanmax(np.abs(in_px.segments[name] / results.segments[name] - 1)))
        for name in ("k", "k_lo", "k_hi", "msd_1")
    )
    one = yes(worst <= 1e-4)
    longest = longest_segments(results)
    free = state_share_of_frames(results, FREE)
    unknown = read(tracks).tracks["d_cve"]
    return [
        Row(
            "px and um agree (1: K and msd_1 to 1e-4)",
            text,
            one,
            (1, 1),
            0.0,
            f"largest relative difference {worst:.1e}",
        ),
        Row("msd_1 / 4 D dt", text, median(longest["msd_1"] / MSD_1), (0.95, 1.05)),
        Row("d_cve / D", text, mean(results.tracks["d_cve"] / D), (0.97, 1.03)),
        Row("d_cve / D", describe(1, 100, 0.2, False), mean(unknown / D), (0.97, 1.03)),
        Row("frames called free", text, mean(free), (0.95, None)),
    ]


def list_cells() -> list[Cell]:
    """All cells of this file."""
    told = {True: "known", False: "unknown"}
    cells = [
        make_cell(f"Intervals: {n} frames, noise {noise:g}, sigma {told[known]}", measure_intervals, n, noise, known)
        for known in (True, False)
        for n in LENGTHS
        for noise in (0.2, 0.7)
    ]
    cells.append(make_cell("Intervals: through infer.py", measure_door))
    cells += [
        make_cell(f"Immobile: {n} frames, sigma {told[k]}", measure_beads, n, k) for k in told for n in (20, 100, 400)
    ]
    cells.append(make_cell("Immobile: with free ones, sigma unknown", measure_bead_mixture))
    cells += [
        make_cell(f"Immobile: phases, noise {noise:g}, adapt {adapt}", measure_immobile_phase, noise, adapt)
        for adapt in ("none", "sample")
        for noise in (0.085, 0.2, 0.5)
    ]
    cells += [make_cell(f"Power: {frames} frames", measure_power, frames) for frames in (20, 50, 100, 400)]
    cells += [make_cell(f"Length: {frames} frames", measure_stationary, frames) for frames in (100, 200, 1000)]
    cells += [make_cell(f"Gaps: {missing:.0%}", measure_gaps, missing) for missing in (0.1, 0.3)]
    cells += [make_cell(f"Short tracks: {frames} frames", measure_short, frames) for frames in (5, 10, 19)]
    cells.append(make_cell("Flow", measure_flow))
    cells += [make_cell(f"Disc: noise {noise:g}", measure_disc, noise) for noise in (0.2, 0.7)]
    cells.append(make_cell("Holds", measure_holds))
    return cells
