"""The storm: jobs on a deployment whose workers, APIs, broker and database are killed, stopped and cut for minutes.

    python benchmarks/chaos.py                              # 60 jobs, 5 minutes on each deployment
    python benchmarks/chaos.py --seconds 60 --jobs 10 --on sqlite --seed 7

At the end every promised job must have ended once, with the result of an undisturbed run bit for bit, and nothing may
be left that nobody needs (`tests/chaos/laws.py`). Exits with 1 where a law is broken.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the storm is at home among the tests

import report

from tests.chaos.storm import Report, storm

KINDS = ("sqlite", "postgresql")
TITLE = "Storms"
TELL = """3 workers, 2 APIs, `max_attempts` 100; leases of 4 s, renewed each second; a fault every 3 s on average.

"""


def main() -> int:
    """Let a storm pass over each deployment, tell what is left, and keep it where both were asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=300.0)
    options.add_argument("--jobs", type=int, default=60)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--on", nargs="+", default=list(KINDS), choices=KINDS)
    asked = options.parse_args()
    reports = [_storm(kind, asked) for kind in asked.on]
    if tuple(asked.on) == KINDS:
        report.keep("chaos", TITLE, TELL + "\n".join(str(made) for made in reports))
    return int(any(made.broken for made in reports))


def _storm(kind: str, asked: argparse.Namespace) -> Report:
    with tempfile.TemporaryDirectory(prefix="l0-chaos-") as folder:
        made = storm(kind, Path(folder), jobs=asked.jobs, seconds=asked.seconds, seed=asked.seed)
    sys.stdout.write(f"{made}\n")
    sys.stdout.flush()
    return made


if __name__ == "__main__":
    sys.exit(main())
