"""Loaded by Python itself in the processes of a test's own service: they know the kind "counting" from the start."""

from l0core.kinds import KINDS
from tests.kinds.counting import KIND

KINDS[KIND.name] = KIND
