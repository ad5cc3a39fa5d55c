"""Files written whole or not at all, checksums, and versions of packages."""

from __future__ import annotations

from importlib import metadata

# They stand in simulations, which may not import main.
from simulations.files import sha256, write_atomically

__all__ = ["PACKAGES", "sha256", "version", "write_atomically"]

PACKAGES = ("numpy", "pandas", "pyarrow", "torch", "ruptures", "safetensors")


def version(package: str) -> str:
    """Version of an installed package, "not installed" if it runs from its folder."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
