"""How much more a packed file may unpack to: what its own table of contents says is looked at before anything else."""

from l0core.errors import InvalidMatrix
from service.problems.limits import Limits

_FREE = 256 * 2**20  # below this much in all, the ratio is nobody's concern
_MOST = 200


def check_expansion(total: int, packed: int, limits: Limits, *, name: str, pointer: str) -> None:
    """Refuse a file that says it unpacks to more than the limit, or to suspiciously much for its size."""
    if total > limits.bytes:
        raise InvalidMatrix(f"the {name} unpacks to {total} bytes; the limit is {limits.bytes}", pointer=pointer)
    if total > max(_FREE, packed * _MOST):
        raise InvalidMatrix(
            f"the {name} unpacks from {packed} to {total} bytes, more than {_MOST}-fold; save it uncompressed",
            pointer=pointer,
        )
