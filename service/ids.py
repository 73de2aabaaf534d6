"""Opaque ids: a prefix that says what it is, then 48 bits of time and 80 random ones, so that they sort by age."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_LENGTH = 26


def new_id(prefix: str) -> str:
    """Give a fresh id such as `job_01k...`."""
    number = time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return f"{prefix}_{''.join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))}"
