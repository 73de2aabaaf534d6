"""Values as JSON has them: a number that is not finite becomes null."""

import math
from typing import Any


def plain(value: Any) -> Any:
    """Give `value` with every NaN and infinity in it, however deep, replaced by None.

    >>> plain({"loss": float("nan"), "curve": [1.0, float("inf")]})
    {'loss': None, 'curve': [1.0, None]}
    """
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
