"""How many cards are there? Asked in a process that ends, so that no parent ever holds a CUDA context."""

import subprocess
import sys
from pathlib import Path

_DRIVER = Path("/dev/nvidiactl")
_QUESTION = "import torch; print(torch.cuda.device_count())"
_SECONDS = 60


def cards_seen() -> int:
    """Count the CUDA devices torch sees; without a driver nobody is asked."""
    if not _DRIVER.exists():
        return 0
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _QUESTION], timeout=_SECONDS, capture_output=True, text=True, check=True
        )
        return int(asked.stdout)
    except (subprocess.SubprocessError, ValueError):
        return 0


def shared_out(workers: int, cards: int) -> list[dict[str, str]]:
    """Give what each worker of one machine serves: a card runs one job, so that the first have one each.

    >>> shared_out(2, 1)
    [{'worker_device': 'cuda:0', 'worker_queues': 'gpu,cpu'}, {}]
    """
    return [
        {"worker_device": f"cuda:{number}", "worker_queues": "gpu,cpu"} if number < cards else {}
        for number in range(workers)
    ]
