"""Lists of jobs as JSON. What has ended changes no more: it is rendered once and kept while there is room."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from pydantic_core import to_json

from service.db.session import Database
from service.jobs import repository
from service.jobs.filters import JobFilter
from service.jobs.models import Job
from service.jobs.repository import Look
from service.jobs.views import job_view

_MOST_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A page: jobs as JSON, and the id of the last one where there are more."""

    texts: list[bytes]
    more_after: str | None


class JobLists:
    """Gives pages of jobs, for all requests of this process."""

    def __init__(self, database: Database, most_bytes: int = _MOST_BYTES) -> None:
        self._database = database
        self._kept = _Kept(most_bytes)

    def page(self, tenant: str, *, asked: JobFilter, before: str | None, limit: int) -> Listed:
        """Give up to `limit` jobs of a tenant, newest first, older than the job `before`."""
        with self._database.reading() as session:
            looks = repository.jobs_page(session, tenant, asked=asked, before=before, limit=limit + 1)
            texts = {look: text for look in looks[:limit] if (text := self._kept.get(look)) is not None}
            others = repository.jobs_by_id(session, [look.id for look in looks[:limit] if look not in texts])
        read = {job.id: self._rendered(job) for job in others if asked.holds(job)}
        found = [text for look in looks[:limit] if (text := texts.get(look, read.get(look.id))) is not None]
        return Listed(texts=found, more_after=looks[limit - 1].id if len(looks) > limit else None)

    def _rendered(self, job: Job) -> bytes:
        text = to_json(job_view(job), inf_nan_mode="null")
        if job.has_ended:
            self._kept.put(Look(job.id, *job.moves), text)
        return text


class _Kept:
    """Texts by the look they belong to, up to so many bytes; what was not asked for longest goes first."""

    def __init__(self, most_bytes: int) -> None:
        self._texts: OrderedDict[Look, bytes] = OrderedDict()
        self._left = most_bytes
        self._lock = Lock()

    def get(self, look: Look) -> bytes | None:
        """Give the text, and keep it longer."""
        with self._lock:
            if look in self._texts:
                self._texts.move_to_end(look)
            return self._texts.get(look)

    def put(self, look: Look, text: bytes) -> None:
        """Keep a text, and let go of others where there is no room."""
        with self._lock:
            self._left -= len(text) - len(self._texts.pop(look, b""))
            self._texts[look] = text
            while self._left < 0:
                _, oldest = self._texts.popitem(last=False)
                self._left += len(oldest)
