"""run.json: what is read from it, and which folders are refused."""

import json

import pytest

from main.tracks.results.record import read_record
from main.utils.errors import InputError


def test_results_of_an_earlier_version_are_refused_in_one_sentence(tmp_path):
    record = {"inputs": [], "code_version": "0.2.0", "counts": {"flags": {}}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"written by version 0\.2\.0 of infer\.py.*analyse the files again"):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[" * 100_000, '{"counts": 1}', "\x00"])
def test_a_damaged_record_is_refused_in_one_sentence(text, tmp_path):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match="damaged or of another program"):
        read_record(tmp_path)
