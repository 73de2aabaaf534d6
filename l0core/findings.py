"""What is wrong or doubtful with a problem, as data."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

Severity = Literal["info", "warning", "error"]


class Finding(BaseModel):
    """One finding: a stable `code`, how bad it is, the target meant, and the number that proves it.

    `index` is the target's position: two targets may have one name.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity
    target: str | None = None
    index: int | None = None
    message: str
    value: float | None = None


_MOST_OF_A_CODE = 100
_WRITTEN_OUT = (1e3, 1e15)  # from here on with separators, from there on with an exponent


def in_short(findings: Iterable[Finding]) -> list[Finding]:
    """Give the first hundred findings of each code and, for the rest, how many they are.

    >>> twins = [Finding(code="no_support", severity="error", message="...")] * 102
    >>> len(in_short(twins)), in_short(twins)[-1].message
    (101, '2 more findings of this kind are not listed')
    """
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    return [finding for each in by_code.values() for finding in (*each[:_MOST_OF_A_CODE], *_rest(each))]


def shown(number: float) -> str:
    """Give a number as a sentence shows it.

    >>> shown(4464286.3), shown(0.123456789), shown(-12.5)
    ('4,464,286', '0.123457', '-12.5')
    """
    low, high = _WRITTEN_OUT
    number += 0.0  # no minus before a zero
    return f"{number:,.0f}" if low <= abs(number) < high else f"{number:.6g}"


def _rest(findings: list[Finding]) -> list[Finding]:
    count = len(findings) - _MOST_OF_A_CODE
    if count <= 0:
        return []
    first = findings[0]
    text = f"{count} more findings of this kind are not listed"
    return [Finding(code=first.code, severity=first.severity, message=text, value=count)]
