"""SQL on loss curves: points, and above them buckets of fixed widths, so that a long curve is read from few rows.

A bucket of width w holds the steps whose quotient by w is the same. Buckets are made anew, in the transaction that
writes points, from the rows below: a batch that comes again changes nothing, and a point that is replaced is right at
every width. Points without buckets (a process of the version before wrote them) are known by their last step: they are
read one by one, and get their buckets with the next batch.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import CTE, ColumnElement, ScalarSelect, Select, bindparam, func, literal, select, true, union_all
from sqlalchemy.orm import Session

from service.db.upsert import replacing, upsert
from service.jobs.models import Metric, MetricBucket

WIDTHS = (8, 64, 512, 4096)
_POINT = 1  # the width of a point itself
_LAST_STEP = 2**63 - 1  # that a database can hold
_MOST_SINGLE = 1_000_000  # points that are ever given one by one; more are never counted
_POINTS_A_READ = 50_000
_COLUMNS = ("job_id", "key", "width", "bucket", "last_step", "last", "low", "high", "n")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Parts of a curve, in order, and how many points the whole of it has.

    Each part is told by its last point, `step` and `last`, and by `low` and `high`, between which its values lie; a
    value that is no number is None.
    """

    n: int
    step: Sequence[int] = ()
    last: Sequence[float | None] = ()
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True, kw_only=True)
class _Extent:
    """What is asked of a curve: from its first point within to its last, in so many parts, and from what."""

    low: int
    high: int
    from_step: int
    to_step: int
    max_points: int
    few: bool
    has_buckets: bool


def points(
    session: Session, job_id: str, keys: Sequence[str], from_step: int, to_step: int | None
) -> Iterator[tuple[Sequence[Any], ...]]:
    """Give every point of these curves by key and step, some at a time: keys, steps and values."""
    steps = Metric.step.between(from_step, _LAST_STEP if to_step is None else to_step)
    mine = select(Metric.key, Metric.step, Metric.value).where(Metric.job_id == job_id, Metric.key.in_(keys), steps)
    rows = session.execute(mine.order_by(Metric.key, Metric.step).execution_options(yield_per=_POINTS_A_READ))
    for part in rows.partitions():
        yield tuple(zip(*part, strict=True))


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
    names = _names()
    return list(session.scalars(select(names.c.key).where(names.c.key.is_not(None)), {"job_id": job_id}))


def _names() -> CTE:
    """Select the names of a job's curves, and None behind them."""
    mine = Metric.job_id == bindparam("job_id")
    names = select(func.min(Metric.key).label("key")).where(mine).cte("names", recursive=True)
    following = select(func.min(Metric.key)).where(mine, Metric.key > names.c.key).scalar_subquery()
    return names.union_all(select(following).where(names.c.key.is_not(None)))


def curves(
    session: Session, job_id: str, keys: Iterable[str], *, from_step: int, to_step: int | None, max_points: int
) -> dict[str, Curve]:
    """Give each curve in at most `max_points` parts of equal width; point for point where no more points are there.

    Curves that begin, end and are as long alike, as those of one run are, are read together.
    """
    names, last = list(keys), _LAST_STEP if to_step is None else to_step
    asked = {"job_id": job_id, "keys": names, "from_step": from_step, "to_step": last}
    looked = session.execute(_LOOK, asked | {"limit": min(max_points, _MOST_SINGLE) + 1}).all()
    numbers = dict.fromkeys(names, 0)
    alike: dict[_Extent, list[str]] = defaultdict(list)
    for key, low, high, few, end, end_of_buckets, n in looked:
        has_buckets = end_of_buckets == end
        numbers[key] = int(n if has_buckets else session.scalar(_COUNT, {"job_id": job_id, "key": key}) or 0)
        if low is not None:
            extent = _Extent(
                low=low,
                high=high,
                from_step=from_step,
                to_step=last,
                max_points=max_points,
                few=few <= max_points,
                has_buckets=has_buckets,
            )
            alike[extent].append(key)
    found = {key: Curve(n=n) for key, n in numbers.items()}
    for extent, some in alike.items():
        rows = session.connection().execute(_rows_of(job_id, some, extent)).all()  # tuples at once: they are many
        found.update((key, Curve(n=numbers[key], **columns)) for key, columns in _columns(rows))
    return found


def _columns(rows: Sequence[Any]) -> Iterator[tuple[str, dict[str, Sequence[Any]]]]:
    """Cut rows of several curves, one after the other, into columns: made from all at once, since they are many."""
    keys, *columns = zip(*rows, strict=True)
    start = 0
    for key, some in groupby(keys):
        stop = start + sum(1 for _ in some)
        cut = [column[start:stop] for column in columns]
        yield key, dict(zip(("step", "last", "low", "high"), cut, strict=True))
        start = stop


def _rows_of(job_id: str, keys: list[str], extent: _Extent) -> Select[*tuple[Any, ...]]:
    """Select the rows of these curves, each in order."""
    return _points(job_id, keys, extent) if extent.few else _parts(job_id, keys, extent)


def _step(within: Sequence[ColumnElement[bool]], order: ColumnElement[int]) -> ScalarSelect[int]:
    """Select the first step in this order; by the index on any database, whatever it guesses of the number of rows."""
    return select(Metric.step).where(*within).order_by(order).limit(1).scalar_subquery()


def _points(job_id: str, keys: list[str], extent: _Extent) -> Select[*tuple[Any, ...]]:
    """Select curves point for point."""
    c = _rows(job_id, keys, _POINT, extent.low, extent.high).subquery().c
    return select(c.key, c.last_step, c.last, c.low, c.high).order_by(c.key, c.last_step)


def _parts(job_id: str, keys: list[str], extent: _Extent) -> Select[*tuple[Any, ...]]:
    """Select curves in parts: the buckets near the width wanted, as they are or some at a time."""
    level = _level(extent) if extent.has_buckets else _POINT
    origin = extent.low // level * level
    width = -(-(extent.high - origin + 1) // extent.max_points)
    width = -(-width // level) * level
    buckets, points = _within(job_id, keys, extent, level)
    if width == level and buckets and not points:
        c = buckets[0].subquery().c
        return select(c.key, c.last_step, c.last, c.low, c.high).order_by(c.key, c.last_step)
    c = _spans(union_all(*buckets, *points), origin=origin, width=width).subquery().c
    last = _value(job_id, c.key, c.last_step)
    return select(c.key, c.last_step, last, c.low, c.high).order_by(c.key, c.last_step)


def _level(extent: _Extent) -> int:
    """Give the widest of WIDTHS that is at most twice the width wanted: no more than four of it make a part."""
    wanted = -(-(extent.high - extent.low + 1) // extent.max_points)
    return max(width for width in (_POINT, *WIDTHS) if width <= max(_POINT, 2 * wanted))


def _within(job_id: str, keys: list[str], extent: _Extent, level: int) -> tuple[list[Select[Any]], list[Select[Any]]]:
    """Select the buckets that lie within, and point for point what of the buckets at both ends does."""
    first = -(-extent.from_step // level)
    end = extent.high // level * level + level - 1
    final = extent.high // level if extent.to_step >= end else (extent.to_step + 1) // level - 1
    if level == _POINT or first > final:
        return [], [_rows(job_id, keys, _POINT, extent.low, extent.high)]
    start, stop = first * level, final * level + level - 1
    ends = [(extent.low, start - 1), (stop + 1, extent.high)]
    inside = _rows(job_id, keys, level, start, stop)
    points = [_rows(job_id, keys, _POINT, low, high) for low, high in ends if low <= high]
    return [inside], points


def _look() -> Select[*tuple[Any, ...]]:
    """Select of each curve: its name, first and last step within, how many points up to a limit, ends, n of buckets."""
    names = _names()
    mine = [Metric.job_id == bindparam("job_id"), Metric.key == names.c.key]
    within = [*mine, Metric.step.between(bindparam("from_step"), bindparam("to_step"))]
    some = select(Metric.step).where(*within).limit(bindparam("limit")).correlate(names).subquery()
    b = MetricBucket
    buckets = [b.job_id == bindparam("job_id"), b.key == names.c.key, b.width == WIDTHS[-1]]
    return select(
        names.c.key,
        _step(within, Metric.step.asc()),
        _step(within, Metric.step.desc()),
        select(func.count()).select_from(some).scalar_subquery(),
        _step(mine, Metric.step.desc()),
        select(func.max(b.last_step)).where(*buckets).scalar_subquery(),
        select(func.sum(b.n)).where(*buckets).scalar_subquery(),
    ).where(names.c.key.in_(bindparam("keys", expanding=True)))


_LOOK = _look()
_COUNT = select(func.count()).where(Metric.job_id == bindparam("job_id"), Metric.key == bindparam("key"))
