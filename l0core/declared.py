"""What the hyperparameters of a kind say of themselves, for tables: choices, bounds, defaults."""

from typing import Any

from pydantic import BaseModel

_SIGNS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def fields_of(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Give the JSON Schema of every field by its name."""
    fields: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    return fields


def choices(field: dict[str, Any]) -> list[str]:
    """Give the words a field may be; none where it is a number.

    >>> choices({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}), choices({"type": "boolean"})
    (['a', 'b'], ['true', 'false'])
    """
    found = _unless_absent(field)
    return ["true", "false"] if found.get("type") == "boolean" else list(map(str, found.get("enum", ())))


def bounds(field: dict[str, Any]) -> str:
    """Give the bounds of a number.

    >>> bounds({"minimum": 1, "maximum": 10})
    '>= 1, <= 10'
    """
    found = _unless_absent(field)
    return ", ".join(f"{sign} {found[key]:g}" for key, sign in _SIGNS.items() if key in found)


def default_of(model: type[BaseModel], name: str) -> Any:
    """Give the default of a field; None for one that must be given."""
    field = model.model_fields[name]
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _unless_absent(field: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of a field that may be absent as it is where it is there."""
    return next((option for option in field.get("anyOf", [field]) if option.get("type") != "null"), field)
