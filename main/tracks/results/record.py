"""What a run did: counts over its blocks, the warnings, the summary line and run.json."""

import json
import platform
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from main.tracks.options import InferenceOptions
from main.tracks.reading.sources import Source
from main.tracks.results.left_out import PartSums, list_left_out, warn_of_left_out
from main.tracks.results.tables import Results
from main.utils.errors import InputError
from main.utils.files import PACKAGES, version

RECORD = "run.json"  # the record of a run, in the folder of its results


PARTS_OF_RECORD = {"inputs": list, "code_version": str, "counts": dict}  # of run.json of every version: name -> type


@dataclass
class Tally:
    """Counts over all blocks, and what is written after the last one.

    Parameters
    ----------
    tracks, gaps, analysed, segments : int
        Numbers of tracks, gaps, analysed tracks, segments.
    warnings : collections.Counter
        Name of a warning, as in the column `warnings` of the table of tracks -> number of tracks.
    left_out : dict of (str, str or None) -> PartSums
        Path and condition of each file -> what was used and left out of it.
    samples : list of dict
        With `adapt="sample"`: one record for each file, see `main.tracks.samples.read.analyse_sample`.
    not_decoded : list of str
        A warning for each file that was not decoded as a sample.
    texts : dict of Path -> list of str
        Texts of the challenge's files, a part for each block.
    """

    tracks: int = 0
    gaps: int = 0
    analysed: int = 0
    segments: int = 0
    warnings: Counter = field(default_factory=Counter)
    left_out: dict[tuple[str, str | None], PartSums] = field(default_factory=dict)
    samples: list = field(default_factory=list)
    not_decoded: list[str] = field(default_factory=list)
    texts: dict[Path, list[str]] = field(default_factory=dict)

    def add(self, source: Source, results: Results) -> None:
        """Add the tables of a block."""
        rows = results.tracks
        self.tracks += len(rows)
        self.gaps += int(rows["n_gaps"].sum())
        self.analysed += int((rows["n_segments"] > 0).sum())
        self.segments += len(results.segments)
        for names in rows["warnings"]:
            self.warnings.update(filter(None, names.split(";")))
        self.left_out.setdefault((str(source.path), source.condition), PartSums()).add(rows, len(results.points))
        if results.sample is not None:
            self.samples.append(results.sample)
            if not results.sample["mixture"]:
                self.not_decoded.append(f"{source.path}: {results.sample['reason']}.")

    def counts(self, files: list[Source]) -> dict:
        """Return the counts for run.json: what was read, dropped and analysed, and warnings.

        Rows are those of the files: every one is a point, or dropped for a reason.

        Raises
        ------
        InputError
            If rows of a file are missing in this account; this is a fault of the program, not of the user.
        """
        for file in files:
            check_rows(file)
        dropped = sum((Counter(file.dropped) for file in files), Counter())
        return {
            "files": len(files),
            "tracks": self.tracks,
            "rows": sum(count_rows(file) for file in files),
            "points": sum(file.n_points for file in files),
            "gaps": self.gaps,
            "analysed": self.analysed,
            "segments": self.segments,
            "dropped": dict(dropped),
            "warnings": dict(self.warnings),
        }

    def list_left_out(self) -> list[dict]:
        """Return what was used and left out of every file and condition, for run.json."""
        return list_left_out(self.left_out)

    def list_warnings(self, files: list[Source], localization_error: float | None) -> list[str]:
        """Return what the user should know: from the files, on tracks left out, on noise, on samples not decoded.

        Warnings that ask for a localisation error are left out if it is given.
        """
        found = [
            text
            for file in files
            for text in file.warnings
            if localization_error is None or "--localization-error" not in text
        ]
        found += [text for file in files for text in file.quality.get("warnings", [])]
        intervals = {file.units.frame_interval_s for file in files}
        if len(intervals) > 1:
            listed = ", ".join(f"{interval:g}" for interval in sorted(intervals))
            found.append(
                f"The files have different frame intervals ({listed} s): do not compare msd_1 and numbers of frames "
                "between them."
            )
        if self.left_out:
            found += warn_of_left_out(self.list_left_out(), files[0].units.labels()["d_cve"])
        if noisy := self.warnings["noise_dominated"]:
            found.append(
                f"{noisy} tracks are noise_dominated: without the localisation error, noise cannot be told from motion "
                "with alpha near 0; give --localization-error."
            )
        return found + self.not_decoded


def count_rows(file: Source) -> int:
    """Count the data rows of a file, or what is accounted for where the reader does not count them."""
    return file.n_points + sum(file.dropped.values()) if file.n_rows is None else file.n_rows


def check_rows(file: Source) -> None:
    """Raise InputError if the points and the dropped rows of a file are not all of its rows."""
    n_dropped = sum(file.dropped.values())
    if count_rows(file) != file.n_points + n_dropped:
        raise InputError(
            f"{file.path}: of {file.n_rows} rows, {file.n_points} are analysed and {n_dropped} dropped, so rows were "
            "lost; report this file, and save it in another format of the manual."
        )


def summarize_run(counts: dict, warnings: list[str], min_length: int, out: Path) -> str:
    """Return one line: what was read, what was dropped and why, where the results are."""
    dropped = [f"{n} {reason} points" for reason, n in counts["dropped"].items()]
    short = counts["warnings"].get("too_short", 0)
    if short:
        dropped.append(f"{short} tracks below {min_length} points (kept as rows with a classical D)")
    warned = [f"{n} {name}" for name, n in counts["warnings"].items() if name != "too_short"]
    parts = [
        f"Read {counts['tracks']} tracks, {counts['points']} points from {counts['rows']} rows of {counts['files']} "
        "file(s)",
        f"dropped {', '.join(dropped) or 'nothing'}",
        f"{counts['segments']} segments in {counts['analysed']} tracks",
    ]
    parts += [f"warnings of tracks: {', '.join(warned)}"] if warned else []
    parts += [f"{len(warnings)} warning(s) in run.json"] if warnings else []
    return "; ".join(parts) + f"; results in {out}"


def list_quality(files: list[Source]) -> dict[str, list[dict]]:
    """Return what was found of localisation error, drift and wrong points, a list over the files each, for run.json."""
    named = [({"file": str(file.path), "condition": file.condition}, file.quality) for file in files]
    names = ("localization_error", "drift", "wrong_points")
    return {name: [label | quality[name] for label, quality in named if name in quality] for name in names}


def make_record(
    files: list[Source], options: InferenceOptions, config: dict, counts: dict, warnings: list[str]
) -> dict:
    """Make the content of run.json: inputs with sha256, versions, weights, options, units, counts, warnings."""
    inputs = [
        {
            "path": str(file.path),
            "condition": file.condition,
            "sha256": file.sha256,
            "format": file.format,
            "dropped": file.dropped,
            "position": file.units.position,
            "um_per_unit": file.units.um_per_unit,
            "frame_interval_s": file.units.frame_interval_s,
        }
        for file in files
    ]
    return {
        "inputs": inputs,
        "code_version": version("tracewise"),
        "weights": config.get("sha256", {}),
        "options": asdict(options),
        "units": files[0].units.labels(),
        "counts": counts,
        "warnings": warnings,
        "packages": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def is_record(path: Path) -> bool:
    """Whether a file is the run.json of an analysis, of whatever version."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and all(
        isinstance(record.get(name), kind) for name, kind in PARTS_OF_RECORD.items()
    )


def read_record(folder: Path) -> dict:
    """Read run.json of a folder that `infer.py` wrote.

    Raises
    ------
    InputError
        If there is none, it is damaged, or an earlier version wrote it, whose tables have other columns.
    """
    path = folder / RECORD
    if not path.is_file():
        raise InputError(f"{folder}: has no run.json, expected a folder that infer.py wrote.")
    if not is_record(path):
        raise InputError(f"{path}: is damaged or of another program, analyse the files again with infer.py.")
    record = json.loads(path.read_text(encoding="utf-8"))
    if "flags" in record["counts"]:  # the name of `warnings` up to version 0.2.0
        raise InputError(
            f"{folder}: was written by version {record['code_version']} of infer.py, whose tables differ from today's; "
            "analyse the files again with infer.py."
        )
    if not isinstance(record.get("units"), dict):
        raise InputError(f"{path}: is damaged (it lacks the units), analyse the files again with infer.py.")
    return record
