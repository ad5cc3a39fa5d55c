"""Print the table of all shipped weights, from their cards, configurations and files.

    python misc/weights_table.py --out main/models/weights/README.md

A card is the README.md of a set. The table takes the first sentence of its points "Predicts", "Trained on" (and what it
says of priors) and "Used by", and the first row of its table of scores.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from main.utils.weights import WEIGHTS_DIR, load_weights

HEADER = "name|predicts|networks|parameters|trained on|frames|JSC|MAE alpha|MSLE K|F1|seed, fields|MB|used by".split(
    "|"
)
PAGE = """# Trained networks

Printed by `python misc/weights_table.py` from the cards (`README.md` of each folder), `config.json` and the networks.

{table}

Columns: parameters of all networks together; frames, range of track lengths in training; MB, size of the networks.
Scores come from the card, on the nine AnDi-2 experiments, weighted by tracks: JSC, Jaccard index of changepoints; MAE,
mean absolute error of alpha; MSLE, mean squared error of log(1 + K), K in px^2/frame^alpha; F1 of the states.
The column "seed, fields" has the seed of the experiments and the fields of view of each. Compare only rows of the same
seed and fields. `misc/benchmark.md` has all methods on the same tracks.

A folder holds `config.json` (architecture, training, segmentation, calibration, sha256 of each network), one
`.safetensors` file for each network, and the card. `main.utils.weights.load_weights` takes its name or path.
`main/ship.py` makes a folder of finished runs, by default `weights/NAME` of the working directory;
`main/calibrate.py` fits its intervals. A command that writes weights takes the path of their folder. These here are
part of the package: they are changed only by that path, and a set is replaced only with `--overwrite`.
"""


def read_point(card: str, name: str) -> str:
    """Read the text of one point of a card, on one line.

    Raises
    ------
    ValueError
        If the card has no such point.
    """
    found = re.search(rf"^- \*\*{name}\*\*:? (.+?)(?=^- \*\*|^$|\Z)", card, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"the card has no point **{name}**")
    return " ".join(found[1].split())


def take_first_sentence(text: str) -> str:
    """Take the first sentence of a text, without its full stop."""
    return re.match(r"(.+?)\.?(?:(?<=\.)\s|$)", text)[1]


def read_scores(card: str) -> dict[str, str]:
    """Read the first row of the table of scores of a card, and its seed and fields; empty if it has none."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line.startswith("|")]
    where = re.search(r"\((?:seed (\d+)|(published) seeds), (\d+) fields", card)
    if not rows or not where:
        return {}
    seed, published, fields = where.groups()
    cells = [re.sub(r" \(.+\)", "", cell) for cell in rows[2]]  # without intervals
    return dict(zip(rows[0], cells, strict=True)) | {"seed, fields": f"{seed or published}, {fields}"}


def describe_weights(folder: Path) -> dict[str, str]:
    """Describe one set of weights: a cell for each column of `HEADER`."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    nets, _ = load_weights(str(folder))
    trained = read_point(card, "Trained on")
    priors = re.search(r"Priors?: (.+)\.", trained)
    shortest, longest = config["training_range"]["n_frames"]
    return read_scores(card) | {
        "name": f"[`{folder.name}`]({folder.name}/README.md)",
        "predicts": take_first_sentence(read_point(card, "Predicts")),
        "networks": str(len(nets)),
        "parameters": f"{sum(p.numel() for net in nets.values() for p in net.parameters()):,}",
        "trained on": take_first_sentence(trained) + (f"; priors: {priors[1]}" if priors else ""),
        "frames": f"{shortest} to {longest}",
        "MB": f"{sum(path.stat().st_size for path in folder.glob('*.safetensors')) / 1e6:.1f}",
        "used by": take_first_sentence(read_point(card, "Used by")),
    }


def make_page() -> str:
    """Make the README of the folder of shipped weights."""
    rows = [describe_weights(path.parent) for path in sorted(WEIGHTS_DIR.glob("*/config.json"))]
    lines = [HEADER, ["---"] * len(HEADER), *([row.get(name, "") for name in HEADER] for row in rows)]
    return PAGE.format(table="\n".join(f"| {' | '.join(line)} |" for line in lines))


def main(arguments: list[str] | None = None) -> int:
    """Print the page, or write it to --out; 2 with one sentence if a card lacks something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write the page to (default: print it)")
    args = parser.parse_args(arguments)
    try:
        page = make_page()
        if args.out:
            args.out.write_text(page, encoding="utf-8")
        else:
            print(page, end="")
    except (OSError, ValueError) as error:
        print(f"weights_table.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
