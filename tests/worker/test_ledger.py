"""The ledger: messages in, batches out."""

from typing import Any

import pytest

from service.jobs.values import ArtifactRef, Batch, CheckpointRef
from worker.ledger import Ledger
from worker.messages import (
    ArtifactMessage,
    CheckpointMessage,
    DoneMessage,
    EpochMessage,
    FailedMessage,
    FindingMessage,
    StageMessage,
    StoppedMessage,
    TargetsMessage,
)

MOST_POINTS = 20_000
STORED: dict[str, Any] = {"storage_key": "jobs/a/b/c", "sha256": "0" * 64, "size_bytes": 3}


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger({})
    made.clear()
    return made


def epoch(number: int, **metrics: float | None) -> EpochMessage:
    return EpochMessage(epoch=number, epochs=100, metrics=metrics)


def test_the_versions_are_the_first_news() -> None:
    ledger = Ledger({"engine": "1"})
    assert ledger.has_news
    assert ledger.batch == Batch(versions={"engine": "1"})
    ledger.clear()
    assert not ledger.has_news


def test_a_stage_is_shown_and_noted(ledger: Ledger) -> None:
    ledger.add(StageMessage(stage="refitting"))
    assert ledger.batch.stage == "refitting"
    assert [(note.type, note.data) for note in ledger.batch.events] == [("stage", {"stage": "refitting"})]


def test_the_last_stage_of_a_batch_is_shown_and_each_is_noted(ledger: Ledger) -> None:
    for stage in ("refitting", "evaluating"):
        ledger.add(StageMessage(stage=stage))
    assert ledger.batch.stage == "evaluating"
    assert [note.message for note in ledger.batch.events] == ["refitting", "evaluating"]


def test_an_epoch_becomes_progress_and_points(ledger: Ledger) -> None:
    ledger.add(epoch(40, loss=2.0, active=7.0, mean_abs_relative_error=0.1, epoch_seconds=0.5, temperature=1.0))
    assert ledger.batch.progress == {
        "epoch": 40,
        "epochs": 100,
        "loss": 2.0,
        "active": 7.0,
        "mean_abs_relative_error": 0.1,
        "eta_seconds": 30.0,
    }
    assert ledger.batch.metrics[0][0] == 40
    assert ledger.batch.metrics[0][1]["temperature"] == 1.0


def test_progress_without_a_pace_has_no_eta(ledger: Ledger) -> None:
    ledger.add(epoch(1, loss=None))
    assert ledger.batch.progress is not None
    assert (ledger.batch.progress["loss"], ledger.batch.progress["eta_seconds"]) == (None, None)


def test_a_finding_is_noted(ledger: Ledger) -> None:
    doubt = {"code": "collinear", "severity": "warning", "target": "b", "index": 3, "value": 0.5}
    ledger.add(FindingMessage(message="two targets say the same", **doubt))
    (note,) = ledger.batch.events
    assert (note.type, note.message) == ("finding", "two targets say the same")
    assert note.data == doubt


def test_a_checkpoint_is_listed_and_noted(ledger: Ledger) -> None:
    ledger.add(CheckpointMessage(epoch=3, **STORED))
    assert ledger.batch.checkpoints == [CheckpointRef(epoch=3, **STORED)]
    assert [note.data for note in ledger.batch.events] == [{"epoch": 3}]


def test_rows_of_targets_are_gathered(ledger: Ledger) -> None:
    ledger.add(TargetsMessage(rows=[{"index": 0}]))
    ledger.add(TargetsMessage(rows=[{"index": 1}]))
    assert ledger.batch.targets == [{"index": 0}, {"index": 1}]


def test_artifacts_wait_for_the_end_whatever_is_written_meanwhile(ledger: Ledger) -> None:
    ledger.add(ArtifactMessage(name="a", content_type="text/csv", **STORED))
    ledger.clear()
    assert ledger.artifacts == [ArtifactRef(name="a", content_type="text/csv", **STORED)]


@pytest.mark.parametrize(
    "ending", [DoneMessage(summary={}), StoppedMessage(epoch=1), FailedMessage(code="a", detail="b")]
)
def test_the_last_word_is_the_ending(ledger: Ledger, ending: DoneMessage | StoppedMessage | FailedMessage) -> None:
    assert ledger.ending is None
    ledger.add(ending)
    assert ledger.ending == ending
    assert not ledger.has_news


def test_what_waits_while_the_database_is_away_is_bounded(ledger: Ledger) -> None:
    for number in range(3 * MOST_POINTS):
        ledger.add(epoch(number, loss=1.0))
        assert len(ledger.batch.metrics) <= MOST_POINTS
    steps = [step for step, _ in ledger.batch.metrics]
    assert steps == sorted(steps)
    assert steps[0] < MOST_POINTS  # thinned out, not cut off


def test_the_newest_point_is_never_the_one_that_goes(ledger: Ledger) -> None:
    for number in range(MOST_POINTS + 1):
        ledger.add(epoch(number, loss=1.0))
    assert ledger.batch.metrics[-1][0] == MOST_POINTS
