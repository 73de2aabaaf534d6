"""A run that goes on from the checkpoint of another: what its hyperparameters changed is told."""

from collections.abc import Iterator, Mapping
from typing import Any

from l0core.context import FindingReport


def changed_hyperparameters(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[FindingReport]:
    """Give a warning where hyperparameters differ, which names them.

    >>> [doubt.message for doubt in changed_hyperparameters({"epochs": 5}, {"epochs": 9})]
    ['goes on from a run with other hyperparameters: epochs 5 -> 9']
    """
    changed = [f"{name} {before.get(name)!r} -> {now[name]!r}" for name in now if before.get(name) != now[name]]
    if changed:
        yield FindingReport(
            code="continued_with_changes",
            severity="warning",
            message=f"goes on from a run with other hyperparameters: {', '.join(changed)}",
        )
