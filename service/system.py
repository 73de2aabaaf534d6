"""The parts of a running service, opened once a process from its settings."""

from dataclasses import dataclass

from service.db.session import Database
from service.jobs.dispatch import Dispatcher
from service.jobs.queue import JobQueue
from service.settings import Settings
from service.storage import Store, open_store


@dataclass(frozen=True, kw_only=True)
class System:
    """Settings, database, store, and the way to wake a worker."""

    settings: Settings
    database: Database
    store: Store
    queue: JobQueue
    dispatcher: Dispatcher

    @classmethod
    def open(cls, settings: Settings) -> "System":
        """Connect lazily to everything the settings name."""
        database, queue = Database(settings.database), JobQueue(settings)
        return cls(
            settings=settings,
            database=database,
            store=open_store(settings),
            queue=queue,
            dispatcher=Dispatcher(database, queue),
        )
