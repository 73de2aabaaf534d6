"""Where a service is, and the variables of the environment that say so."""

from urllib.parse import urlsplit

LOCAL = "http://127.0.0.1:8000"
URL_VARIABLE, KEY_VARIABLE = "L0_URL", "L0_API_KEY"


def is_address(text: str) -> bool:
    """Say whether a text can be the address of a service.

    >>> is_address("https://l0.example.org/"), is_address("localhost:8000")
    (True, False)
    """
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
