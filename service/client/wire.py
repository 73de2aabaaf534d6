"""Calls as httpx has them."""

import os
from typing import Any

import httpx

from l0core.version import VERSION
from service.client.calls import Call, Content, as_nothing
from service.client.reading import Place

_QUIET_SECONDS = 30.0  # a stream of events says something every 15 s


def identified(api_key: str | None) -> dict[str, str]:
    """Give the headers of every request: who asks, with the key given or that of L0_API_KEY."""
    key = os.environ.get("L0_API_KEY") if api_key is None else api_key
    return {"User-Agent": f"l0-calibration/{VERSION}", **({"Authorization": f"Bearer {key}"} if key else {})}


def sent(http: httpx.Client | httpx.AsyncClient, call: Call[Any], file: Content | None = None) -> httpx.Request:
    """Give a call as a request of this client, with its file as this client sends one.

    What the service waits on purpose is added to the timeout.
    """
    usual = http.timeout
    read = None if usual.read is None else usual.read + call.waits_seconds
    timeout = httpx.Timeout(connect=usual.connect, read=read, write=usual.write, pool=usual.pool)
    return http.build_request(
        call.method,
        call.path,
        params=dict(call.query),
        headers=dict(call.headers),
        json=call.json,
        content=call.content if file is None else file,
        timeout=timeout,
    )


def as_call(place: Place) -> Call[None]:
    """Give a place of a stream as a call."""
    return Call(
        method="GET",
        path=place.path,
        query=place.query,
        headers=place.headers,
        read=as_nothing,
        waits_seconds=_QUIET_SECONDS,
    )
