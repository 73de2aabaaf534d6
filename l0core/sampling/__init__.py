"""Sampling: so many units, or so many columns, that stand for the whole of a data set.

`samples`: exactly `count` units whose weighted totals are those of the whole, chosen by the calibration's own
selection. `hybrid`: part of them drawn at random with known inclusion probabilities. `features`: the columns that
explain an outcome best. Read `run` next, then `rows` (what is reproduced), `chances` (the random part), `subset`.
"""

from typing import TYPE_CHECKING

from l0core.lazy import lazily

if TYPE_CHECKING:
    from l0core.sampling.declaration import KIND

__all__ = ["KIND"]

__getattr__, __dir__ = lazily(__name__, {"KIND": "l0core.sampling.declaration"})
