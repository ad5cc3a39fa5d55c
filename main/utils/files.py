"""Files written whole or not at all, checksums, and versions of packages."""

from __future__ import annotations

import hashlib
import os
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "pandas", "pyarrow", "torch", "ruptures", "safetensors")


def write_atomically(path: Path, write) -> None:
    """Call `write(temporary path)` and rename what it wrote to `path`, so that no half file is ever there.

    Raises
    ------
    OSError
        If it cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def version(package: str) -> str:
    """Version of an installed package, "not installed" if it runs from its folder."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
