"""Laws of every engine, in this process: it stops and goes on as if nothing had been, and takes no other state up.

They are over the list of kinds, by the table in `samples`: a kind without a row there fails.
"""

from pathlib import Path
from typing import Any

import pytest

from l0core.context import CheckpointPolicy, RunContext, Stopped
from l0core.errors import CheckpointIncompatible
from l0core.kind import Kind, Result
from l0core.kinds import KINDS
from service.problems import child
from service.problems.requests import BuildRequest
from tests.kinds.samples import SAMPLES
from tests.service.problems.files import ROOMY

EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def test_every_kind_has_a_row_in_the_table_and_an_example() -> None:
    assert set(SAMPLES) == set(KINDS)
    assert [name for name, kind in KINDS.items() if kind.example is None] == []


def problem_of(kind: Kind, folder: Path) -> Any:
    """Give the sample's problem as the engine has it: read from what the service would keep."""
    given = kind.inputs.model_validate(SAMPLES[kind.name].problem)
    path = folder / "problem.safetensors"
    child.built(
        BuildRequest(kind=kind.name, inputs=given.model_dump_json(), uploads={}, limits=ROOMY, output=str(path))
    )
    return kind.problem_type().load(path)


def run(kind: Kind, folder: Path, *, changed: dict[str, Any] | None = None, **context: Any) -> Result | Stopped:
    options = kind.hyperparameters.model_validate(SAMPLES[kind.name].run | (changed or {}))
    return kind.engine()(problem_of(kind, folder), options, RunContext(seed=5, **context))


def written(result: Result | Stopped, folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    assert not isinstance(result, Stopped)
    paths = {artifact.name: artifact.path for artifact in result.write(folder)}
    return {name: paths[name].read_bytes() for name in names}


@EVERY_KIND
def test_the_files_of_a_result_are_those_the_kind_declares(kind: Kind, tmp_path: Path) -> None:
    result = run(kind, tmp_path, changed=SAMPLES[kind.name].continued)
    assert not isinstance(result, Stopped)
    names = {artifact.name for artifact in result.write(tmp_path / "out")}
    assert names <= set(kind.artifacts)
    needed = {table.artifact for table in kind.tables.values()} | set(kind.question.artifacts if kind.question else ())
    assert needed <= set(kind.artifacts)


@EVERY_KIND
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(kind: Kind, tmp_path: Path) -> None:
    sample, asked = SAMPLES[kind.name], 0

    def later() -> bool:
        nonlocal asked
        asked += 1
        return asked > sample.every_epochs

    policy = CheckpointPolicy(folder=tmp_path, every_epochs=sample.every_epochs)
    stopped = run(kind, tmp_path, checkpoints=policy, should_stop=later)
    assert isinstance(stopped, Stopped)
    assert stopped.epoch > 0
    resumed = written(run(kind, tmp_path, resume_from=policy.path), tmp_path / "resumed", sample.exact)
    assert resumed == written(run(kind, tmp_path), tmp_path / "whole", sample.exact)


@EVERY_KIND
@pytest.mark.parametrize("how", ["resume_from", "continue_from"])
def test_what_is_no_checkpoint_is_refused_as_such(kind: Kind, how: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointIncompatible):
        run(kind, tmp_path, changed=SAMPLES[kind.name].continued, **{how: tmp_path / "checkpoint"})
