"""The alarms name numbers that exist, and the runbook has a section and the same expression for each."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.api.exposition import Snapshot
from service.api.instruments import Instruments
from service.jobs.census import Census, Totals
from service.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"
GROUPS = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
RUNBOOK = (DOCS / "runbook.md").read_text(encoding="utf-8")
_OF_PROMETHEUS = {"up"}
_WORDS = {"by", "max", "sum", "rate", "increase", "delta", "histogram_quantile", "le"}


def told() -> dict[str, set[str]]:
    """Give every sample's name that /metrics can give, with the names of its labels."""
    instruments = Instruments()
    for family in (instruments.requests, instruments.seconds, instruments.body_bytes):
        family.labels(*["x"] * len(family._labelnames))
    snapshot = Snapshot(
        census=Census(jobs={}, oldest_pending_seconds={}, leases_held=0, leases_expired=0, workers={}),
        totals=Totals(failures={}, attempts=0, epochs=0),
        waiting_ids={"cpu": 0, "gpu": 0},
        disks={"files": (1, 1)},
    )
    text = (instruments.told() + generate_latest(snapshot)).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples}


def named(expression: str) -> dict[str, set[str]]:
    """Give the numbers an expression names, each with the labels it selects by."""
    plain = re.sub(r"\[\w+\]", "", re.sub(r'"[^"]*"', "", expression))
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", plain))))
    found = re.findall(r"\b([a-z_][a-z0-9_]*)(?:\{([^}]*)\})?", re.sub(r"by \([^)]*\)", "", plain))
    names = {name: set(re.findall(r"(\w+)\s*[=!]", labels)) for name, labels in found if name not in _WORDS}
    return {name: labels | grouped if name not in _OF_PROMETHEUS else set() for name, labels in names.items()}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alarm_names_numbers_and_labels_that_are_told(rule: dict[str, Any]) -> None:
    known = told()
    names = named(rule["expr"])
    assert names
    assert set(names) - _OF_PROMETHEUS <= set(known)
    for name, labels in names.items():
        assert labels <= known.get(name, set()), name


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_the_runbook_has_each_alarm_with_its_expression(rule: dict[str, Any]) -> None:
    section = RUNBOOK.partition(f"### {rule['alert']}\n")[2].partition("\n#")[0]
    assert f"`{' '.join(rule['expr'].split())}`" in " ".join(section.split())
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_runbook_explains_no_alarm_that_is_not_there() -> None:
    assert re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_every_number_the_runbook_names_is_told() -> None:
    names = set(re.findall(r"\b(l0_[a-z_]+[a-z])\b", RUNBOOK))
    assert names - set(told()) == set()


def test_every_setting_the_runbook_names_exists() -> None:
    assert set(re.findall(r"\bL0_([A-Z_]+[A-Z])\b", RUNBOOK)) <= {name.upper() for name in Settings.model_fields}


def test_every_event_the_runbook_names_is_logged_somewhere() -> None:
    root = DOCS.parent
    source = "".join(
        path.read_text(encoding="utf-8") for name in ("service", "worker") for path in (root / name).rglob("*.py")
    )
    table = RUNBOOK.partition("| event | who |")[2].partition("\n\n")[0]
    events = [event for row in table.splitlines() for event in re.findall(r"`(\w+)`", row.split("|")[1]) if "|" in row]
    assert events
    missing = [
        event for event in events if f'"{event}"' not in source and f'"{event.removeprefix("job_")}"' not in source
    ]
    assert missing == []
