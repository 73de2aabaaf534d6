"""SQL on loss curves: points, and above them buckets of fixed widths, so that a long curve is read from few rows.

A bucket of width w holds the steps whose quotient by w is the same. Buckets are made anew, in the transaction that
writes points, from the rows below: a batch that comes again changes nothing, and a point that is replaced is right at
every width. Points without buckets (a process of the version before wrote them) are known by their last step: they are
read one by one, and get their buckets with the next batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, ScalarSelect, Select, func, literal, select, true, union_all
from sqlalchemy.orm import Session

from service.db.upsert import replacing, upsert
from service.jobs.models import Metric, MetricBucket

WIDTHS = (8, 64, 512, 4096)
_POINT = 1  # the width of a point itself
_MOST_SINGLE = 1_000_000  # points that are ever given one by one; more are never counted
_COLUMNS = ("job_id", "key", "width", "bucket", "last_step", "last", "low", "high", "n")


class CurveRow(NamedTuple):
    """A part of a curve: its last point, and between what its values lie; a value that is no number is None."""

    step: int
    last: float | None
    low: float | None
    high: float | None


class Curve(NamedTuple):
    """Parts of a curve, in order, and how many points the whole of it has."""

    rows: list[CurveRow]
    n: int


@dataclass(frozen=True, kw_only=True)
class _Extent:
    """What is asked of one curve: from its first point within to its last, in so many parts."""

    job_id: str
    key: str
    low: int
    high: int
    from_step: int
    to_step: int | None
    max_points: int


def put_metrics(session: Session, job_id: str, points: Iterable[tuple[int, Mapping[str, float | None]]]) -> None:
    """Keep points of loss curves; a step that comes again replaces the one there is."""
    last_told = {(key, step): value for step, values in points for key, value in values.items()}
    if not last_told:
        return
    rows = [{"job_id": job_id, "key": key, "step": step, "value": value} for (key, step), value in last_told.items()]
    upsert(session, Metric, rows)
    keys, steps = sorted({key for key, _ in last_told}), [step for _, step in last_told]
    first = min([*steps, *_first_without_bucket(session, job_id, keys)])
    for width, below in zip(WIDTHS, (_POINT, *WIDTHS), strict=False):
        _make_buckets(session, job_id, keys, width=width, below=below, first=first, last=max(steps))


def _first_without_bucket(session: Session, job_id: str, keys: Sequence[str]) -> list[int]:
    """Give, of each of these curves that has points behind its last bucket, the step of the first of them."""
    b = MetricBucket
    mine = select(b.key, func.max(b.last_step).label("end")).where(b.job_id == job_id, b.key.in_(keys))
    ends = mine.where(b.width == WIDTHS[-1]).group_by(b.key).subquery().c
    behind = [Metric.job_id == job_id, Metric.key == ends.key, Metric.step > ends.end]
    found: dict[str, int | None] = dict(session.execute(select(ends.key, _step(behind, Metric.step.asc()))).all())
    new = [Metric.job_id == job_id, Metric.key.in_(set(keys) - set(found))]
    first = session.scalar(select(func.min(Metric.step)).where(*new)) if len(found) < len(keys) else None
    return [step for step in [*found.values(), first] if step is not None]


def _make_buckets(
    session: Session, job_id: str, keys: Sequence[str], *, width: int, below: int, first: int, last: int
) -> None:
    """Make the buckets of the steps from `first` to `last` anew, from the rows of the width below."""
    start, stop = first // width * width, last // width * width + width - 1
    spans = _spans(_rows(job_id, keys, below, start, stop), origin=0, width=width).subquery()
    c = spans.c
    value = _value(job_id, c.key, c.last_step)
    columns = (literal(job_id), c.key, literal(width), c.bucket, c.last_step, value, c.low, c.high, c.n)
    made = select(*columns).where(true())  # SQLite reads no ON CONFLICT behind a SELECT without WHERE
    session.execute(replacing(session, MetricBucket, _COLUMNS).from_select(_COLUMNS, made))


def _rows(job_id: str, keys: Sequence[str], width: int, start: int, stop: int) -> Select[*tuple[Any, ...]]:
    """Select the points (width 1) or buckets of the curves from step `start` to `stop`, each with its first place."""
    if width == _POINT:
        value, step = Metric.value, Metric.step
        named = (step.label("place"), step.label("last_step"), value.label("last"))
        bounds = (value.label("low"), value.label("high"), literal(1).label("n"))
        return select(Metric.key, *named, *bounds).where(
            Metric.job_id == job_id, Metric.key.in_(keys), step.between(start, stop)
        )
    b = MetricBucket
    place = (b.bucket * width).label("place")
    mine = select(b.key, place, b.last_step, b.last, b.low, b.high, b.n).where(b.job_id == job_id, b.key.in_(keys))
    return mine.where(b.width == width, b.bucket.between(start // width, stop // width))


def _spans(rows: Any, *, origin: int, width: int) -> Select[*tuple[Any, ...]]:
    """Select the rows put together by `width` steps, counted from `origin`."""
    c = rows.subquery().c
    bucket = (c.place - origin) // width
    ends = (func.max(c.last_step).label("last_step"), func.min(c.low).label("low"), func.max(c.high).label("high"))
    return select(c.key, bucket.label("bucket"), *ends, func.sum(c.n).label("n")).group_by(c.key, bucket)


def _value(job_id: str, key: ColumnElement[str], step: ColumnElement[int]) -> ScalarSelect[float | None]:
    """Select the value at a step: looked up for each row, since a planner that guesses wrong joins in squared time."""
    at = (Metric.job_id == job_id, Metric.key == key, Metric.step == step)
    return select(Metric.value).where(*at).scalar_subquery()


def metric_keys(session: Session, job_id: str) -> list[str]:
    """Give the names of a job's loss curves, each found by one step in the index."""
    first = select(func.min(Metric.key).label("key")).where(Metric.job_id == job_id)
    names = first.cte("names", recursive=True)
    following = select(func.min(Metric.key)).where(Metric.job_id == job_id, Metric.key > names.c.key).scalar_subquery()
    names = names.union_all(select(following).where(names.c.key.is_not(None)))
    return list(session.scalars(select(names.c.key).where(names.c.key.is_not(None))))


def curve(session: Session, job_id: str, key: str, *, from_step: int, to_step: int | None, max_points: int) -> Curve:
    """Give a curve in at most `max_points` parts of equal width; point for point where no more points are there."""
    mine = [Metric.job_id == job_id, Metric.key == key]
    within = [*mine, Metric.step >= from_step, *([] if to_step is None else [Metric.step <= to_step])]
    some = select(Metric.step).where(*within).limit(min(max_points, _MOST_SINGLE) + 1).subquery()
    buckets = [MetricBucket.job_id == job_id, MetricBucket.key == key, MetricBucket.width == WIDTHS[-1]]
    low, high, few, end, end_of_buckets, n = session.execute(
        select(
            _step(within, Metric.step.asc()),
            _step(within, Metric.step.desc()),
            select(func.count()).select_from(some).scalar_subquery(),
            _step(mine, Metric.step.desc()),
            select(func.max(MetricBucket.last_step)).where(*buckets).scalar_subquery(),
            select(func.sum(MetricBucket.n)).where(*buckets).scalar_subquery(),
        )
    ).one()
    has_buckets = end is not None and end == end_of_buckets
    if not has_buckets:
        n = session.scalar(select(func.count()).where(*mine))
    if low is None:
        return Curve(rows=[], n=int(n or 0))
    asked = _Extent(
        job_id=job_id, key=key, low=low, high=high, from_step=from_step, to_step=to_step, max_points=max_points
    )
    rows = _points(asked) if few <= max_points else _parts(asked, has_buckets=has_buckets)
    return Curve(rows=[CurveRow(*row) for row in session.execute(rows)], n=int(n))


def _step(within: Sequence[ColumnElement[bool]], order: ColumnElement[int]) -> ScalarSelect[int]:
    """Select the first step in this order; by the index on any database, whatever it guesses of the number of rows."""
    return select(Metric.step).where(*within).order_by(order).limit(1).scalar_subquery()


def _points(asked: _Extent) -> Select[*tuple[Any, ...]]:
    """Select a curve point for point."""
    points = _rows(asked.job_id, [asked.key], _POINT, asked.low, asked.high).subquery().c
    return select(points.last_step, points.last, points.low, points.high).order_by(points.last_step)


def _parts(asked: _Extent, *, has_buckets: bool) -> Select[*tuple[Any, ...]]:
    """Select a curve in parts: the buckets near the width wanted, as they are or some at a time."""
    level = _level(asked) if has_buckets else _POINT
    origin = asked.low // level * level
    width = -(-(asked.high - origin + 1) // asked.max_points)
    width = -(-width // level) * level
    buckets, points = _within(asked, level)
    if width == level and buckets and not points:
        c = buckets[0].subquery().c
        return select(c.last_step, c.last, c.low, c.high).order_by(c.last_step)
    c = _spans(union_all(*buckets, *points), origin=origin, width=width).subquery().c
    last = _value(asked.job_id, c.key, c.last_step)
    return select(c.last_step, last, c.low, c.high).order_by(c.last_step)


def _level(asked: _Extent) -> int:
    """Give the widest of WIDTHS that is at most twice the width wanted: no more than four of it make a part."""
    wanted = -(-(asked.high - asked.low + 1) // asked.max_points)
    return max(width for width in (_POINT, *WIDTHS) if width <= max(_POINT, 2 * wanted))


def _within(asked: _Extent, level: int) -> tuple[list[Select[Any]], list[Select[Any]]]:
    """Select the buckets that lie within, and point for point what of the buckets at both ends does."""
    first = -(-asked.from_step // level)
    end = asked.high // level * level + level - 1
    final = asked.high // level if asked.to_step is None or asked.to_step >= end else (asked.to_step + 1) // level - 1
    if level == _POINT or first > final:
        return [], [_rows(asked.job_id, [asked.key], _POINT, asked.low, asked.high)]
    start, stop = first * level, final * level + level - 1
    ends = [(asked.low, start - 1), (stop + 1, asked.high)]
    inside = _rows(asked.job_id, [asked.key], level, start, stop)
    points = [_rows(asked.job_id, [asked.key], _POINT, low, high) for low, high in ends if low <= high]
    return [inside], points
