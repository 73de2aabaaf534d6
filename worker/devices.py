"""What a worker may serve on which device; checked once, at its start."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from service.jobs.routing import QUEUES
from service.logging import log
from service.settings import Settings
from worker import card

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


class CannotStart(Exception):
    """The settings ask for a worker that cannot be; the message is the sentence to end with."""


def queues_of(settings: Settings) -> tuple[str, ...]:
    """Give the names of the queues.

    >>> queues_of(Settings(worker_queues=" gpu , cpu ,"))
    ('gpu', 'cpu')
    """
    return tuple(name.strip() for name in settings.worker_queues.split(",") if name.strip())


def is_card(device: str) -> bool:
    """Say whether a device is a CUDA card."""
    return device.startswith("cuda")


@contextmanager
def on_its_device(settings: Settings) -> Iterator[Settings]:
    """Give settings that were checked, once their card is this worker's and is there.

    A worker of both queues whose card is missing serves the CPU alone.
    """
    if not is_card(settings.worker_device):
        yield settings
        return
    with card.taken_by_worker(settings.worker_device, settings.stop_seconds):
        missing = card.why_missing(settings.worker_device, settings.environment())
        if missing is None:
            yield settings
        elif "cpu" in queues_of(settings):
            log.error("card_missing", reason=missing, serves="cpu")
            yield settings.model_copy(update={"worker_queues": "cpu", "worker_device": "cpu"})
        else:
            raise card.CardMissing(f"refusing to start: {missing}")


def check(settings: Settings) -> None:
    """Refuse queues, device and concurrency that do not go together."""
    problem = _problem(queues_of(settings), settings.worker_device, settings.worker_concurrency)
    if problem is not None:
        raise CannotStart(f"refusing to start: {problem}")


def _problem(queues: tuple[str, ...], device: str, concurrency: int) -> str | None:
    strange = [name for name in queues if name not in QUEUES]
    if strange or not queues:
        named = f"there is no queue '{strange[0]}'" if strange else "no queue is named"
        return f"{named}; L0_WORKER_QUEUES takes {', '.join(QUEUES)} or both, separated by a comma"
    if not _DEVICE.fullmatch(device):
        return f"L0_WORKER_DEVICE is '{device}'; it must be cpu, cuda or a card such as cuda:0"
    if ("gpu" in queues) != is_card(device):
        return (
            f"a worker of the queues {', '.join(queues)} on the device {device}: the queue gpu needs a card, "
            "and a card serves the queue gpu; set L0_WORKER_QUEUES and L0_WORKER_DEVICE to match"
        )
    if is_card(device) and concurrency > 1:
        return (
            f"L0_WORKER_CONCURRENCY is {concurrency}, and a card runs one job at a time; start a worker for each card"
        )
    return None
