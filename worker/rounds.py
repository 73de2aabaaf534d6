"""A thread that does something again and again until it is stopped."""

import threading
from collections.abc import Callable

from service.logging import log

_STOP_SECONDS = 10


class Rounds:
    """`work` every `seconds`, the first time at once; what goes wrong in one round is logged and the next one comes."""

    def __init__(self, name: str, work: Callable[[], None], seconds: float) -> None:
        self._name, self._work, self._seconds = name, work, seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin with a round at once."""
        self._thread.start()

    def told_to_stop(self) -> bool:
        """Say whether the round in hand shall come to its end."""
        return self._stopped.is_set()

    def tell(self) -> None:
        """Tell it to stop, without waiting."""
        self._stopped.set()

    def stop(self) -> None:
        """End after the round in hand."""
        self.tell()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - database, store, disk: whatever fails may work next time
                log.warning("round_failed", round=self._name, error=str(error))
            self._stopped.wait(self._seconds)
