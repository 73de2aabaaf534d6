"""Exit 0 while the worker of this container tells the database that it lives."""

import sys
from socket import gethostname

from service.db.session import Database
from service.jobs.workers import workers_seen
from service.settings import Settings

settings = Settings()
with Database(settings.database).reading() as session:
    seen = workers_seen(session, settings.worker_seen_seconds)
sys.exit(gethostname() not in {worker.host for worker in seen})
