"""Where jobs go: the queues, and the broker's names of them. Needs no broker, which an engine's process has none of."""

from collections.abc import Iterable, Mapping

QUEUES = ("cpu", "gpu")
_PLAIN = ("calibration", 1)  # what workers that listen to the plain names alone know


def route(queue: str, kind: str, version: int) -> str:
    """Give the broker's name for a queue's jobs of this kind and version.

    A worker that does not know them does not listen to it, so that it never takes an id away from one that does.

    >>> route("gpu", "calibration", 1), route("gpu", "calibration", 2)
    ('gpu', 'gpu.calibration.2')
    """
    return queue if (kind, version) == _PLAIN else f"{queue}.{kind}.{version}"


def routes(queues: Iterable[str], kinds: Mapping[str, int]) -> list[str]:
    """Give the broker's names of all jobs in these queues that one can take who knows these versions.

    >>> routes(["cpu"], {"calibration": 2})
    ['cpu', 'cpu.calibration.2']
    """
    known = [(kind, version) for kind, latest in kinds.items() for version in range(1, latest + 1)]
    return [route(queue, kind, version) for queue in queues for kind, version in known]
