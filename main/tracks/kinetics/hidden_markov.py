"""Likelihood of tracks of a particle that switches between Brownian states in continuous time.

A particle diffuses with a diffusion coefficient for each hidden state (0 if it is immobile) and changes its state at
constant rates. Its positions are seen at the frames, with a localisation error. Two facts bias a hidden Markov model of
independent steps, and are part of the likelihood here: successive steps share the localisation error of one position,
and the state may change within a step.

- The filter goes over positions, not steps. It keeps Gaussians of the true position for each state, by the number of
  frames since the state was entered. After each frame, all that led to the same state and age are replaced by one of
  the same mean and variance (interacting multiple models). One Gaussian a state would lengthen dwells by 15 % where the
  localisation error is half a step.
- The variance of a step from one state to another depends on the time spent in each. Its distribution has known
  moments, and is replaced by three values with weights that have the same moments (Gauss quadrature).

Sources: Blom and Bar-Shalom, IEEE Trans. Automat. Contr. 33, 780 (1988); Berglund, Phys. Rev. E 82, 011917 (2010), for
the effective localisation error under motion blur; Golub and Welsch, Math. Comput. 23, 221 (1969).
"""

import numpy as np

from main.utils.compiled import compiled

N_NODES = 3  # values of the variance of a step, for each pair of states
N_MOMENTS = 2 * N_NODES  # that these values reproduce, the 0th included
MIN_RETURN = 1e-8  # chance to leave a state and come back within a step; below it, rounding errors dominate
MIN_SPREAD = 1e-6  # sd of the variance of a step over the largest variance; below it, one value stands for all
TAYLOR_ORDER = 12
MIN_WEIGHT = 1e-8  # of a hypothesis; smaller ones are left out
MIN_VARIANCE = 1e-3  # of a step with localisation errors, share of the variance of one error; guards against blur


@compiled
def expand_moments(generator, variance, frames):
    """Moments of the variance of a step from each state to each, over a number of frames.

    Parameters
    ----------
    generator : (N, N) array
        Rates per frame; rows sum to 0.
    variance : (N,) array
        Variance per coordinate of a step of one frame in each state, any unit.
    frames : int

    Returns
    -------
    (6, N, N) array
        Entry (k, i, j): mean of (variance ** k), counted only if the state is j at the end, given i at the start.

    The moments are derivatives at 0 of the matrix exponential of (generator + s diag(variance)) frames.
    """
    n = len(variance)
    size = frames * (np.abs(generator).max() * n + variance.max())
    squarings = max(0, int(np.ceil(np.log2(max(size, 1e-300)))) + 2)
    scale = frames / 2.0**squarings
    total, term = np.zeros((N_MOMENTS, n, n)), np.zeros((N_MOMENTS, n, n))
    total[0], term[0] = np.eye(n), np.eye(n)
    for order in range(1, TAYLOR_ORDER + 1):
        new = np.zeros((N_MOMENTS, n, n))
        for k in range(N_MOMENTS):
            new[k] = term[k] @ generator
            if k > 0:
                new[k] += term[k - 1] * variance
        term = new * (scale / order)
        total += term
    for _ in range(squarings):
        square = np.zeros((N_MOMENTS, n, n))
        for k in range(N_MOMENTS):
            for m in range(k + 1):
                square[k] += total[m] @ total[k - m]
        total = square
    factorial = 1.0
    for k in range(1, N_MOMENTS):
        factorial *= k
        total[k] *= factorial
    return total


@compiled
def find_nodes(moments, n_nodes, scale, weights, values):
    """Find weights and values with the given moments (Gauss quadrature); writes them into `weights` and `values`.

    Parameters
    ----------
    moments : (6,) array
    n_nodes : int
        2 or 3. One value is used where the moments do not allow more.
    scale : float
        The largest value that occurs.
    weights, values : (n_nodes,) arrays
    """
    weights[:], values[:] = 0.0, 0.0
    weights[0] = moments[0]
    if moments[0] <= 0.0:
        weights[0] = 0.0
        return
    m = moments / moments[0]
    mean = min(max(m[1], 0.0), scale)
    values[0] = mean
    central = np.zeros(N_MOMENTS)
    for k in range(N_MOMENTS):
        binomial = 1.0
        for r in range(k + 1):
            central[k] += binomial * m[k - r] * (-mean) ** r
            binomial = binomial * (k - r) / (r + 1)
    if central[2] <= (MIN_SPREAD * scale) ** 2:
        return
    sd = np.sqrt(central[2])
    skew = central[3] / sd**3
    b2 = central[4] / sd**4 - skew**2 - 1.0
    if n_nodes == 3 and b2 > MIN_SPREAD:
        a2 = (central[5] / sd**5 - 2.0 * skew * central[4] / sd**4 + skew**3) / b2
        root = np.sqrt(b2)
        jacobi = np.array([[0.0, 1.0, 0.0], [1.0, skew, root], [0.0, root, a2]])
        z, vectors = np.linalg.eigh(jacobi)
        for k in range(3):
            values[k] = min(max(mean + sd * z[k], 0.0), scale)
            weights[k] = moments[0] * vectors[0, k] ** 2
        return
    half = np.sqrt(skew**2 + 4.0)
    upper, lower = (skew + half) / 2.0, (skew - half) / 2.0
    values[0], values[1] = min(max(mean + sd * lower, 0.0), scale), min(max(mean + sd * upper, 0.0), scale)
    weights[0], weights[1] = moments[0] * upper / half, -moments[0] * lower / half


@compiled
def tabulate_steps(generator, variance, intervals):
    """Tabulate chances and variances of steps between states.

    Parameters
    ----------
    generator : (N, N) array
        Rates per frame.
    variance : (N,) array
        Variance per coordinate of a step of one frame in each state.
    intervals : (G,) array of int
        Lengths of steps, frames.

    Returns
    -------
    chance, spread : (G, N, N, 3) arrays
        Chance to be in state j at the end of a step, given state i at its start, and variance of the step, split into
        three values of the variance. If j is i, the first stands for no change of state.
    """
    n, top = len(variance), max(variance.max(), 1e-300)
    chance, spread = np.zeros((len(intervals), n, n, N_NODES)), np.zeros((len(intervals), n, n, N_NODES))
    for g, frames in enumerate(intervals):
        moments = expand_moments(generator, variance / top, frames)
        for i in range(n):
            for j in range(n):
                if i != j:
                    find_nodes(moments[:, i, j].copy(), 3, float(frames), chance[g, i, j], spread[g, i, j])
                    continue
                stay, rest = np.exp(generator[i, i] * frames), moments[:, i, i].copy()
                whole = rest[0]
                for k in range(N_MOMENTS):
                    rest[k] -= stay * (frames * variance[i] / top) ** k
                if rest[0] > MIN_RETURN:
                    find_nodes(rest, 2, float(frames), chance[g, i, i, 1:], spread[g, i, i, 1:])
                    chance[g, i, i, 0] = stay
                else:
                    chance[g, i, i, 0] = whole
                spread[g, i, i, 0] = frames * variance[i] / top
    return chance, spread * top


@compiled
def filter_positions(x, y, interval, noise, start, chance, spread, blur, n_ages):
    """Log-likelihood of every position given those before it.

    Parameters
    ----------
    x, y : (T,) arrays
        Positions of all tracks, one after the other.
    interval : (T,) array of int
        Index of the length of the step that leads to each point, into the first axis of `chance`; -1 at the first
        point of a track.
    noise : (T,) array
        Variance of the localisation error per coordinate.
    start : (N,) array
        Chances of the states at the first point.
    chance, spread : (G, N, N, 3) arrays
        As returned by `tabulate_steps`.
    blur : (N,) array
        What motion during the exposure takes off the variance of the localisation error in each state.
    n_ages : int
        Number of Gaussians for each state; the last is of all older stays.

    Returns
    -------
    (T,) array
        Nats; 0 at first points.
    """
    n = len(start)
    result = np.zeros(len(x))
    belief = np.zeros((n, n_ages, 4))  # weight, mean of x and of y, variance
    sums = np.zeros((n, n_ages, 5))
    for t in range(len(x)):
        g = interval[t]
        if g < 0:
            belief[:] = 0.0
            for i in range(n):
                belief[i, 0] = np.array([start[i], x[t], y[t], noise[t] - blur[i]])
            continue
        error = noise[t] - blur
        floor = MIN_VARIANCE * noise[t] + 1e-300
        largest = find_largest_exponent(belief, x[t], y[t], error, spread[g], floor)
        add_hypotheses(sums, belief, x[t], y[t], error, chance[g], spread[g], floor, largest)
        likelihood = sums[:, :, 0].sum()
        result[t] = np.log(likelihood) + largest - np.log(2.0 * np.pi)
        for j in range(n):
            for b in range(n_ages):
                weight = sums[j, b, 0]
                belief[j, b, 0] = weight / likelihood
                if weight > 0.0:
                    dx, dy = sums[j, b, 1] / weight, sums[j, b, 2] / weight
                    belief[j, b, 1], belief[j, b, 2] = x[t] - dx, y[t] - dy
                    belief[j, b, 3] = sums[j, b, 3] / weight + 0.5 * (sums[j, b, 4] / weight - dx * dx - dy * dy)
    return result


@compiled
def find_largest_exponent(belief, x, y, error, spread, floor):
    """Upper bound of the exponents of all hypotheses, so that not all of their exponentials become 0."""
    n, n_ages = belief.shape[:2]
    largest = -np.inf
    for i in range(n):
        for a in range(n_ages):
            if belief[i, a, 0] >= MIN_WEIGHT:
                half_square = -0.5 * ((x - belief[i, a, 1]) ** 2 + (y - belief[i, a, 2]) ** 2)
                for j in range(n):
                    widest = max(spread[i, j, 0], spread[i, j, 1], spread[i, j, 2])
                    largest = max(largest, half_square / max(belief[i, a, 3] + error[j] + widest, floor))
    return largest


@compiled
def add_hypotheses(sums, belief, x, y, error, chance, spread, floor, largest):
    """Add up what all hypotheses on the last step and its start give for each state and age at its end.

    Parameters
    ----------
    sums : (N, ages, 5) array
        Filled: likelihood times exp(-largest), and sums with this weight of x - mean and y - mean, of the variance and
        of (x - mean)^2 + (y - mean)^2 after the new point.
    belief : (N, ages, 4) array
        Weight, mean of x and of y, and variance before it.
    x, y, floor, largest : float
    error : (N,) array
        Variance of the localisation error per coordinate in each state.
    chance, spread : (N, N, 3) arrays
    """
    n, n_ages = belief.shape[:2]
    sums[:] = 0.0
    for i in range(n):
        for a in range(n_ages):
            if belief[i, a, 0] < MIN_WEIGHT:
                continue
            dx, dy = x - belief[i, a, 1], y - belief[i, a, 2]
            square = dx * dx + dy * dy
            for j in range(n):
                for k in range(N_NODES):
                    weight = belief[i, a, 0] * chance[i, j, k]
                    if weight < MIN_WEIGHT:
                        continue
                    b = min(a + 1, n_ages - 1) if i == j and k == 0 else 0
                    total = max(belief[i, a, 3] + error[j] + spread[i, j, k], floor)
                    precision = 1.0 / total
                    weight *= np.exp(-0.5 * square * precision - largest) * precision
                    left = error[j] * precision  # share of the distance to the new point that remains
                    rest = weight * left
                    sums[j, b, 0] += weight
                    sums[j, b, 1] += rest * dx
                    sums[j, b, 2] += rest * dy
                    sums[j, b, 3] += rest * (total - error[j])
                    sums[j, b, 4] += rest * left * square
