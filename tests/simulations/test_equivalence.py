"""The batched engine has the statistics of andi_datasets, and a test that would notice if it were 5 % off.

Every statistic of `equivalence.py` is compared with the stored one of the library by Welch's t test, worlds being the
unit. ALPHA is the chance that any of the fifteen comparisons fails by luck: it is shared between the sets and, within
a set, between its 37 to 143 statistics (Bonferroni), so a single one has to be about 4.5 standard errors off.
"""

import json
from dataclasses import replace
from functools import cache
from importlib.metadata import version

import numpy as np
import pytest
from equivalence import (
    REFERENCE,
    ROUNDING,
    SETS,
    Sample,
    batched_sample,
    copies,
    described,
    library_sample,
    p_values,
    summarise,
)

ALPHA = 0.01
BIAS = 1.05
N_FRESH = 10  # worlds per set of the check that the stored reference is that of the installed library
PLANTED = [
    *[
        (f"{model} stress", name)
        for model in ("single_state", "multi_state", "immobile_traps", "dimerization", "confinement")
        for name in ("k_mean", "alpha_mean")
    ],
    ("immobile_traps stress", "p_unbind"),
    ("dimerization stress", "p_unbind"),
    ("confinement stress", "radius"),
]


@cache
def reference():
    return json.loads(REFERENCE.read_text())


def found_different(name: str, sample: Sample) -> dict[str, float]:
    """Statistics of a sample that differ from the library's beyond sampling error, with their p."""
    stored = reference()["sets"][name]
    found = p_values(stored["statistics"], stored["n_worlds"], summarise(sample), len(sample.xy))
    return {n: p for n, p in found.items() if p < ALPHA / len(SETS) / len(found)}


@pytest.mark.parametrize("name", SETS)
def test_statistics_equal_those_of_the_library(name):
    assert found_different(name, batched_sample(copies(SETS[name].world, SETS[name].n_batched), 1)) == {}


@pytest.mark.parametrize(("name", "parameter"), PLANTED)
def test_an_error_of_5_percent_is_found(name, parameter):
    world = SETS[name].world
    wrong = replace(world, **{parameter: getattr(world, parameter) * BIAS})
    found = found_different(name, batched_sample(copies(wrong, SETS[name].n_batched), 2))
    assert [n for n in found if "label" not in n]  # in the motion, not only in the labels that name it


@pytest.mark.parametrize("name", [n for n in SETS if n.endswith("stress") and "single" not in n])
def test_labels_one_frame_late_are_found(name):
    sample = batched_sample(copies(SETS[name].world, 50), 3)
    late = sample._replace(codes=np.concatenate([sample.codes[..., :1], sample.codes[..., :-1]], -1))
    assert any(n.startswith(("step +", "step -")) for n in found_different(name, late))


def test_reference_is_of_these_sets_and_this_library():
    stored = reference()
    assert stored["andi_datasets"] == version("andi-datasets"), "run python tests/equivalence.py"
    assert set(stored["sets"]) == set(SETS)
    for name, (world, n_library, _) in SETS.items():
        entry = stored["sets"][name]
        assert entry["world"] == described(world), f"run python tests/equivalence.py {world.model}"
        assert entry["n_worlds"] == n_library


@pytest.mark.parametrize("name", SETS)
def test_reference_agrees_with_a_fresh_run_of_the_library(name):
    """The fresh run is small, so its standard errors are those of the reference, scaled to its size."""
    stored = reference()["sets"][name]
    scale = (1 + stored["n_worlds"] / N_FRESH) ** 0.5
    fresh = summarise(library_sample(SETS[name].world, N_FRESH, 7), 30)
    common = fresh.keys() & stored["statistics"].keys()
    assert len(common) > 0.6 * len(stored["statistics"])
    for statistic in common:
        value, error = stored["statistics"][statistic]
        assert abs(fresh[statistic][0] - value) <= 5 * scale * error + ROUNDING * abs(value), statistic
