"""The error tree: what is drawn in the docstring is what there is."""

import inspect
import re

import pytest

from l0core import errors
from l0core.errors import Diverged, InfeasibleBudget, InvalidInput, L0Error

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, L0Error)]


def _drawn() -> dict[str, str]:
    """Read {class: base} off the tree in the docstring."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^(?P<margin>[ │├└─]{4,}?)(?P<name>[A-Z]\w+)(\s{2,}|$)", line)
        if not found:
            continue
        depth = (len(found["margin"]) - 4) // 4
        path[depth:] = [found["name"]]
        if depth:
            parents[found["name"]] = path[depth - 1]
    return parents


def test_the_tree_drawn_is_the_tree_of_classes() -> None:
    assert _drawn() == {c.__name__: c.__bases__[0].__name__ for c in CLASSES if c is not L0Error}


def test_each_class_has_a_code_of_its_own() -> None:
    codes = [vars(c)["code"] for c in CLASSES]  # in its own namespace: none is inherited
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code) for code in codes)


def test_an_error_carries_its_message_and_pointer() -> None:
    error = InvalidInput("no good", pointer="/targets/3")
    assert (str(error), error.message, error.pointer) == ("no good", "no good", "/targets/3")


def test_an_infeasible_budget_carries_its_numbers_and_points_at_the_budget() -> None:
    error = InfeasibleBudget("too many", budget=9, available=4)
    assert (error.budget, error.available, error.pointer) == (9, 4, "/hyperparameters/record_budget")


def test_a_divergence_carries_its_epoch() -> None:
    assert Diverged("gone", epoch=12).epoch == 12


@pytest.mark.parametrize("code", ["invalid_matrix", "shape_mismatch", "nonfinite_input", "invalid_hyperparameter"])
def test_the_codes_of_the_http_surface_exist(code: str) -> None:
    assert code in {c.code for c in CLASSES}
