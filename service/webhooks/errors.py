"""Why a webhook was not sent.

WebhookError
├── BadDestination     the URL cannot be used, or leads where no webhook goes
└── NoAnswer           nobody answered in time, or not in HTTP
"""


class WebhookError(Exception):
    """Base: the sentence says what was wrong."""


class BadDestination(WebhookError):
    """The URL cannot be used, or leads where no webhook goes."""


class NoAnswer(WebhookError):
    """Nobody answered in time, or not in HTTP."""
