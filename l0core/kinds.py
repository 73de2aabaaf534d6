"""The list of kinds of job. A new kind is a folder with a KIND and its line here."""

from l0core import calibration, pruning, sampling
from l0core.kind import Kind

KINDS: dict[str, Kind] = {kind.name: kind for kind in (calibration.KIND, pruning.KIND, sampling.KIND)}
