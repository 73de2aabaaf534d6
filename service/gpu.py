"""Is there a GPU? Asked in a process that ends, so that no parent ever holds a CUDA context."""

import subprocess
import sys
from pathlib import Path

_DRIVER = Path("/dev/nvidiactl")
_QUESTION = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)"
_SECONDS = 60


def gpu_seen() -> bool:
    """Say whether torch sees a CUDA device; without a driver nobody is asked."""
    if not _DRIVER.exists():
        return False
    try:
        return subprocess.run([sys.executable, "-c", _QUESTION], timeout=_SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
