"""Compiled functions: without a folder for their cache, and not before they are needed."""

import subprocess
import sys

import numpy as np
import pytest
from numba.core import caching

from main.utils.compiled import compiled


def add_halves(values):
    return (0.5 * values).sum()


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_read_only_installation_compiles_too(monkeypatch, tmp_path, has_folder):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    if not has_folder:
        monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    assert compiled(add_halves)(np.arange(4.0)) == 3.0


def test_infer_without_samples_does_not_load_numba():
    code = "import sys, main.infer; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
