"""Pruning of networks: a smaller network that answers as well, chosen by Hard Concrete gates within one training.

`run` is the whole of a job in one call, on a `problem` with `options`; `forward` answers about new rows without torch.
Names are loaded at their first use.
"""

from typing import TYPE_CHECKING

from l0core.lazy import lazily

if TYPE_CHECKING:
    from l0core.pruning.declaration import KIND

__all__ = ["KIND"]

__getattr__, __dir__ = lazily(__name__, {"KIND": "l0core.pruning.declaration"})
