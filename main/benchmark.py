"""The AnDi-2 benchmark: every method side by side on the nine experiments, with bootstrap intervals over tracks.

python main/benchmark.py --weights default fast --seed 71001 --fovs 10 --out runs/development
python main/benchmark.py --weights fast --published --fovs 30 --out runs/published    (once per release)
python main/benchmark.py --weights NAME --seed 71002 --out runs/tune --fit-penalty    (segmentation: fit, store)

Tracks are made once, on first use; videos (track 1 of the challenge) are skipped. Tables are printed as Markdown.
"""

import argparse
import sys

from main.tracks.benchmark.compute import CLASSICAL, NETWORK, TASKS, run


def parse(argv=None, prog=None):
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="runs/benchmark", help="folder of the data (made once) and the scores")
    parser.add_argument("--weights", nargs="*", default=[], help="names or folders of weights")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fovs", type=int, default=5, help="fields of view per experiment (published: 30)")
    parser.add_argument("--published", action="store_true", help="the published seeds instead of --seed")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=CLASSICAL + NETWORK,
        default=CLASSICAL + NETWORK,
        help="network: --weights and our segmentation; m3: the same with the original one's",
    )
    parser.add_argument(
        "--adapt",
        choices=["none", "sample"],
        default="none",
        help="sample: also all tracks of an experiment in the light of each other (NAME+sample)",
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, help="ensemble: states of each experiment")
    parser.add_argument("--fit-penalty", action="store_true", help="fit the segmentation on these data and store it")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(argv)


def main(argv=None, prog=None):
    """Run the benchmark; a missing or corrupted file gives one sentence and exit code 2."""
    try:
        run(parse(argv, prog))
    except (FileNotFoundError, ValueError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
