"""Models of Brownian states between which particles switch, and their fit to positions by maximum likelihood."""

from dataclasses import dataclass, replace

import numpy as np

from main.tracks.kinetics.hidden_markov import filter_positions, tabulate_steps

N_AGES = 6  # Gaussians a state; 4 leave +6 % in dwells where the localisation error is half a step, LOG 2026-11-24
N_AGES_SEARCH = 1  # for the first rounds of the search
LOG_STEP = 1e-4  # of a parameter (natural logarithm), for derivatives
MAX_LOG_CHANGE = 1.0  # of a parameter, in one round of the search
MAX_ROUNDS = 15  # of the search
MIN_GAIN_NATS = 0.005  # expected of another round; below it, the fit is at its maximum
MIN_SEARCH_GAIN_NATS = 0.5  # the same for the first rounds
N_TRIALS = 6  # lengths of a step of the search, each a third of the one before
RATE_LIMITS = (1e-5, 20.0)  # per frame; rates beyond them cannot be told from 0 or from infinity
MAX_LOGIT = 9.0  # of an occupancy: e^-9 is .0001
VARIANCE_LIMITS = (1e-5, 1e3)  # of a step in a state, over the mean of all; beyond them, it cannot be told from 0
RIDGE = 1e-6  # added to the information matrix, share of its diagonal
MAX_POINTS_OF_CHOICE = 20_000  # of a group; its models differ by hundreds of nats by then, or hardly matter
WINDOW_STEPS = 8  # over which variances of steps are averaged for the start of the search
START_RATES = (0.03, 0.2)  # per frame; of the start of the search
SCREENING_SHARE = 0.5  # of the penalty of three states that a rough fit must bring for a refined one
START_QUANTILES = ((0.2, 0.8), (0.02, 0.7), (0.4, 0.98))  # of variances, for the slow and the fast state


@dataclass(frozen=True)
class Model:
    """A set of Brownian states between which particles switch.

    The rates obey detailed balance, as those of two states always do: between two states, as many particles go one way
    as the other.

    Parameters
    ----------
    states : tuple of str
        Names, from slow to fast.
    immobile : bool
        Whether the first state does not move: D = 0.
    """

    states: tuple[str, ...]
    immobile: bool

    @property
    def n_mobile(self) -> int:
        """Number of states that move."""
        return len(self.states) - self.immobile

    @property
    def n_parameters(self) -> int:
        """Number of free parameters, the localisation error left out."""
        n = len(self.states)
        return self.n_mobile + n - 1 + n * (n - 1) // 2


IMMOBILE, MOBILE = Model(("immobile",), True), Model(("mobile",), False)
BOUND, SLOW_FAST = Model(("immobile", "mobile"), True), Model(("slow", "fast"), False)
BOUND_SLOW_FAST = Model(("immobile", "slow", "fast"), True)
MODELS = (IMMOBILE, MOBILE, BOUND, SLOW_FAST, BOUND_SLOW_FAST)  # simple ones first: later ones start from their fits


@dataclass(frozen=True)
class Positions:
    """Positions of tracks, one after the other.

    Parameters
    ----------
    x, y : (T,) arrays
        um, or the unit of the file.
    track : (T,) array of int
        Number of the track, 0 to n_tracks - 1.
    interval : (T,) array of int
        Index into `intervals` of the step that leads to each point; -1 where none does.
    intervals : (G,) array of int
        Lengths of steps, frames.
    noise : (T,) array
        Variance of the localisation error per coordinate, nan where it is not known.
    exposure : float
        Share of the frame interval.
    """

    x: np.ndarray
    y: np.ndarray
    track: np.ndarray
    interval: np.ndarray
    intervals: np.ndarray
    noise: np.ndarray
    exposure: float = 0.0

    @property
    def n_tracks(self) -> int:
        """Number of tracks."""
        return int(self.track.max()) + 1

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return int((self.interval >= 0).sum())

    @property
    def estimates_noise(self) -> bool:
        """Whether the localisation error of some tracks is not known; it is then a parameter, common to them."""
        return bool(np.isnan(self.noise).any())

    def thin(self, max_points: int) -> "Positions":
        """Every k-th track, so that about `max_points` points are left at most."""
        every = max(1, -(-len(self.x) // max_points))
        kept = self.track % every == 0
        columns = {name: getattr(self, name)[kept] for name in ("x", "y", "interval", "noise")}
        return replace(self, track=self.track[kept] // every, **columns) if every > 1 else self

    def measure_steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps over the square root of their frames, (S, 2), and the track of each."""
        at = np.flatnonzero(self.interval >= 0)
        frames = self.intervals[self.interval[at]]
        steps = np.stack([self.x[at] - self.x[at - 1], self.y[at] - self.y[at - 1]], axis=1)
        return steps / np.sqrt(frames)[:, None], self.track[at]


@dataclass(frozen=True)
class ModelFit:
    """A model at the maximum of its likelihood.

    Parameters
    ----------
    model : Model
    parameters : (P,) array
        As `unpack` reads them.
    log_likelihood : float
        Nats.
    """

    model: Model
    parameters: np.ndarray
    log_likelihood: float


def unpack(parameters: np.ndarray, model: Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn parameters into what the likelihood needs.

    Parameters
    ----------
    parameters : (P,) array
        Natural logarithms of the variances of a step of the mobile states; log-odds of the occupancy of each state
        against the first; logarithms of the exchange of each pair of states, in the order of `numpy.triu_indices`. The
        rate from one to the other is the exchange times the other's occupancy, per frame. A logarithm of the variance
        of the localisation error may follow.
    model : Model

    Returns
    -------
    variance : (N,) array
        Of a step of one frame along each coordinate, 2 D dt.
    occupancy : (N,) array
    generator : (N, N) array
        Rates per frame; rows sum to 0.
    """
    n, m = len(model.states), model.n_mobile
    variance = np.concatenate([np.zeros(int(model.immobile)), np.exp(parameters[:m])])
    logit = np.concatenate([[0.0], parameters[m : m + n - 1]])
    occupancy = np.exp(logit - logit.max())
    occupancy /= occupancy.sum()
    generator = np.zeros((n, n))
    generator[np.triu_indices(n, 1)] = np.exp(parameters[m + n - 1 : model.n_parameters])
    generator = (generator + generator.T) * occupancy
    return variance, occupancy, generator - np.diag(generator.sum(axis=1))


def compute_log_likelihood(
    parameters: np.ndarray, model: Model, positions: Positions, n_ages: int = N_AGES
) -> np.ndarray:
    """Log-likelihood of each position given those before it, nats, (T,)."""
    variance, occupancy, generator = unpack(parameters, model)
    noise = positions.noise
    if positions.estimates_noise:
        noise = np.where(np.isnan(noise), np.exp(parameters[model.n_parameters]), noise)
    chance, spread = tabulate_steps(generator, variance, positions.intervals)
    blur = variance * positions.exposure / 6
    return filter_positions(
        positions.x, positions.y, positions.interval, noise, occupancy, chance, spread, blur, n_ages
    )


def compute_scores(parameters, model, positions, n_ages, at=None) -> np.ndarray:
    """Derivatives of the log-likelihood of each position, (T, P).

    They are forward differences from `at`, the log-likelihood at the parameters, if it is given, else central ones.
    """
    columns = []
    for step in np.eye(len(parameters)) * LOG_STEP:
        above = compute_log_likelihood(parameters + step, model, positions, n_ages)
        if at is None:
            below = compute_log_likelihood(parameters - step, model, positions, n_ages)
            columns.append((above - below) / (2 * LOG_STEP))
        else:
            columns.append((above - at) / LOG_STEP)
    return np.stack(columns, axis=1) if columns else np.zeros((len(positions.x), 0))


def find_limits(model: Model, positions: Positions) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits of the parameters."""
    n = len(model.states)
    square = 0.5 * (positions.measure_steps()[0] ** 2).sum(axis=1).mean()
    numbers = (model.n_mobile, n - 1, n * (n - 1) // 2, int(positions.estimates_noise))
    variances, noise = np.log(np.array(VARIANCE_LIMITS) * square), np.log(square * np.array([1e-6, 1.0]))
    pairs = (variances, (-MAX_LOGIT, MAX_LOGIT), np.log(RATE_LIMITS), noise)
    low, high = (np.repeat([pair[end] for pair in pairs], numbers) for end in (0, 1))
    return low, high


def climb(parameters, model, positions, n_ages, min_gain) -> tuple[np.ndarray, float]:
    """Maximize the likelihood from a start; return parameters and log-likelihood.

    Newton's method; the information matrix is the sum over points of products of their scores (Berndt, Hall, Hall and
    Hausman, Ann. Econ. Soc. Meas. 3, 653, 1974).
    """
    low, high = find_limits(model, positions)
    parameters = np.clip(parameters, low, high)
    value = compute_log_likelihood(parameters, model, positions, n_ages)
    for _ in range(MAX_ROUNDS):
        scores = compute_scores(parameters, model, positions, n_ages, value)
        gradient = scores.sum(axis=0)
        free = np.where(gradient < 0, parameters > low, parameters < high)
        if not free.any():
            break
        step = np.zeros(len(parameters))
        step[free] = np.linalg.solve(make_information(scores[:, free]), gradient[free])
        if 0.5 * step @ gradient < min_gain:
            break
        step *= min(1.0, MAX_LOG_CHANGE / np.abs(step).max())
        for _ in range(N_TRIALS):
            trial = np.clip(parameters + step, low, high)
            found = compute_log_likelihood(trial, model, positions, n_ages)
            if found.sum() > value.sum():
                break
            step = step / 3
        else:
            break
        parameters, value = trial, found
    return parameters, float(value.sum())


def make_information(scores: np.ndarray) -> np.ndarray:
    """Sum of products of scores, (P, P), that can be inverted."""
    information = scores.T @ scores
    return information + np.diag(RIDGE * np.diag(information) + 1e-9)


def search_model(model: Model, positions: Positions, earlier: dict[Model, ModelFit]) -> ModelFit:
    """Fit a model roughly and fast, with `N_AGES_SEARCH` Gaussians a state.

    Parameters
    ----------
    model : Model
    positions : Positions
    earlier : dict of Model -> ModelFit
        Fits of simpler models to the same positions, from which the search starts too.
    """
    starts = list_starts(model, positions, earlier)
    values = [compute_log_likelihood(start, model, positions, N_AGES_SEARCH).sum() for start in starts]
    best = starts[int(np.nanargmax(values))]
    return ModelFit(model, *climb(best, model, positions, N_AGES_SEARCH, MIN_SEARCH_GAIN_NATS))


def refine_fit(rough: ModelFit, positions: Positions) -> ModelFit:
    """Maximize the likelihood of a model from a rough fit of it."""
    return ModelFit(rough.model, *climb(rough.parameters, rough.model, positions, N_AGES, MIN_GAIN_NATS))


def fit_model(model: Model, positions: Positions) -> ModelFit:
    """Fit a model by maximum likelihood."""
    return refine_fit(search_model(model, positions, {}), positions)


def choose_model(groups: list[Positions]) -> tuple[list[ModelFit], dict[Model, float]]:
    """Choose one model for all groups by the Bayesian information criterion, and fit it to each group.

    Three states take ten times as long as two. They are refined only where the rough fits promise a gain. Large groups
    are thinned to `MAX_POINTS_OF_CHOICE` for the choice, not for the fit.

    Parameters
    ----------
    groups : list of Positions

    Returns
    -------
    fits : list of ModelFit
        Of the chosen model, one for each group.
    scores : dict of Model -> float
        Log-likelihood minus p/2 log(number of steps), summed over groups, nats; the chosen model has the largest.
    """
    whole, groups = groups, [group.thin(MAX_POINTS_OF_CHOICE) for group in groups]
    fits = {}
    for model in MODELS[:-1]:
        fits[model] = [fit_model(model, group) for group in groups]
    scores = {model: score_model(model, fits[model], groups) for model in fits}
    three, two = MODELS[-1], max((BOUND, SLOW_FAST), key=scores.get)
    rough = [
        search_model(three, group, {model: fits[model][i] for model in (BOUND, SLOW_FAST)})
        for i, group in enumerate(groups)
    ]
    before = [
        replace(fit, log_likelihood=compute_log_likelihood(fit.parameters, two, group, N_AGES_SEARCH).sum())
        for fit, group in zip(fits[two], groups, strict=True)
    ]
    penalty = score_model(two, [], groups) - score_model(three, [], groups)
    scores[three] = scores[two] + score_model(three, rough, groups) - score_model(two, before, groups)
    if scores[three] > scores[two] - SCREENING_SHARE * penalty:
        fits[three] = [refine_fit(fit, group) for fit, group in zip(rough, groups, strict=True)]
        scores[three] = score_model(three, fits[three], groups)
    else:
        scores[three] = min(scores[three], scores[two])
    best = fits[max(fits, key=scores.get)]
    return [
        fit if thinned is group else refine_fit(fit, group)
        for fit, thinned, group in zip(best, groups, whole, strict=True)
    ], scores


def score_model(model: Model, fits: list[ModelFit], groups: list[Positions]) -> float:
    """Log-likelihood of all groups, minus half the number of parameters times the logarithm of the number of steps."""
    penalty = 0.5 * model.n_parameters * sum(np.log(group.n_steps) for group in groups)
    return sum(fit.log_likelihood for fit in fits) - penalty


def list_starts(model: Model, positions: Positions, earlier: dict[Model, ModelFit]) -> list[np.ndarray]:
    """List parameters from which the search may start."""
    n, m = len(model.states), model.n_mobile
    noise, variances = guess_variances(positions)
    end = [np.log(noise)] if positions.estimates_noise else []
    if n == 1:
        return [np.array([*np.log([variances.mean()] * m), *end])]
    starts = []
    for quantiles in START_QUANTILES:
        slow, fast = np.quantile(variances, quantiles)
        levels = {BOUND: [fast], SLOW_FAST: [slow, fast], BOUND_SLOW_FAST: [np.sqrt(slow * fast), fast]}[model]
        starts += [
            [*np.log(levels), *np.zeros(n - 1), *np.full(n * (n - 1) // 2, np.log(2 * rate)), *end]
            for rate in START_RATES
        ]
    if model is BOUND_SLOW_FAST:
        starts += split_fits(earlier, len(end))
    return [np.array(start) for start in starts]


def split_fits(earlier: dict[Model, ModelFit], n_noise: int) -> list[list[float]]:
    """Starts for three states from fits of two: one of the states is split, or an immobile one is added."""
    starts = []
    if BOUND in earlier:
        d, logit, exchange, *noise = earlier[BOUND].parameters
        for low, high in ((-2.0, 0.1), (-0.7, 0.5)):
            starts.append([d + low, d + high, logit - 0.7, logit - 0.7, exchange, exchange, exchange, *noise])
    if SLOW_FAST in earlier:
        slow, fast, logit, exchange, *noise = earlier[SLOW_FAST].parameters
        for level in (slow + 0.7, 0.5 * (slow + fast)):
            starts.append([level, fast, 0.0, logit, exchange, exchange, exchange, *noise])
    return starts


def guess_variances(positions: Positions) -> tuple[float, np.ndarray]:
    """Guess the variance of the localisation error, and that of steps in windows of `WINDOW_STEPS`, motion only."""
    steps, track = positions.measure_steps()
    square = 0.5 * (steps**2).sum(axis=1)
    successive = track[1:] == track[:-1]
    product = 0.5 * (steps[1:] * steps[:-1]).sum(axis=1)[successive]
    guess = float(np.clip(-product.mean() if len(product) else 0.0, 1e-2 * square.mean(), 0.45 * square.mean()))
    known = positions.noise[positions.interval >= 0]
    noise = np.where(np.isnan(known), guess, known)
    window = track * (1 + len(track)) + np.arange(len(track)) // WINDOW_STEPS
    _, index, counts = np.unique(window, return_inverse=True, return_counts=True)
    means = np.bincount(index, square - 2 * noise) / counts
    return guess, np.maximum(means, 1e-2 * square.mean())
