"""Checking a webhook's URL when a job is submitted, beside the threads that requests share: names may be slow."""

from functools import partial

import anyio
from anyio import to_thread

from service.api.sound_json import refusal
from service.errors import Unavailable
from service.settings import Settings
from service.webhooks.destinations import addresses_of, parse
from service.webhooks.errors import BadDestination

_PATIENCE_SECONDS = 10.0
_LOOK_UPS = anyio.CapacityLimiter(8)


async def check_webhook(settings: Settings, url: str | None) -> None:
    """Refuse a URL that no webhook is sent to, with its place in the body."""
    if url is None:
        return
    with anyio.move_on_after(_PATIENCE_SECONDS) as waited:
        await to_thread.run_sync(partial(_check, url, settings), limiter=_LOOK_UPS)
    if waited.cancelled_caught:
        raise Unavailable("too many names of webhooks are being looked up; try again", headers={"Retry-After": "5"})


def _check(url: str, settings: Settings) -> None:
    try:
        addresses_of(parse(url), settings.webhook_networks)
    except BadDestination as error:
        raise refusal(f"webhook_url: {error}", "/webhook_url") from None
