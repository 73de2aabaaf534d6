"""Everything the engine refuses, and every way a run can fail.

    L0Error
    ├── InvalidInput              a problem that cannot be taken as it is
    │   ├── InvalidMatrix         its sparse structure is broken
    │   ├── ShapeMismatch         two of its arrays do not fit together
    │   └── NonfiniteInput        NaN or infinity where a number is needed
    ├── InvalidHyperparameter     a setting outside its range, or two that exclude one another
    ├── InfeasibleBudget          the record budget cannot be met
    ├── InfeasibleTargets         no weights within the bounds meet the targets exactly
    ├── Diverged                  the loss is no longer a number
    ├── CheckpointIncompatible    a checkpoint of another problem or engine
    └── MissingPackage            an optional package that this call needs is not installed

InvalidInput and InvalidHyperparameter are ValueErrors too, MissingPackage is an ImportError: code that catches Python's
own classes goes on working. Each class has a stable `code`, the one the HTTP surface shows. `pointer` is the JSON
pointer of the field meant.
"""

from typing import ClassVar


class L0Error(Exception):
    """Base of every error the engine raises on purpose."""

    code: ClassVar[str] = "engine_error"

    def __init__(self, message: str, *, pointer: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer


class InvalidInput(L0Error, ValueError):
    """A field of a problem has a value that cannot be used."""

    code = "invalid_input"


class InvalidMatrix(InvalidInput):
    """A sparse matrix whose structure is broken."""

    code = "invalid_matrix"


class ShapeMismatch(InvalidInput):
    """Two arrays of a problem do not fit together."""

    code = "shape_mismatch"


class NonfiniteInput(InvalidInput):
    """NaN or infinity where a finite number is needed."""

    code = "nonfinite_input"


class InvalidHyperparameter(L0Error, ValueError):
    """A hyperparameter outside its range, or two that exclude one another."""

    code = "invalid_hyperparameter"


class InfeasibleBudget(L0Error):
    """A record budget that the problem cannot meet."""

    code = "infeasible_budget"

    def __init__(
        self, message: str, *, budget: int, available: int, pointer: str = "/hyperparameters/record_budget"
    ) -> None:
        super().__init__(message, pointer=pointer)
        self.budget = budget
        self.available = available


class InfeasibleTargets(L0Error):
    """Targets that no weights within the bounds meet; `target` is the one missed most, a position."""

    code = "infeasible_targets"

    def __init__(self, message: str, *, target: int, wanted: float, reached: float) -> None:
        super().__init__(message, pointer=f"/targets/{target}")
        self.target = target
        self.wanted = wanted
        self.reached = reached


class Diverged(L0Error):
    """The loss stopped being a number."""

    code = "diverged"

    def __init__(self, message: str, *, epoch: int) -> None:
        super().__init__(message)
        self.epoch = epoch


class CheckpointIncompatible(L0Error):
    """A checkpoint that belongs to another problem, other hyperparameters or another engine."""

    code = "checkpoint_incompatible"


class MissingPackage(L0Error, ImportError):
    """An optional package that is not installed."""

    code = "missing_package"

    def __init__(self, package: str, *, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs {package}, which is not installed: pip install {package}")
        self.package = package
