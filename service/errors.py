"""Everything the service refuses, as the HTTP surface says it.

ServiceError
├── NotFound                 404 not_found
├── Gone                     410 expired, with `expired_at`
├── Conflict                 409, with the code of the conflict
├── Unprocessable            422, with the code of what is wrong
├── PayloadTooLarge          413 payload_too_large
├── UnsupportedMedia         415 unsupported_media_type
├── NotAcceptable            406 not_acceptable
├── DigestMismatch           400 digest_mismatch
├── BrokenEncoding           400 broken_encoding
├── Unauthorized             401 unauthorized
├── Forbidden                403 forbidden
├── Misdirected              421 misdirected_request
├── RangeNotSatisfiable      416 range_not_satisfiable
├── QuotaExceeded            429 quota_exceeded, with Retry-After
├── StorageFull              507 storage_full
├── QueueFull                503 queue_full, with Retry-After
└── Unavailable              503 not_ready
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """One fault of a request: JSON pointer, stable code, sentence."""

    pointer: str
    code: str
    detail: str


class ServiceError(Exception):
    """Base: `status` and `code` of the reply, `detail` the sentence shown."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    default_code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: tuple[FieldError, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.errors = errors
        self.headers = headers or {}


class NotFound(ServiceError):
    """No such thing, or another tenant's."""

    status, title, default_code = 404, "Not found", "not_found"


class Gone(ServiceError):
    """It was here; it was kept as long as promised and not longer."""

    status, title, default_code = 410, "Gone", "expired"

    def __init__(self, detail: str, *, expired_at: datetime) -> None:
        super().__init__(detail)
        self.expired_at = expired_at


class Conflict(ServiceError):
    """The thing is not in a state that allows this."""

    status, title, default_code = 409, "Conflict", "conflict"


class Unprocessable(ServiceError):
    """The request was understood and its content cannot be used."""

    status, title, default_code = 422, "Unprocessable content", "invalid_request"


class PayloadTooLarge(ServiceError):
    """More bytes than the limit."""

    status, title, default_code = 413, "Payload too large", "payload_too_large"


class UnsupportedMedia(ServiceError):
    """A content type or encoding that is not taken."""

    status, title, default_code = 415, "Unsupported media type", "unsupported_media_type"


class NotAcceptable(ServiceError):
    """A format that is not given."""

    status, title, default_code = 406, "Not acceptable", "not_acceptable"


class DigestMismatch(ServiceError):
    """The bytes that arrived are not the ones the client meant."""

    status, title, default_code = 400, "Bad request", "digest_mismatch"


class Unauthorized(ServiceError):
    """No key, or none that is good; both are told the same."""

    status, title, default_code = 401, "Unauthorized", "unauthorized"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ServiceError):
    """The key is good, and its scope does not reach so far."""

    status, title, default_code = 403, "Forbidden", "forbidden"


class BrokenEncoding(ServiceError):
    """The body is not what its Content-Encoding says."""

    status, title, default_code = 400, "Bad request", "broken_encoding"


class Misdirected(ServiceError):
    """A request meant for another host."""

    status, title, default_code = 421, "Misdirected request", "misdirected_request"


class RangeNotSatisfiable(ServiceError):
    """A byte range outside the artifact."""

    status, title, default_code = 416, "Range not satisfiable", "range_not_satisfiable"


class QuotaExceeded(ServiceError):
    """The tenant has had as much as one may have; others are served."""

    status, title, default_code, retryable = 429, "Too many requests", "quota_exceeded", True

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class StorageFull(ServiceError):
    """No room left for the bytes."""

    status, title, default_code, retryable = 507, "Insufficient storage", "storage_full", True


class Unavailable(ServiceError):
    """Something the service needs is not there just now."""

    status, title, default_code, retryable = 503, "Service unavailable", "not_ready", True


class QueueFull(ServiceError):
    """So many jobs wait, of whomever, that no more are taken just now."""

    status, title, default_code, retryable = 503, "Service unavailable", "queue_full", True

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})
