"""Every table, imported in one place so that `Base.metadata` knows them all."""

from service.auth import models as auth
from service.db.base import Base
from service.jobs import models as jobs
from service.problems import models as problems

__all__ = ["Base", "auth", "jobs", "problems"]
