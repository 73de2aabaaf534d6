"""Runs the rows of tests/l0core/test_faults_of_l0_python.py on l0-python 0.6.2 and on l0core, and prints both answers.

    python benchmarks/faults_of_l0_python.py

The rows are tests: "holds" means that the sentence of the row is true of that library.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import report

ROOT = Path(__file__).parents[1]
ROWS = "tests/l0core/test_faults_of_l0_python.py"


def main() -> None:
    """Run, print, keep."""
    theirs, ours = answers("l0"), answers("l0core")
    lines = [f"| {row} | {theirs.get(row, 'did not run')} | {ours[row]} |" for row in ours]
    fails = sum(answer != "holds" for answer in theirs.values())
    head = f"{fails} of {len(theirs)} rows fail in l0-python 0.6.2; {sum(a != 'holds' for a in ours.values())} here.\n"
    table = "\n".join(["| row | l0-python 0.6.2 | l0core |", "|---|---|---|", *lines])
    report.keep("faults_of_l0_python", "Faults of l0-python 0.6.2", f"{head}\n{table}\n")


def answers(library: str) -> dict[str, str]:
    """Give, by the words of each row, whether it holds for `library`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.xml")
        command = [sys.executable, "-m", "pytest", "-q", ROWS, f"--junitxml={path}", "-W", "ignore"]
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, "FAULTS_LIBRARY": library}, capture_output=True, check=False
        )
        cases = ElementTree.parse(path).iter("testcase")  # noqa: S314  # our own file
        return {_words(case.get("name", "")): _answer(case) for case in cases}


def _words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _answer(case: ElementTree.Element) -> str:
    found = case.find("failure")
    if found is None:
        found = case.find("error")
    if found is None:
        return "holds"
    return _first_line(found.get("message") or "").replace("|", "\\|")


def _first_line(message: str) -> str:
    line = message.strip().splitlines()[0] if message.strip() else "fails"
    return line if len(line) <= 90 else f"{line[:87]}..."


if __name__ == "__main__":
    main()
