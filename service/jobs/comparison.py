"""Two fits on the targets they have in common: which are met better, which worse, by how much."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, Select, Subquery, and_, case, func, select
from sqlalchemy.orm import Session

from service.jobs.models import Job, TargetRow

UNCHANGED = 1e-6  # a difference of absolute relative errors that is none


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`a` and `b` count the targets of each fit; mean and largest errors are over those in common."""

    n_targets: dict[str, int]
    common: int
    improved: int
    regressed: int
    unchanged: int
    mean_abs_relative_error: dict[str, float | None]
    max_abs_relative_error: dict[str, float | None]
    largest_changes: list[dict[str, Any]]


def compare(session: Session, a: Job, b: Job, most_changes: int) -> Comparison:
    """Compare b with a; targets are the same where their names are, the first with the first of a name."""
    left, right = _numbered(a), _numbered(b)
    same = and_(left.c.name == right.c.name, left.c.number == right.c.number)
    pairs = left.join(right, same)
    before, after = left.c.abs_relative_error, right.c.abs_relative_error
    better = _count(after < before - UNCHANGED)
    worse = _count(after > before + UNCHANGED)
    numbers = (func.count(), better, worse, func.avg(before), func.avg(after), func.max(before), func.max(after))
    common, improved, regressed, mean_a, mean_b, max_a, max_b = session.execute(
        select(*numbers).select_from(pairs)
    ).one()
    return Comparison(
        n_targets={"a": _n_targets(session, a), "b": _n_targets(session, b)},
        common=common,
        improved=improved or 0,
        regressed=regressed or 0,
        unchanged=common - (improved or 0) - (regressed or 0),
        mean_abs_relative_error={"a": mean_a, "b": mean_b},
        max_abs_relative_error={"a": max_a, "b": max_b},
        largest_changes=_changes(session, select(*_shown(left, right)).select_from(pairs), most_changes),
    )


def _numbered(job: Job) -> Subquery:
    """Give a job's targets, those of one name numbered."""
    number = func.row_number().over(partition_by=TargetRow.name, order_by=TargetRow.index).label("number")
    columns = (TargetRow.name, TargetRow.value, TargetRow.estimate, TargetRow.abs_relative_error)
    mine = select(*columns, number).where(TargetRow.job_id == job.id, TargetRow.attempt == job.attempt)
    return mine.subquery()


def _count(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))


def _n_targets(session: Session, job: Job) -> int:
    mine = select(func.count()).where(TargetRow.job_id == job.id, TargetRow.attempt == job.attempt)
    return session.scalars(mine).one()


def _shown(left: Subquery, right: Subquery) -> list[Any]:
    sides = {"a": left.c, "b": right.c}
    named = [
        sides[side][name].label(f"{name}_{side}")
        for name in ("value", "estimate", "abs_relative_error")
        for side in sides
    ]
    change = (right.c.abs_relative_error - left.c.abs_relative_error).label("change")
    return [left.c.name, *named, change]


def _changes(session: Session, pairs: Select[Any], limit: int) -> list[dict[str, Any]]:
    change = func.abs(pairs.selected_columns["change"], type_=Float)
    first = pairs.order_by(change.desc(), pairs.selected_columns["name"]).limit(limit)
    return [dict(row) for row in session.execute(first).mappings()]
