"""Options of an analysis: their defaults, and the check of the values that a user gives."""

from dataclasses import dataclass
from numbers import Integral, Real

from main.utils.errors import InputError

MIN_LENGTH = 20  # points; lower end of the training range of the shipped weights (their config.json)
FEWEST_POINTS = 5  # of a track that is analysed: intervals are calibrated on 5 to 200 frames (main/calibrate.py)
DEFAULT_WEIGHTS = {"none": "default", "sample": "sample"}  # --adapt -> name of the weights in main/models/weights
DEFAULT_FORMAT = "auto"
ESTIMATE = "estimate"  # value of --localization-error
ADAPTATIONS = tuple(DEFAULT_WEIGHTS)  # choices of --adapt
DECIMALS = ("point", "comma")  # choices of --decimal
DEVICES = ("auto", "cpu", "cuda")  # choices of --device
# Ranges that hold every microscope with room. Outside them a unit is mistaken, and results leave the range of floats.
PIXEL_SIZES_UM = (1e-5, 1e4)  # 0.01 nm, below atoms, to 1 cm; cameras with objectives have 0.01 to 20 um
FRAME_INTERVALS_S = (1e-9, 1e6)  # 1 ns to 12 days; from high-speed interferometry (1 us) to a picture a day
LOCALIZATION_ERRORS = (1e-6, 1e6)  # or 0; in px, um or nm: from .001 (um) to 1,000 (nm)
EXPOSURES = (0.0, 1.0)  # of the frame interval
MIN_LENGTHS = (FEWEST_POINTS, 10**9)  # points


@dataclass(frozen=True)
class InferenceOptions:
    """Options of `main.tracks.pipeline.infer_files` that decide what the tables hold; run.json stores them.

    Parameters
    ----------
    format : str
        Key of `main.tracks.reading.formats.FORMATS`.
    pixel_size : float, optional
        Micrometres per pixel, for files in pixels.
    frame_interval : float, optional
        Seconds between frames; must agree with what the file declares.
    localization_error : float or "estimate", optional
        Standard deviation per coordinate, in the unit of x and y; used instead of the file's error columns. With
        "estimate" it is estimated from each file.
    exposure : float
        Share of the frame interval during which the shutter is open, 0 to 1.
    correct_drift : bool
        Whether to subtract the drift that all tracks of a file share.
    columns : dict, optional
        track_id, frame, x, y -> column name in the file.
    decimal : {"point", "comma"}, optional
        Decimal mark of text files; by default what their numbers show.
    weights : str, optional
        Name of shipped weights or their folder; None stands for the default of `adapt`.
    adapt : {"none", "sample"}
        "sample": all tracks of a file are analysed together, as one sample.
    min_length : int
        Number of points that a track needs to be analysed, 5 or more.
    device : {"auto", "cpu", "cuda"}
    scheduler : str, optional
        Address of a dask scheduler.
    andi, csv : bool
        Whether to write the files of the AnDi-2 challenge, and CSV copies of the tables.

    Raises
    ------
    InputError
        If a value cannot be used, see `check_values`.
    """

    format: str = DEFAULT_FORMAT
    pixel_size: float | None = None
    frame_interval: float | None = None
    localization_error: float | str | None = None
    exposure: float = 0.0
    correct_drift: bool = False
    columns: dict[str, str] | None = None
    decimal: str | None = None
    weights: str | None = None
    adapt: str = "none"
    min_length: int = MIN_LENGTH
    device: str = "auto"
    scheduler: str | None = None
    andi: bool = False
    csv: bool = False

    def __post_init__(self):
        values = check_values(
            self.pixel_size, self.frame_interval, self.localization_error, self.min_length, self.adapt, self.exposure
        )
        for name, value in values.items():
            object.__setattr__(self, name, value)  # frozen for all others
        check_choice("--device", self.device, DEVICES)
        if self.decimal is not None:
            check_choice("--decimal", self.decimal, DECIMALS)
        for name, value in (("--weights", self.weights), ("--scheduler", self.scheduler)):
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise InputError(f"{name} is {value!r}, expected a name; leave it out for the default.")
        for name, value in (("correct_drift", self.correct_drift), ("andi", self.andi), ("csv", self.csv)):
            if not isinstance(value, bool):
                raise InputError(f"{name} is {value!r}, expected True or False.")

    @property
    def as_sample(self) -> bool:
        """Whether all tracks of a file are analysed together, as one sample."""
        return self.adapt == "sample"

    @property
    def sigma(self) -> float | None:
        """Localisation error of all tracks; None where the table of tracks holds it, or it is unknown."""
        return None if self.localization_error == ESTIMATE else self.localization_error


def check_values(pixel_size, frame_interval, localization_error, min_length, adapt, exposure=0.0) -> dict:
    """Return the values as Python numbers, by the names of the fields of `InferenceOptions`.

    Raises
    ------
    InputError
        For a value outside the allowed range; names the option and the range.
    """
    values = {"exposure": check_number("--exposure", exposure, EXPOSURES, "of the frame interval")}
    if pixel_size is not None:
        values["pixel_size"] = check_number("--pixel-size", pixel_size, PIXEL_SIZES_UM, "um")
    if frame_interval is not None:
        values["frame_interval"] = check_number("--frame-interval", frame_interval, FRAME_INTERVALS_S, "s")
    if localization_error is not None and not is_word(localization_error, ESTIMATE):
        allowed = (0, 0) if is_number(localization_error, 0, 0) else LOCALIZATION_ERRORS
        unit = f"in the unit of x and y, 0 or the word {ESTIMATE}"
        values["localization_error"] = check_number("--localization-error", localization_error, allowed, unit)
    low, high = MIN_LENGTHS
    if not (isinstance(min_length, Integral) and is_number(min_length, low, high)):
        raise InputError(f"--min-length is {min_length!r}, expected a whole number from {low} to {high}.")
    check_choice("--adapt", adapt, ADAPTATIONS)
    return values | {"min_length": int(min_length)}


def check_number(name: str, value, allowed: tuple[float, float], unit: str) -> float:
    """Return a number as a float; InputError if it is no number or outside `allowed`."""
    low, high = allowed
    if not is_number(value, low, high):
        raise InputError(f"{name} is {value!r}, expected a number from {low:g} to {high:g} {unit}.")
    return float(value)


def check_choice(name: str, value, choices: tuple[str, ...]) -> None:
    """Raise InputError if a value is none of the choices."""
    if not any(is_word(value, choice) for choice in choices):
        raise InputError(f"{name} is {value!r}, expected one of {', '.join(choices)}.")


def is_number(value, low: float, high: float) -> bool:
    """Whether a value is a number of Python or NumPy in a range, ends included; True and False are no numbers."""
    return isinstance(value, Real) and not isinstance(value, bool) and bool(low <= value <= high)


def is_word(value, word: str) -> bool:
    """Whether a value, of any type, is this word."""
    return isinstance(value, str) and value == word
