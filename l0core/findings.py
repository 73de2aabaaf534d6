"""What is wrong or doubtful with a problem, as data."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Finding(BaseModel):
    """One finding: a stable `code`, how bad it is, the target meant, and the number that proves it.

    `index` is the target's position: two targets may have one name.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Literal["info", "warning", "error"]
    target: str | None = None
    index: int | None = None
    message: str
    value: float | None = None
