"""The list of kinds, and what each declares of itself."""

import inspect
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

import l0core
from l0core.errors import CheckpointIncompatible
from l0core.kind import Kind
from l0core.kinds import KINDS

PACKAGE = Path(l0core.__file__).parent
EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def test_the_folders_that_declare_a_kind_are_the_kinds_listed() -> None:
    folders = [f.parent.name for f in PACKAGE.glob("*/__init__.py")]
    declared = [kind for f in folders if (kind := getattr(import_module(f"l0core.{f}"), "KIND", None))]
    assert {kind.name: kind for kind in declared} == KINDS


@EVERY_KIND
def test_a_kind_is_named_as_its_folder(kind: Kind) -> None:
    assert (PACKAGE / kind.name / "__init__.py").is_file()
    assert kind.problem.startswith(f"l0core.{kind.name}.")
    assert kind.run.startswith(f"l0core.{kind.name}.")


@EVERY_KIND
def test_what_a_kind_names_can_be_imported_and_has_the_promised_face(kind: Kind) -> None:
    problem = kind.problem_type()
    assert all(callable(getattr(problem, name)) for name in ("build", "load", "save"))
    assert {"sha256", "sizes", "findings"} <= set(dir(problem))
    assert list(inspect.signature(kind.engine()).parameters) == ["problem", "hyperparameters", "context"]


@EVERY_KIND
def test_the_inputs_of_a_kind_are_the_arguments_of_its_problem(kind: Kind) -> None:
    arguments = inspect.signature(kind.problem_type().build).parameters
    assert set(kind.inputs.model_fields) == set(arguments)
    for name, field in kind.inputs.model_fields.items():
        assert field.is_required() == (arguments[name].default is inspect.Parameter.empty), name


@EVERY_KIND
def test_every_hyperparameter_and_input_says_what_it_means(kind: Kind) -> None:
    for model in (kind.hyperparameters, kind.inputs):
        assert [name for name, field in model.model_fields.items() if not field.description] == []


@EVERY_KIND
def test_a_kind_refuses_a_name_it_does_not_know(kind: Kind) -> None:
    for model in (kind.hyperparameters, kind.inputs):
        assert model.model_config.get("extra") == "forbid"


@EVERY_KIND
def test_no_curve_is_named_twice(kind: Kind) -> None:
    assert len(set(kind.curves)) == len(kind.curves)


@EVERY_KIND
def test_a_kind_whose_result_is_a_weighting_reads_one_out_of_its_checkpoints(kind: Kind, tmp_path: Path) -> None:
    assert (kind.partial is None) == (kind.weights is None)
    (tmp_path / "checkpoint").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointIncompatible):
        kind.weights_in(tmp_path / "checkpoint")
    with pytest.raises(CheckpointIncompatible, match="holds no weights"):
        replace(kind, partial=None).weights_in(tmp_path / "checkpoint")
