"""The command `tracewise`: each sub-command calls the function behind the script of the same name.

`tracewise infer TRACKS --out DIR` does what `python main/infer.py TRACKS --out DIR` does.
"""

from __future__ import annotations

import importlib
import sys
from importlib import metadata

# Sub-command: the module whose main(arguments, prog) it calls, and one sentence. A module is imported when its command
# runs, because torch alone takes seconds to import.
COMMANDS = {
    "check": ("main.check", "Say what track files hold and what would be analysed."),
    "infer": ("main.infer", "Estimate K, alpha, state and changepoints of tracks in files."),
    "localise": ("main.localise", "Find the molecules of a movie and link them to tracks."),
    "images": ("main.predict_images", "Estimate D of one molecule from each image block of a folder."),
    "kinetics": ("main.kinetics", "Estimate dwell times and transition rates from results of infer."),
    "report": ("main.report", "Write report.html, one page about the results of infer."),
    "train": ("main.train", "Train a network on simulated tracks."),
    "benchmark": ("main.benchmark", "Score methods on the experiments of the AnDi-2 challenge."),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a sub-command.

    Parameters
    ----------
    arguments : list of str, optional
        The sub-command and its options; by default those of the command line.

    Returns
    -------
    int
        Exit code of the sub-command; 2 with one sentence on stderr if there is no such sub-command.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(help_text())
        return 0
    if name == "--version":
        print(f"tracewise {metadata.version('tracewise')}")
        return 0
    if name not in COMMANDS:
        print(f"tracewise: no command '{name}', expected one of {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(COMMANDS[name][0]).main(rest, prog=f"tracewise {name}")
    except KeyboardInterrupt:  # while modules load, which takes seconds; a command itself says what it wrote
        print("interrupted.", file=sys.stderr)
        return 130


def help_text() -> str:
    """The sub-commands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {sentence}" for name, (_, sentence) in COMMANDS.items()]
    return "\n".join(
        ["usage: tracewise COMMAND [OPTIONS]", "", "Analysis of single-molecule data.", "", "commands:"]
        + lines
        + [
            "",
            "`tracewise COMMAND --help` lists the options of a command.",
            "`tracewise --version` prints the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
