"""What an engine's process does with its checkpoints: store each; where one cannot be stored, go on without it.

The one before stays listed, so that nothing is lost but the epochs since, and those only if the worker dies.
"""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from service.storage import Store
from worker.failures import is_no_room
from worker.messages import CheckpointMessage, FindingMessage
from worker.sha256 import sha256_of


class Checkpoints:
    """The checkpoints of one attempt, on their way to the store."""

    def __init__(self, store: Store, key: Callable[[str], str], send: Callable[[BaseModel], None]) -> None:
        self._store, self._key, self._send = store, key, send
        self._is_missing = False

    def saved(self, path: Path, epoch: int) -> None:
        """Store a checkpoint that is whole on this disk, and tell the worker."""
        try:
            self._store_checkpoint(path, epoch)
        except OSError as error:
            self.missed(error, epoch)
        else:
            self._is_missing = False

    def missed(self, error: OSError, epoch: int) -> None:
        """Tell the worker that a checkpoint could not be kept, once until one is kept again."""
        if self._is_missing:
            return
        self._is_missing = True
        why = "there is no room left" if is_no_room(error) else f"storing it failed ({type(error).__name__})"
        text = f"no checkpoint after {epoch} epochs: {why}; the run goes on, the last one kept stays"
        self._send(FindingMessage(code="checkpoint_not_stored", severity="warning", message=text))

    def _store_checkpoint(self, path: Path, epoch: int) -> None:
        key = self._key(f"checkpoint-{epoch:09d}.safetensors")
        sha256, size = sha256_of(path), path.stat().st_size
        self._store.put(key, path)
        self._send(CheckpointMessage(epoch=epoch, storage_key=key, sha256=sha256, size_bytes=size))
