"""Hyperparameters as they are typed at a terminal: `-p name=value`, and what a shell completes them to."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from l0core.errors import InvalidHyperparameter


def assigned(texts: Iterable[str]) -> dict[str, Any]:
    """Give `name=value` texts as a dict: a value is JSON where it reads as such, else text.

    >>> assigned(["epochs=1e4", "loss=squared", "refit=false", "lambda_l2=0.5"])
    {'epochs': 10000, 'loss': 'squared', 'refit': False, 'lambda_l2': 0.5}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InvalidHyperparameter(f"'{text}' is no hyperparameter; write name=value, such as epochs=1000")
        if name in found:
            raise InvalidHyperparameter(f"{name} is given twice: '{found[name]}' and '{value}'; give it once")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_float=_number, parse_constant=_refuse)
    except ValueError:
        return text


def _number(text: str) -> float:
    """Give a number with a point or an exponent, whole where it is: 1e4 epochs are 10,000."""
    number = float(text)
    if not math.isfinite(number):
        _refuse(text)
    return int(number) if number.is_integer() else number


def _refuse(text: str) -> Any:
    raise ValueError(text)


def completed(incomplete: str) -> Iterator[tuple[str, str]]:
    """Give what a half-typed `name=value` may become, with its meaning, from the declarations of the kinds."""
    from l0core.declared import choices, fields_of  # noqa: PLC0415 - only where somebody presses Tab
    from l0core.kinds import KINDS  # noqa: PLC0415

    name, sign, _ = incomplete.partition("=")
    fields = {known: field for kind in KINDS.values() for known, field in fields_of(kind.hyperparameters).items()}
    if not sign:
        yield from ((f"{known}=", field["description"]) for known, field in fields.items())
    elif name in fields:
        yield from ((f"{name}={choice}", "") for choice in choices(fields[name]))
