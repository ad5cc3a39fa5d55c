"""Functions that numba compiles to machine code. numba takes half a second to import: import this where it is used."""

from contextlib import suppress

from numba import njit

# Sums may be reordered and multiplications joined with additions; infinite values keep their meaning. Division by zero
# gives inf, as in NumPy.
OPTIONS = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}, "error_model": "numpy"}


def compiled(function):
    """Compile a function at its first call, to run without the interpreter's lock.

    The machine code is kept in NUMBA_CACHE_DIR, in `__pycache__` beside the source or in the user's cache, the first
    that can be written to; where none can, each process compiles anew. Changes are noticed in the function's own file
    alone, so a compiled function must call no compiled function of another file. All functions for samples together
    take about 10 s of one core to compile.

    Parameters
    ----------
    function : callable
        In the part of Python that numba understands.

    Returns
    -------
    callable
    """
    try:
        made = njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # numba found no folder for its cache
        return njit(**OPTIONS)(function)
    save = made._cache.save_overload

    def save_if_possible(*arguments):
        with suppress(OSError):  # the disk is full: the next process compiles anew
            save(*arguments)

    made._cache.save_overload = save_if_possible
    return made
