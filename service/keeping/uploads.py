"""Uploads that nobody has sent or used for a while: a problem holds its own numbers and needs none of them."""

from service.logging import log
from service.problems import repository
from service.resources import Resources

_UPLOADS_A_ROUND = 1000
_HOUR_SECONDS = 3600


def forget_unused(system: Resources) -> None:
    """Take old uploads off the list, then delete their bytes."""
    with system.database.transaction() as session:
        keys = repository.forget_uploads(session, system.settings.upload_hours * _HOUR_SECONDS, _UPLOADS_A_ROUND)
    for key in keys:
        system.store.delete(key)
    if keys:
        log.info("uploads_forgotten", count=len(keys))
