"""What a run is handed when nothing is said: nothing is reported, nothing stops it, nothing is written."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from l0core.context import CheckpointPolicy, RunContext, StageReport


def test_a_context_of_its_own_is_silent_and_never_stops() -> None:
    context = RunContext()
    context.report(StageReport(stage="preparing"))
    assert not context.should_stop()
    assert (context.seed, context.device, context.checkpoints, context.resume_from) == (0, "cpu", None, None)
    assert context.clock() <= context.clock()


def test_a_context_cannot_be_changed_under_a_run() -> None:
    with pytest.raises(FrozenInstanceError):
        RunContext().seed = 1  # type: ignore[misc]  # the fault under test


def test_a_checkpoint_policy_names_one_file_and_needs_no_listener(tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    assert policy.path == tmp_path / "checkpoint.safetensors"
    policy.saved(policy.path, 3)
    assert list(tmp_path.iterdir()) == []
