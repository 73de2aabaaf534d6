"""The version has one home."""

import tomllib
from pathlib import Path

from l0core.version import VERSION


def test_the_version_is_that_of_pyproject() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["version"] == VERSION
