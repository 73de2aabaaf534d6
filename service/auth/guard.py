"""The process refuses to serve strangers by accident."""

from service.settings import Settings

ANONYMOUS_TENANT = "local"


class RefusedToStart(Exception):
    """The settings would open the service to the network without keys."""


def check_start(settings: Settings) -> None:
    """Refuse any address but loopback unless anonymous access was allowed in so many words."""
    if settings.on_loopback or settings.allow_anonymous:
        return
    raise RefusedToStart(
        f"refusing to listen on {settings.host}: everyone who reaches it could read and submit. "
        "Listen on 127.0.0.1, or set L0_ALLOW_ANONYMOUS=true if something in front of it checks who calls."
    )
