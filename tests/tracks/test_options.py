"""Options through the Python interface: types and ranges, in one sentence each."""

import numpy as np
import pytest

from main.tracks.options import FRAME_INTERVALS_S, LOCALIZATION_ERRORS, PIXEL_SIZES_UM, InferenceOptions
from main.utils.errors import InputError

NUMBERS = ("pixel_size", "frame_interval", "localization_error", "exposure")


@pytest.mark.parametrize("name", [*NUMBERS, "min_length"])
@pytest.mark.parametrize("value", ["0.1", True, np.True_, float("nan"), float("inf"), -1, 10**400, [1.0], 1j, 1e155])
def test_what_is_no_number_in_the_range_is_refused(name, value):
    with pytest.raises(InputError, match=f"^--{name.replace('_', '-')} is .*, expected a (whole )?number from "):
        InferenceOptions(**{name: value})


@pytest.mark.parametrize("kind", [float, np.float32, np.float64])
def test_numbers_of_numpy_become_those_of_python(kind):
    options = InferenceOptions(**dict.fromkeys(NUMBERS, kind(0.5)), min_length=np.int32(7))
    assert [getattr(options, name) for name in NUMBERS] == [0.5] * 4 and options.min_length == 7
    assert {type(getattr(options, name)) for name in NUMBERS} == {float} and type(options.min_length) is int


def test_the_ends_of_the_ranges_are_allowed():
    for i in (0, 1):
        InferenceOptions(
            pixel_size=PIXEL_SIZES_UM[i], frame_interval=FRAME_INTERVALS_S[i], localization_error=LOCALIZATION_ERRORS[i]
        )
    assert InferenceOptions(localization_error=0).sigma == 0
    assert InferenceOptions(localization_error="estimate").sigma is None


@pytest.mark.parametrize(
    "wrong",
    [
        *({"adapt": value} for value in ("samples", None, ["none"], np.arange(2))),
        *({name: value} for name in ("weights", "scheduler") for value in ("", " ", 5)),
        *({name: 1} for name in ("csv", "andi", "correct_drift")),
        {"device": "gpu"},
        {"min_length": 20.5},
    ],
)
def test_a_choice_or_a_type_that_is_wrong_is_named(wrong):
    with pytest.raises(InputError, match=f"^-?-?{next(iter(wrong)).replace('_', '.')} is "):
        InferenceOptions(**wrong)
