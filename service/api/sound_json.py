"""JSON from outside, read once: no key twice, no text that a database or a log cannot hold, no nesting without end.

An object has a thousand keys at most.

Numbers that are not finite are left to the models, which know their field. Routers whose bodies are JSON take
`SoundJsonRoute` as their `route_class`.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from service.errors import FieldError, Unprocessable, UnsupportedMedia

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_JSON = re.compile(r"application/([^/]+\+)?json")
_MOST_KEYS = 1_000  # of one object: no body has more, and each that nobody knows would be a fault of its own
_TAKEN = "JSON as 'Content-Type: application/json', and files to POST /v1/uploads"


def loads(data: bytes) -> Any:
    """Give the value of a JSON text; Unprocessable where it is none or holds what cannot be kept.

    >>> loads(b'{"a": [1.5]}')
    {'a': [1.5]}
    """
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_object)
        if "\\u" in text:  # only an escape can bring such a character
            _check_texts(value)
    except json.JSONDecodeError as error:
        raise refusal(f"the body is no JSON: {error.msg}, line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise refusal(f"the body is no JSON: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise refusal("the JSON is nested too deeply") from None
    except ValueError:  # Python's limit on the digits of a whole number
        raise refusal("the body holds a number of too many digits") from None
    return value


def is_storable(text: str) -> bool:
    r"""Tell whether a database and a log can hold a text: no NUL, no half of a surrogate pair.

    >>> is_storable("snowman \u2603"), is_storable("\ud800")
    (True, False)
    """
    return _UNSTORABLE.search(text) is None


def refusal(detail: str, pointer: str = "") -> Unprocessable:
    """Give the refusal of a request with one fault."""
    code = "invalid_hyperparameter" if pointer.startswith("/hyperparameters") else "invalid_request"
    return Unprocessable(detail, code=code, errors=(FieldError(pointer=pointer, code=code, detail=detail),))


def json_pointer(place: list[str]) -> str:
    """Give a place in a body as a JSON pointer (RFC 6901).

    >>> json_pointer(["a/b~c", "0"])
    '/a~1b~0c/0'
    """
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MOST_KEYS:
        raise refusal(f"an object of the body has {len(pairs)} keys; at most {_MOST_KEYS} are read")
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise refusal(f"the key {twice[:64]!r} comes twice in one object")
    return found


def _check_texts(value: Any) -> None:
    """Refuse the first text that cannot be kept; a place is (the place it is in, its key), None the whole body."""
    reached: list[tuple[Any, Any]] = [(value, None)]
    for found, place in reached:
        if isinstance(found, list):
            reached.extend((item, (place, index)) for index, item in enumerate(found))
        elif isinstance(found, dict):
            reached.extend((key, place) for key in found)
            reached.extend((item, (place, key)) for key, item in found.items())
        elif isinstance(found, str) and not is_storable(found):
            text = "a text holds a control character (NUL) or half of a surrogate pair, which cannot be kept"
            raise refusal(text, json_pointer(_path(place)))


def _path(place: Any) -> list[str]:
    path: list[str] = []
    while place is not None:
        place, key = place
        path.append(str(key))
    return path[::-1]


def _check_it_is_json(headers: Headers) -> None:
    """Refuse a body that is said to be something else; what says nothing and is empty is left to the models."""
    media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    there = headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
    if there and not _JSON.fullmatch(media):
        said = f"is {media[:64]!r}" if media else "has no Content-Type"
        raise UnsupportedMedia(f"the body {said}; send {_TAKEN}")


class _SoundRequest(Request):
    async def json(self) -> Any:
        """Give the body as this module reads it."""
        return loads(await self.body())


class SoundJsonRoute(APIRoute):
    """A route whose JSON body is read by `loads`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the route's own handler, with the request read our way."""
        handle, takes_body = super().get_route_handler(), self.body_field is not None

        async def read_soundly(request: Request) -> Response:
            if takes_body:
                _check_it_is_json(request.headers)
            return await handle(_SoundRequest(request.scope, request.receive))

        return read_soundly
