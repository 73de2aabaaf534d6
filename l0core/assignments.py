"""What is typed at a terminal: hyperparameters, `-p name=value`, and inputs, `-i field=file`; and their completion."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from l0core.errors import InvalidHyperparameter, InvalidInput, L0Error

ARRAYS = (".npz", ".npy", ".mtx", ".parquet", ".safetensors")
_PACKED = (".gz", ".zst")


def assigned(texts: Iterable[str]) -> dict[str, Any]:
    """Give `name=value` texts as a dict: a value is JSON where it reads as such, else text.

    >>> assigned(["epochs=1e4", "loss=squared", "refit=false", "lambda_l2=0.5"])
    {'epochs': 10000, 'loss': 'squared', 'refit': False, 'lambda_l2': 0.5}
    """
    return {
        name: _value(value)
        for name, value in _pairs(texts, InvalidHyperparameter, "hyperparameter", "name=value, such as epochs=1000")
    }


def inputs_in(texts: Iterable[str]) -> dict[str, Any]:
    """Give `field=value` texts as a dict: the path of a file of arrays, what a .json or the lines a .txt hold, or JSON.

    >>> inputs_in(["task=regression", 'weight_bounds={"upper": 2}'])
    {'task': 'regression', 'weight_bounds': {'upper': 2}}
    """
    return {
        name: _input(value)
        for name, value in _pairs(texts, InvalidInput, "input", "field=file, such as features=X.npz")
    }


def _pairs(texts: Iterable[str], error: type[L0Error], what: str, form: str) -> Iterator[tuple[str, str]]:
    """Give each name once, with its text."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise error(f"'{text}' is no {what}; write {form}")
        if name in found:
            raise error(f"{name} is given twice: '{found[name]}' and '{value}'; give it once")
        found[name] = value
        yield name, value


def _input(text: str) -> Any:
    path = Path(text)
    *_, before, last = ("", "", *(suffix.lower() for suffix in path.suffixes))
    if last in (".json", ".txt"):
        return _held(path)
    if (before if last in _PACKED else last) not in ARRAYS:
        return _value(text)
    if not path.is_file():
        raise InvalidInput(f"there is no file '{path}'")
    return path


def _held(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text, parse_constant=_refuse) if path.suffix.lower() == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{path} cannot be read: {reason}") from error


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
