"""How a benchmark tells: on the screen, and in benchmarks/results/NAME.md with the machine it ran on."""

import platform
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"


def keep(name: str, title: str, body: str, *, folder: Path = RESULTS) -> None:
    """Print `body` (Markdown) and write it under `title` with the machine and the date."""
    text = f"# {title}\n\n{machine()}\n\n{body}"
    sys.stdout.write(f"{text}\n")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")


def machine() -> str:
    """Describe where and with what this was measured, in one line."""
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {_version(name)}" for name in ("torch", "numpy", "scipy", "l0-python"))
    return (
        f"{date.today().isoformat()}, {_processor()}, {psutil.cpu_count()} cores, {memory:.0f} GB, "  # noqa: DTZ011
        f"Python {platform.python_version()}, {packages}."
    )


def _processor() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
