"""What the child says, one JSON object a line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from worker.messages import (
    ArtifactMessage,
    Assignment,
    CheckpointMessage,
    DoneMessage,
    EpochMessage,
    FailedMessage,
    FindingMessage,
    StageMessage,
    StoppedMessage,
    TargetsMessage,
    decode,
)

STORED = {"storage_key": "jobs/a/b/c", "sha256": "0" * 64, "size_bytes": 3}
SAID: list[BaseModel] = [
    StageMessage(stage="selecting"),
    EpochMessage(epoch=3, epochs=10, metrics={"loss": 0.1 + 0.2, "active": None}),
    FindingMessage(code="empty_columns", severity="warning", message='a "quoted"\nline'),
    FindingMessage(code="ratio_conflict", severity="error", message="no", target="ä", index=3, value=0.1 + 0.2),
    CheckpointMessage(epoch=3, **STORED),
    TargetsMessage(rows=[{"index": 0, "name": "ä", "price": None}]),
    ArtifactMessage(name="a.csv", content_type="text/csv", **STORED),
    DoneMessage(summary={"n_active": 2, "nested": {"a": [1.5]}}),
    StoppedMessage(epoch=3),
    FailedMessage(code="diverged", detail="no number", pointer="/a", retry=True),
]


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
def test_a_message_is_read_as_what_it_was(said: BaseModel) -> None:
    assert decode(said.model_dump_json().encode()) == said


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
def test_a_message_is_one_line(said: BaseModel) -> None:
    assert "\n" not in said.model_dump_json()


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_through_to_the_last_bit(value: float) -> None:
    told = decode(EpochMessage(epoch=1, epochs=1, metrics={"loss": value}).model_dump_json().encode())
    assert isinstance(told, EpochMessage)
    assert told.metrics["loss"] == value


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"type": "unheard_of"}', b'{"stage": "selecting"}'])
def test_a_line_that_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValidationError):
        decode(line)


def test_a_number_that_is_not_finite_is_null_on_the_line() -> None:
    line = DoneMessage(summary={"loss": float("nan"), "price": float("inf")}).model_dump_json()
    assert json.loads(line)["summary"] == {"loss": None, "price": None}


def test_an_assignment_is_one_line_and_comes_back() -> None:
    made = Assignment(
        job_id="job_1",
        attempt=1,
        token="0" * 32,
        kind="calibration",
        problem_key="problems/prb_1",
        hyperparameters={"epochs": 5, "learning_rate": 0.1},
        seed=2**63 - 1,
        device="cpu",
        log_every=None,
        checkpoint_every=None,
        checkpoint_key=None,
        checkpoint_sha256=None,
        folder="/tmp/a b\nc",
    )
    line = made.model_dump_json()
    assert "\n" not in line
    assert Assignment.model_validate_json(line) == made
