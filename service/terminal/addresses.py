"""Where a service is, and the variables of the environment that say so."""

from urllib.parse import urlsplit

import typer

LOCAL = "http://127.0.0.1:8000"
URL_VARIABLE, KEY_VARIABLE = "L0_URL", "L0_API_KEY"


def checked_url(text: str) -> str:
    """Give an address as requests begin with it.

    >>> checked_url("https://l0.example.org/")
    'https://l0.example.org'
    """
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise typer.BadParameter(f"'{text}' is no address of a service; write it as {LOCAL}")
    return text.rstrip("/")
