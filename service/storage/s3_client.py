"""The connection to an S3-compatible server: bounded in time, checked by sha256, its errors in the words of `base`."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from service.storage.base import StoreUnavailable

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_TRIES = 3
_CONNECTIONS = 50  # more than the threads of the API
_DEFAULT_REGION = "us-east-1"  # what servers other than Amazon's are addressed by when nothing else is set
_MISSING = frozenset({"NoSuchKey", "404"})
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"})
CONTESTED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchUpload"})


def connected(endpoint_url: str, timeout_seconds: float) -> "S3Client":
    """Give a client; credentials and region come from where botocore looks for them (AWS_ACCESS_KEY_ID and so on).

    A request that is not answered in time is tried again, and given up after three times `timeout_seconds`. Every body
    is signed with its sha256, which the server compares with what has arrived.
    """
    session = get_session()
    config = Config(
        connect_timeout=timeout_seconds,
        read_timeout=timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        max_pool_connections=_CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint_url else "auto", "payload_signing_enabled": True},
    )
    region = session.get_config_variable("region") or _DEFAULT_REGION
    client = session.create_client("s3", region_name=region, endpoint_url=endpoint_url or None, config=config)
    return cast("S3Client", client)


def code_of(error: ClientError) -> str:
    """Give the server's code for what went wrong; its HTTP status where it gave none."""
    return str(error.response.get("Error", {}).get("Code") or _status(error))


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


@contextmanager
def told_as_os_errors(key: str) -> Iterator[None]:
    """Turn what the client raises into KeyError, a full disk's OSError or StoreUnavailable."""
    try:
        yield
    except ClientError as error:
        raise _meaning(error, key) from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"the store does not answer: {error}") from error


def _meaning(error: ClientError, key: str) -> Exception:
    code = code_of(error)
    if code in _MISSING:
        return KeyError(key)
    if code in _FULL or _status(error) == HTTPStatus.INSUFFICIENT_STORAGE:
        return OSError(errno.ENOSPC, f"the store is full: {code}")
    return StoreUnavailable(f"the store refuses: {error}")
