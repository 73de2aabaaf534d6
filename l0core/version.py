"""The version of this distribution, read from its metadata: `pyproject.toml` is its one home."""

from importlib.metadata import version

VERSION = version("l0-calibration")
