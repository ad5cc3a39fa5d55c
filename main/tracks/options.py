"""Options of an analysis: defaults, and checks of the values that a user gives."""

from main.utils.errors import InputError

MIN_LENGTH = 20


def check_values(pixel_size, frame_interval, localization_error, min_length, adapt) -> None:
    """Raise InputError for values of options that cannot be."""
    for name, value in (("--pixel-size", pixel_size), ("--frame-interval", frame_interval)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} is {value}, expected a number above 0.")
    if localization_error is not None and not 0 <= localization_error < float("inf"):
        raise InputError(f"--localization-error is {localization_error}, expected 0 or more.")
    if min_length < 2:
        raise InputError(f"--min-length is {min_length}, expected 2 or more.")
    if adapt not in ("none", "sample"):
        raise InputError(f"--adapt is {adapt}, expected none or sample.")


DEFAULT_WEIGHTS = {"none": "default", "sample": "sample"}  # by --adapt
