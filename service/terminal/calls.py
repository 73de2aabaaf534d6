"""What the commands ask of a service, one function each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from l0core.errors import InvalidHyperparameter, InvalidInput

if TYPE_CHECKING:
    from service.client import Client

Document = dict[str, Any]
Sent = Callable[[int], None]

_CONTENT_TYPES = {
    ".npz": "application/x-npz",
    ".npy": "application/x-npy",
    ".mtx": "text/x-matrix-market",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/x-safetensors",
}
_ENCODINGS = {".gz": "gzip", ".zst": "zstd"}
_CHUNK = 2**18
_PAGE = 500
_MOST_INLINE = 1000


class FileBody:
    """The bytes of a file, read anew whenever a request is sent again; tells how many are on their way."""

    def __init__(self, path: Path, sent: Sent) -> None:
        self._path, self._sent = path, sent

    def __iter__(self) -> Iterator[bytes]:
        """Give the file in parts."""
        done = 0
        with self._path.open("rb") as file:
            while part := file.read(_CHUNK):
                yield part
                done += len(part)
                self._sent(done)


def upload(client: "Client", path: Path, sent: Sent) -> Document:
    """Send a file as it is; gives the upload."""
    headers = {**type_headers(path), "Content-Length": str(path.stat().st_size)}
    return _document(client.request("POST", "/v1/uploads", content=FileBody(path, sent), headers=headers))


def type_headers(path: Path) -> dict[str, str]:
    """Give the headers that say what a file is, by its name.

    >>> type_headers(Path("M.mtx.gz"))
    {'Content-Type': 'text/x-matrix-market', 'Content-Encoding': 'gzip'}
    """
    *_, before, last = ("", "", *(suffix.lower() for suffix in path.suffixes))
    encoding = _ENCODINGS.get(last)
    suffix = last if encoding is None else before
    if suffix not in _CONTENT_TYPES:
        raise InvalidInput(f"{path} ends in '{suffix}'; the service takes {', '.join(_CONTENT_TYPES)}")
    packed = {} if encoding is None else {"Content-Encoding": encoding}
    return {"Content-Type": _CONTENT_TYPES[suffix], **packed}


def names(client: "Client", given: list[str]) -> Any:
    """Give names as a problem takes them: inline, or uploaded where they are many."""
    if len(given) <= _MOST_INLINE:
        return given
    import numpy as np

    return {"upload_id": client.upload(np.array(given))}


def problem(client: "Client", fields: Mapping[str, Any]) -> Document:
    """Register a problem; gives its id, sizes and findings."""
    return _document(client.request("POST", "/v1/problems", json=dict(fields)))


def submit(client: "Client", body: Mapping[str, Any]) -> Document:
    """Submit a job; gives it."""
    return _document(client.request("POST", "/v1/jobs", json=dict(body)))


def check_names(client: "Client", kind: str, given: Mapping[str, Any]) -> None:
    """Refuse a hyperparameter that the service does not know, before anything large is sent."""
    if not given:
        return
    schema = client.request("GET", f"/v1/methods/{kind}/schema").json()["hyperparameters"]
    for name in given:
        if name not in schema["properties"]:
            near = get_close_matches(name, schema["properties"], n=1)
            meant = f"did you mean {near[0]}?" if near else f"`l0 schema {kind}` lists them"
            raise InvalidHyperparameter(f"there is no hyperparameter '{name}'; {meant}")


def job(client: "Client", job_id: str) -> Document:
    """Give a job as it is."""
    return _document(client.request("GET", f"/v1/jobs/{job_id}"))


def newer(client: "Client", state: Mapping[str, Any], seconds: float) -> Document:
    """Give a job as soon as it is newer than this state of it, or once the time is over."""
    query = {"wait": seconds, "after_version": state["version"]}
    return _document(client.request("GET", f"/v1/jobs/{state['id']}", params=query))


def jobs(client: "Client", query: Mapping[str, Any], most: int) -> tuple[list[Document], bool]:
    """Give the newest jobs, and whether there are more."""
    return _pages(client, "/v1/jobs", query, most)


def targets(client: "Client", job_id: str, sort: str, most: int) -> tuple[list[Document], bool]:
    """Give the fit of every target, and whether there are more."""
    return _pages(client, f"/v1/jobs/{job_id}/targets", {"sort": sort}, most)


def events(client: "Client", job_id: str, after: int, seconds: float = 0) -> list[Document]:
    """Give what happened to a job after event `after`, waiting for something to happen."""
    query = {"after": after, "limit": _PAGE, "wait": seconds}
    return _data(client.request("GET", f"/v1/jobs/{job_id}/events", params=query))


def cancel(client: "Client", job_id: str) -> Document:
    """Ask a job to stop; gives the job."""
    return _document(client.request("POST", f"/v1/jobs/{job_id}/cancel"))


def retry(client: "Client", job_id: str) -> Document:
    """Submit an ended job once more; gives the new job."""
    return _document(client.request("POST", f"/v1/jobs/{job_id}/retry"))


def delete(client: "Client", job_id: str) -> None:
    """Delete an ended job and all it has left."""
    client.request("DELETE", f"/v1/jobs/{job_id}")


def weights(client: "Client", job_id: str, query: Mapping[str, Any]) -> bytes:
    """Give the weights as a file of the format that is asked for."""
    content: bytes = client.request("GET", f"/v1/jobs/{job_id}/weights", params=query).content
    return content


def table(client: "Client", job_id: str, name: str, query: Mapping[str, Any]) -> bytes:
    """Give a table of a result as a file of the format that is asked for."""
    content: bytes = client.request("GET", f"/v1/jobs/{job_id}/{quote(name, safe='')}", params=query).content
    return content


def predictions(client: "Client", job_id: str, upload_id: str, checkpoint: str | None) -> list[Any]:
    """Give what a result says about uploaded data, a row each: totals of a matrix, outputs of a network."""
    from service.client.of_job import asked_with

    query = {} if checkpoint is None else {"checkpoint": checkpoint}
    body = {asked_with(job(client, job_id)["kind"]): {"upload_id": upload_id}}
    reply = client.request("POST", f"/v1/jobs/{job_id}/predictions", json=body, params=query)
    values: list[Any] = reply.json()["values"]
    return values


def artifacts(client: "Client", job_id: str) -> list[Document]:
    """Give name, size and digest of every file of a result."""
    return _data(client.request("GET", f"/v1/jobs/{job_id}/artifacts"))


def artifact(client: "Client", job_id: str, name: str) -> bytes:
    """Give one file of a result."""
    content: bytes = client.request("GET", f"/v1/jobs/{job_id}/artifacts/{name}").content
    return content


def compare(client: "Client", a: str, b: str, most: int) -> Document:
    """Compare the fits of two jobs on the targets that both have."""
    return _document(client.request("GET", "/v1/compare", params={"a": a, "b": b, "limit": most}))


def workers(client: "Client") -> list[Document]:
    """Give the workers seen lately."""
    return _data(client.request("GET", "/v1/workers"))


def _pages(client: "Client", path: str, query: Mapping[str, Any], most: int) -> tuple[list[Document], bool]:
    rows: list[Document] = []
    page: Document = {"has_more": True}
    place: Mapping[str, Any] = {}
    while page["has_more"] and len(rows) < most:
        asked = {**query, **place, "limit": min(most - len(rows), _PAGE)}
        page = _document(client.request("GET", path, params=asked))
        rows += page["data"]
        place = {"cursor": page["next_cursor"]}
    return rows, page["has_more"]


def _document(reply: Any) -> Document:
    document: Document = reply.json()
    return document


def _data(reply: Any) -> list[Document]:
    rows: list[Document] = reply.json()["data"]
    return rows


def tags(texts: Sequence[str]) -> dict[str, str]:
    """Give `name=value` texts as tags.

    >>> tags(["year=2024", "area=MN"])
    {'year': '2024', 'area': 'MN'}
    """
    for text in texts:
        if "=" not in text:
            raise InvalidInput(f"'{text}' is no tag; write name=value")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}
