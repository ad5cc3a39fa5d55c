"""Files written whole or not at all, folders claimed by one process, checksums, and versions of packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path

from main.utils.errors import InputError
from simulations import claims

# They stand in simulations, which may not import main.
from simulations.files import sha256, write_atomically

__all__ = ["PACKAGES", "claim_folder", "sha256", "version", "write_atomically"]

PACKAGES = ("numpy", "pandas", "pyarrow", "torch", "ruptures", "safetensors")


@contextmanager
def claim_folder(folder: str | Path) -> Iterator[Path]:
    """Claim a folder as `simulations.claims.claim_folder` does; a reason against it is an InputError.

    Parameters
    ----------
    folder : path
        Made if there is none, and removed at the end if it is empty then.

    Yields
    ------
    Path
        An empty folder for files that are not complete yet, on the same file system. Removed at the end.

    Raises
    ------
    InputError
        If another process has claimed the folder, or it cannot be made or written.
    """
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(claims.claim_folder(folder))
        except claims.ClaimedError as error:
            raise InputError(error) from error
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{folder}: cannot be written ({reason}), give another folder.") from error
        yield temporary


def version(package: str) -> str:
    """Version of an installed package, "not installed" if it runs from its folder."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
