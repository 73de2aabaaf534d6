"""Those who use a deployment in a storm: they submit until they are heard, look on, and note whatever must not be."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any

import httpx

from service.jobs.states import MOVES, Status

_PATIENCE_SECONDS = 30.0
_AGAIN_SECONDS = 0.3
_ACCEPTABLE = {200, 202, 503}


@dataclass
class Ledger:
    """What clients saw: the jobs they were promised, how often they had to ask, and breaches of the rules."""

    promised: dict[str, str] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    def count(self, answer: str) -> None:
        """Count an answer or the lack of one."""
        self.answers[answer] = self.answers.get(answer, 0) + 1


class Clients:
    """Threads that submit and look on until they are told to end."""

    def __init__(self, urls: list[str], bodies: list[dict[str, Any]], over_seconds: float, name: str = "storm") -> None:
        self.ledger, self._name = Ledger(), name
        self._urls, self._bodies, self._pause = urls, bodies, over_seconds / len(bodies)
        self._over = threading.Event()
        self._submitting = threading.Thread(target=self._submit_all, name="submitting")
        self._looking = threading.Thread(target=self._look_on, name="looking")

    def start(self) -> None:
        """Begin."""
        self._submitting.start()
        self._looking.start()

    @property
    def have_submitted(self) -> bool:
        """Whether every job is promised."""
        return not self._submitting.is_alive()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._submitting.join()
        self._looking.join()

    def _submit_all(self) -> None:
        for number, body in enumerate(self._bodies):
            self._submit(f"{self._name}-{number}", body)
            self._over.wait(self._pause)

    def _submit(self, key: str, body: dict[str, Any]) -> None:
        """Ask one API after the other with the same key until one says 202."""
        for url in cycle(self._urls):
            reply = self._ask(partial(_post, url, key, body))
            if reply is not None and reply.status_code == 202:
                self.ledger.promised[key] = str(reply.json()["id"])
                return
            if self._over.wait(_AGAIN_SECONDS):
                return

    def _look_on(self) -> None:
        seen: dict[str, dict[str, Any]] = {}
        for url in cycle(self._urls):
            if self._over.is_set():
                return
            for job_id in list(self.ledger.promised.values()):
                reply = self._ask(partial(_get, f"{url}/v1/jobs/{job_id}"))
                if reply is not None and reply.status_code == 200:
                    self._compare(seen.get(job_id), reply.json())
                    seen[job_id] = reply.json()
            self._over.wait(_AGAIN_SECONDS)

    def _ask(self, request: Callable[[], httpx.Response]) -> httpx.Response | None:
        try:
            reply = request()
        except httpx.TransportError as error:
            self.ledger.count(type(error).__name__)
            return None
        self.ledger.count(str(reply.status_code))
        if reply.status_code not in _ACCEPTABLE:
            self.ledger.breaches.append(f"{reply.request.url}: {reply.status_code} {reply.text[:200]}")
        return reply

    def _compare(self, before: dict[str, Any] | None, now: dict[str, Any]) -> None:
        if before is None:
            return
        was, is_ = Status(before["status"]), Status(now["status"])
        if (is_ is not was and is_ not in MOVES[was]) or now["version"] < before["version"]:
            told = f"{was} version {before['version']}, then {is_} version {now['version']}"
            self.ledger.breaches.append(f"job {now['id']} was {told}")


def _post(url: str, key: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{url}/v1/jobs", json=body, headers={"Idempotency-Key": key}, timeout=_PATIENCE_SECONDS)


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=_PATIENCE_SECONDS)
