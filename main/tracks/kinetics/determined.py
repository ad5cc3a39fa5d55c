"""What the data do not determine about the states of a model, in sentences for the user."""

import numpy as np
import pandas as pd

from main.tracks.kinetics.brownian_states import MODELS, Model, Positions
from main.tracks.kinetics.rates import MIN_EVENTS
from simulations.parameters import TRAPPED

MIN_DWELL_FRAMES = 2.0  # of a mean dwell; states that change faster are seen as one
MIN_D_RATIO = 2.5  # of two mobile states; closer ones are one broad state as well, LOG 2026-11-24
MIN_SCORE_GAP = 3.0  # nats; a difference of 6 in the Bayesian information criterion is "strong" (Kass and Raftery 1995)
BROWNIAN_ALPHA = (0.75, 1.25)  # mean alpha of moving segments for which Brownian states are a fair approximation


def list_warnings(fit, positions: Positions) -> list[str]:
    """List what the tracks of one condition, or of one file, do not determine."""
    found, unit = [], fit.time_unit
    dt = fit.frame_interval_s or 1.0
    known = positions.interval >= 0
    frames = np.bincount(positions.track[known], positions.intervals[positions.interval[known]])
    duration = dt * frames[frames > 0].mean()
    if len(fit.states) > 1:
        for state, dwell, n in zip(fit.states, fit.value["mean_dwell"], fit.n["mean_dwell"], strict=True):
            if n < MIN_EVENTS:
                found.append(f"About {n} changes from {state} are expected in these tracks: too few for an interval.")
            elif dwell > duration:
                found.append(
                    f"The mean dwell time in {state} ({dwell:.3g} {unit}) is longer than the tracks ({duration:.3g} "
                    f"{unit} on average): it assumes that the rate is constant."
                )
            if dwell < MIN_DWELL_FRAMES * dt:
                found.append(
                    f"The mean dwell time in {state} ({dwell:.3g} {unit}) is below {MIN_DWELL_FRAMES:g} frames: "
                    "states that change so fast are hardly told apart."
                )
    d = fit.value["d"]
    for i in range(int(fit.model.immobile), len(d) - 1):
        if d[i + 1] < MIN_D_RATIO * d[i]:
            found.append(
                f"D of {fit.states[i + 1]} is only {d[i + 1] / d[i]:.2g} times that of {fit.states[i]}: one state "
                "whose D varies from track to track would look the same."
            )
    return found + warn_of_noise(fit, positions) + warn_of_choice(fit)


def warn_of_noise(fit, positions: Positions) -> list[str]:
    """Say where the localisation error is estimated, and where it is too small for the exposure."""
    found = []
    if fit.sigma is not None:
        found.append(
            f"The localisation error is not known for all tracks. It was estimated together with the states, one value "
            f"for all: {fit.sigma:.3g} {fit.d_unit.split('^')[0]}."
        )
    noise = np.nanmedian(np.where(np.isnan(positions.noise), (fit.sigma or 0.0) ** 2, positions.noise))
    blur = 2 * fit.value["d"] * (fit.frame_interval_s or 1.0) * positions.exposure / 6
    for state, less in zip(fit.states, blur, strict=True):
        if less > noise:
            found.append(
                f"Motion blur of {state} particles is larger than the localisation error: the likelihood is "
                "approximate there."
            )
    return found


def warn_of_choice(fit) -> list[str]:
    """Say if another model describes the tracks nearly as well."""
    others = {model: score for model, score in fit.scores.items() if model != fit.model}
    if not others:
        return []
    second = max(others, key=others.get)
    if fit.scores[fit.model] - others[second] >= MIN_SCORE_GAP:
        return []
    return [f"A model of {name_states(second)} describes the tracks nearly as well."]


def warn_of_alpha(segments: pd.DataFrame) -> list[str]:
    """Say if the moving segments are far from Brownian: then the states only approximate the motion."""
    moving = segments[segments["state"] != TRAPPED]
    if moving.empty:
        return []
    alpha = np.average(moving["alpha"], weights=moving["n_frames"])
    low, high = BROWNIAN_ALPHA
    if low <= alpha <= high:
        return []
    return [
        f"The mean alpha of moving segments is {alpha:.2f}: the motion is not Brownian, and diffusion coefficients, "
        "dwell times and rates of Brownian states are only an approximation."
    ]


def name_states(model: Model) -> str:
    """Name the states of a model: "2 states (immobile, mobile)"."""
    n = len(model.states)
    return f"{n} state{'s' * (n > 1)} ({', '.join(model.states)})"


def explain_choice(fit) -> str:
    """Say in one sentence which model was used, and against which it was chosen."""
    text = f"Dwell times, rates and occupancy are those of a hidden Markov model of {name_states(fit.model)}"
    others = {model: score for model, score in fit.scores.items() if model != fit.model}
    if not others:
        return text + "."
    second = max(others, key=others.get)
    if fit.model == MODELS[-1]:
        text = f"{text} (the most that are tried: more states, or a D that varies from track to track, end there too)"
    gap = 2 * (fit.scores[fit.model] - others[second])
    return (
        f"{text}, chosen by the Bayesian information criterion among models of one to three states (next: "
        f"{name_states(second)}, {gap:.0f} higher)."
    )
