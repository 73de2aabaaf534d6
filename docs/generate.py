"""Writes the reference pages from their sources: settings, hyperparameters, the OpenAPI document. `make docs`."""

import json
from pathlib import Path
from typing import Any

from l0core.declared import bounds, choices, default_of, fields_of
from l0core.kinds import KINDS
from service.api.app import create_app
from service.settings import Settings

FOLDER = Path(__file__).parent


def settings_page() -> str:
    """Give docs/settings.md: every environment variable."""
    rows = [
        f"| `L0_{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    head = "# Settings\n\nEvery environment variable of API and worker; the defaults run everything on one machine.\n"
    return "\n".join([head, "| variable | default | meaning |", "|---|---|---|", *rows, ""])


def hyperparameters_page(kind: str) -> str:
    """Give docs/hyperparameters-KIND.md."""
    model = KINDS[kind].hyperparameters
    schema = fields_of(model)
    rows = [
        f"| `{name}` | {_default(default_of(model, name))} | {_range(schema[name])} | {_text(schema[name])} |"
        for name in schema
    ]
    head = f"# Hyperparameters of a {kind} job\n\nFrom the engine's own declaration; also `l0 schema {kind}`.\n"
    return "\n".join([head, "| name | default | range | meaning |", "|---|---|---|---|", *rows, ""])


def pages() -> dict[Path, str]:
    """Give every generated page by its path."""
    kinds = {FOLDER / f"hyperparameters-{kind}.md": hyperparameters_page(kind) for kind in KINDS}
    return {FOLDER / "settings.md": settings_page(), FOLDER / "openapi.json": openapi(), **kinds}


def openapi() -> str:
    """Give docs/openapi.json: the HTTP surface, for those who generate a client and for who reviews a change of it."""
    return json.dumps(create_app(Settings()).openapi(), indent=1, ensure_ascii=False) + "\n"


def _default(value: Any) -> str:
    return "" if value is None or value == "" else f"`{value}`"


def _text(field: dict[str, Any]) -> str:
    return str(field["description"]).replace("|", "\\|")


def _range(field: dict[str, Any]) -> str:
    """Give the words a field may be, or its bounds."""
    words = [] if field.get("type") == "boolean" else choices(field)
    return ", ".join(f"`{word}`" for word in words) or bounds(field)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
