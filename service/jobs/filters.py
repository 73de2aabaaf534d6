"""Which jobs of a tenant a list is asked for: the question as a value, in SQL and of a row that was read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, func, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from service.db.session import is_postgresql
from service.jobs.models import Job

_SHOWN_TO = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """What every job of the list has; None and nothing ask for nothing."""

    status: str | None = None
    kind: str | None = None
    created_after: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def where(self, session: Session) -> Iterator[ColumnElement[bool]]:
        """Give the conditions in the SQL of this session's database."""
        if self.status is not None:
            yield Job.status == self.status
        if self.kind is not None:
            yield Job.kind == self.kind
        if self.created_after is not None:
            yield (
                Job.created_at > self.created_after + _SHOWN_TO
            )  # the moment of a job as it is shown is not later than it
        has_tag = _contains if is_postgresql(session) else _has_pair
        for name, value in self.tags.items():
            yield has_tag(name, value)

    def holds(self, job: Job) -> bool:
        """Say whether a job that was read after the list still belongs into it; only its status ever changes."""
        return self.status is None or job.status == self.status


def _contains(name: str, value: str) -> ColumnElement[bool]:
    return type_coerce(Job.tags, JSONB).contains({name: value})


def _has_pair(name: str, value: str) -> ColumnElement[bool]:
    pairs = func.json_each(Job.tags).table_valued("key", "value")
    return exists(select(1).select_from(pairs).where(pairs.c.key == name, pairs.c.value == value))
