"""Options of an analysis: their defaults, and the check of the values that a user gives."""

from dataclasses import dataclass

from main.utils.errors import InputError

MIN_LENGTH = 20  # points; lower end of the training range of the shipped weights (their config.json)
FEWEST_POINTS = 5  # of a track that is analysed: intervals are calibrated on 5 to 200 frames (main/calibrate.py)
DEFAULT_WEIGHTS = {"none": "default", "sample": "sample"}  # --adapt -> name of the weights in main/models/weights
DEFAULT_FORMAT = "auto"
ESTIMATE = "estimate"  # value of --localization-error
ADAPTATIONS = tuple(DEFAULT_WEIGHTS)  # choices of --adapt
DEVICES = ("auto", "cpu", "cuda")  # choices of --device


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
    weights: str | None = None
    adapt: str = "none"
    min_length: int = MIN_LENGTH
    device: str = "auto"
    scheduler: str | None = None
    andi: bool = False
    csv: bool = False

    def __post_init__(self):
        check_values(
            self.pixel_size, self.frame_interval, self.localization_error, self.min_length, self.adapt, self.exposure
        )

    @property
    def as_sample(self) -> bool:
        """Whether all tracks of a file are analysed together, as one sample."""
        return self.adapt == "sample"

    @property
    def sigma(self) -> float | None:
        """Localisation error of all tracks; None where the table of tracks holds it, or it is unknown."""
        return None if self.localization_error == ESTIMATE else self.localization_error


def check_values(pixel_size, frame_interval, localization_error, min_length, adapt, exposure=0.0) -> None:
    """Raise InputError, which names the option, for a value outside the allowed range."""
    for name, value in (("--pixel-size", pixel_size), ("--frame-interval", frame_interval)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} is {value}, expected a number above 0.")
    given = localization_error is not None and localization_error != ESTIMATE
    if given and (isinstance(localization_error, str) or not 0 <= localization_error < float("inf")):
        raise InputError(f"--localization-error is {localization_error}, expected 0, a number above 0 or {ESTIMATE}.")
    if not 0 <= exposure <= 1:
        raise InputError(f"--exposure is {exposure}, expected a share of the frame interval, 0 to 1.")
    if min_length < FEWEST_POINTS:
        raise InputError(f"--min-length is {min_length}, expected a whole number of {FEWEST_POINTS} or more.")
    if adapt not in ADAPTATIONS:
        raise InputError(f"--adapt is {adapt}, expected one of {', '.join(ADAPTATIONS)}.")
