"""Write report.html, one page about the results of `infer.py`: `python main/report.py RESULTS`."""

import sys
from pathlib import Path

from main.tracks.report.write import write_report
from main.utils.errors import InputError
from simulations.arguments import Parser


def main(arguments=None, prog=None) -> int:
    """Run the command; 0, or 2 with one sentence if the folder holds no results, 130 after Ctrl-C."""
    parser = Parser(prog=prog or "report.py", description="Write report.html into a results folder.")
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder that infer.py wrote")
    try:
        print(f"Report: {write_report(parser.parse_args(arguments).results)}")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"interrupted: {str(error) or 'nothing was written'}.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
