"""The compose stack under kills, restarts and a storm, with 3 workers and 2 APIs: docs/chaos_compose.md.

    python benchmarks/chaos_compose.py                      # what befalls it day by day, then a storm of 2 minutes
    python benchmarks/chaos_compose.py --seconds 300 --jobs 60

Wants Docker with Compose on this Linux machine, and root (`tests/chaos/compose.py`). Builds the images, and removes its
containers and volumes at the end. Exits with 1 where something was lost, came twice or came out differently.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the storm is at home among the tests

import report

from tests.chaos.compose import composed
from tests.chaos.deployment import QUICK
from tests.chaos.storm import Report, pass_over
from tests.chaos.upkeep import EPOCHS, JOBS, Seen, upkeep
from tests.services import wait_for_none

TITLE = "The compose stack, killed and restarted"
TELL = f"""By `make chaos-compose`. 3 workers, 2 APIs, PostgreSQL, Redis, all in the containers of `docker-compose.yml`.

## Day by day

The clocks of the defaults (leases of 30 s). For each act {JOBS} jobs of {EPOCHS:,} epochs are submitted; it begins when
one of them has a checkpoint. After it every job submitted so far must have ended once, with weights, summary, curve
and targets of an undisturbed run bit for bit, and no lease, no temporary and no unlisted file be left.

| act | took | jobs, by attempts | answers to clients | broken |
|---|---|---|---|---|
"""
STORM = """
## Storm

Leases of 4 s, renewed each second; a fault every 3 s on average; Docker's restart policies bring back what dies.

"""


def main() -> int:
    """Run both parts, tell what was seen, and keep it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=120.0)
    options.add_argument("--jobs", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    days, storm = _days(), _storm(asked)
    body = TELL + "".join(f"{seen}\n" for seen in days) + STORM + str(storm)
    report.keep("chaos_compose", TITLE, body, folder=report.DOCS)
    return int(bool(storm.broken) or any(seen.broken for seen in days))


def _days() -> list[Seen]:
    with tempfile.TemporaryDirectory(prefix="l0-chaos-") as folder, composed(Path(folder), clock={}) as (stack, on):
        return upkeep(stack, on, lambda seen: _tell(str(seen)))


def _storm(asked: argparse.Namespace) -> Report:
    made = Report(kind="compose", seed=asked.seed, seconds=asked.seconds)
    with tempfile.TemporaryDirectory(prefix="l0-chaos-") as folder:
        with composed(Path(folder), clock=QUICK) as (_, on):
            pass_over(on, made, jobs=asked.jobs, every=3.0)
        made.broken += [f"still runs: {command}" for command in wait_for_none(on.mark)]
    _tell(str(made))
    return made


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
