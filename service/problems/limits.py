"""How large a problem may be, and what a process that parses one may take."""

from dataclasses import dataclass

from l0core.errors import InvalidMatrix
from service.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Counts of a matrix, bytes of an array, memory and time of a parsing process."""

    nonzeros: int
    units: int
    targets: int
    bytes: int
    memory_bytes: int
    seconds: float

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Take them from the settings."""
        return cls(
            nonzeros=settings.max_nonzeros,
            units=settings.max_units,
            targets=settings.max_targets,
            bytes=settings.parse_memory_bytes // 2,
            memory_bytes=settings.parse_memory_bytes,
            seconds=settings.parse_seconds,
        )

    def check_matrix(self, shape: tuple[int, int], nonzeros: int, pointer: str) -> None:
        """Refuse a matrix beyond the limits, by its header alone."""
        asked = (
            ("rows", shape[0], self.targets),
            ("columns", shape[1], self.units),
            ("entries", nonzeros, self.nonzeros),
        )
        for name, count, limit in asked:
            if count > limit:
                raise InvalidMatrix(f"the matrix has {count} {name}; the limit is {limit}", pointer=pointer)
