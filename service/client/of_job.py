"""What can be asked about a job, and of it: the acts of a client that take a job's id."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.kinds import KINDS
from l0core.plots import Curve, line_chart
from service.client.calls import (
    Call,
    Drain,
    JsonObject,
    Steps,
    as_data,
    as_id,
    as_nothing,
    as_object,
    ask,
    get,
    given,
    locally,
)
from service.client.download import Download
from service.client.fields import sent_fields
from service.client.following import Following
from service.client.listing import Listing, all_of
from service.client.patience import IDEMPOTENCY_KEY
from service.client.results import (
    ActiveWeights,
    Curves,
    Picture,
    Predictions,
    as_active,
    as_curves,
    as_predictions,
    as_records,
    as_values,
    as_vector,
)
from service.client.uploads import upload


def state(job_id: str, *, wait: float = 0, after_version: int | None = None) -> Steps[JsonObject]:
    """Give the job as it is, waiting up to `wait` seconds (25 at most) for its end or a newer version."""
    query = given(wait=wait or None, after_version=after_version)
    call = Call(method="GET", path=f"/v1/jobs/{job_id}", read=as_object, query=query, waits_seconds=wait)
    return (yield from ask(call))


def cancel(job_id: str) -> Steps[None]:
    """Ask the job to stop."""
    yield from ask(Call(method="POST", path=f"/v1/jobs/{job_id}/cancel", read=as_nothing))


def retry(job_id: str, idempotency_key: str | None = None) -> Steps[str]:
    """Submit the request of an ended job once more; gives the new job's id."""
    headers = given(**{IDEMPOTENCY_KEY: idempotency_key})
    return (yield from ask(Call(method="POST", path=f"/v1/jobs/{job_id}/retry", read=as_id, headers=headers)))


def delete(job_id: str) -> Steps[None]:
    """Delete the job, once it has ended, and all it has left."""
    yield from ask(Call(method="DELETE", path=f"/v1/jobs/{job_id}", read=as_nothing))


def events(job_id: str, after: int, *, follow: bool) -> Listing | Following:
    """Give what happened to the job; `follow` goes on until it has ended, over connections that break."""
    if follow:
        return Following(job_id, after)
    return Listing(path=f"/v1/jobs/{job_id}/events", query={"after": after, "limit": 1000}, cursor="after")


def log(job_id: str) -> Steps[str]:
    """Give what happened to the job as text, a line an event."""
    return (yield from ask(get(f"/v1/jobs/{job_id}/log", lambda reply: reply.text)))


def dense_weights(job_id: str, *, checkpoint: str | None = None) -> Steps[NDArray[np.float64]]:
    """Give the weights of all units."""
    path = f"/v1/jobs/{job_id}/weights"
    return (yield from ask(get(path, as_vector, active_only="false", format="npy", checkpoint=checkpoint)))


def active_weights(job_id: str, *, checkpoint: str | None = None) -> Steps[ActiveWeights]:
    """Give the kept units and their weights."""
    return (yield from ask(get(f"/v1/jobs/{job_id}/weights", as_active, format="json", checkpoint=checkpoint)))


def weights_csv(job_id: str, *, checkpoint: str | None = None) -> Steps[str]:
    """Give the active units and their weights as CSV: index,weight."""
    path = f"/v1/jobs/{job_id}/weights"
    return (yield from ask(get(path, lambda reply: reply.text, format="csv", checkpoint=checkpoint)))


def table(job_id: str, name: str) -> Steps[NDArray[np.void]]:
    """Give a table of the result: a row each, with named fields; `rows["weight"]` is a column."""
    return (yield from ask(get(f"/v1/jobs/{job_id}/{name}", as_records, format="npy")))


def selection(job_id: str) -> Steps[NDArray[np.void]]:
    """Give what a sampling has chosen, a row each: index, type ("l0" or "random"), inclusion_probability, weight."""
    return (yield from table(job_id, "selection"))


def answer(job_id: str, /, **asked: Any) -> Steps[JsonObject]:
    """Give all that a result says about new data; `asked` is the question of its kind, arrays as in `register_kind`."""
    body = yield from sent_fields(asked)
    return (yield from ask(Call(method="POST", path=f"/v1/jobs/{job_id}/predictions", read=as_object, json=body)))


def predict(job_id: str, data: object, *, checkpoint: str | None = None) -> Steps[NDArray[np.float64]]:
    """Give what a result says about new data.

    Of a weighting: the calibrated totals of another matrix over the same units, one a row. Of a network: its outputs
    for other features, a row each.
    """
    kind = yield from ask(get(f"/v1/jobs/{job_id}", lambda reply: str(reply.json()["kind"])))
    body = {asked_with(kind): {"upload_id": (yield from upload(data))}}
    path, query = f"/v1/jobs/{job_id}/predictions", given(checkpoint=checkpoint)
    return (yield from ask(Call(method="POST", path=path, read=as_values, json=body, query=query)))


def asked_with(kind: str) -> str:
    """Give the field of a question that holds the data."""
    question = KINDS[kind].question if kind in KINDS else None
    return "matrix" if question is None else next(iter(question.inputs.model_fields))


def predictions(job_id: str, *, checkpoint: str | None = None) -> Steps[Predictions]:
    """Give the calibrated totals of the job's own targets."""
    return (yield from ask(get(f"/v1/jobs/{job_id}/predictions", as_predictions, checkpoint=checkpoint)))


def targets(
    job_id: str, *, sort: str | None = None, holdout: bool | None = None, group: int | None = None
) -> Steps[list[JsonObject]]:
    """Give the fit of every target, in the problem's order or by a column: "-abs_relative_error" is worst first.

    `holdout` takes only the targets left out of the fit, or only those in it; `group` only those of a group.
    """
    query = given(limit=1000, sort=sort, holdout=holdout, group=group)
    return (yield from all_of(Listing(path=f"/v1/jobs/{job_id}/targets", query=query)))


def metrics(
    job_id: str,
    keys: Sequence[str] | None = None,
    *,
    from_step: int | None = None,
    to_step: int | None = None,
    max_points: int = 1000,
) -> Steps[Curves]:
    """Give the loss curves by key, each as arrays: step, and the last, least and greatest value of its bucket."""
    names = None if keys is None else ",".join(keys)
    query = given(keys=names, from_step=from_step, to_step=to_step, max_points=max_points)
    return (yield from ask(get(f"/v1/jobs/{job_id}/metrics", as_curves, **query)))


def plot_loss(job_id: str, keys: Sequence[str] = ("loss",), *, title: str = "Loss") -> Steps[Picture]:
    """Draw one to four curves over the epochs, on a log axis: a picture to see in a notebook, or to save as SVG."""
    curves = yield from metrics(job_id, keys)
    lines = [
        Curve(name=key, steps=curve["step"].astype(int).tolist(), values=curve["last"].tolist())
        for key, curve in curves.items()
    ]
    return Picture(line_chart(lines, title=title))


def findings(job_id: str) -> Steps[list[JsonObject]]:
    """Give what is wrong or doubtful with the problem, and what the run has found."""
    return (yield from ask(get(f"/v1/jobs/{job_id}/findings", as_data)))


def checkpoints(job_id: str) -> Steps[list[JsonObject]]:
    """Give the checkpoints that are kept, the newest first: id, epoch, attempt, size and sha256."""
    return (yield from ask(get(f"/v1/jobs/{job_id}/checkpoints", as_data)))


def artifacts(job_id: str) -> Steps[list[JsonObject]]:
    """Give name, size, sha256 and content type of every file of the result."""
    return (yield from ask(get(f"/v1/jobs/{job_id}/artifacts", as_data)))


def artifact(job_id: str, name: str) -> Steps[bytes]:
    """Give one file of the result; a large one is better downloaded."""
    return (yield from ask(get(f"/v1/jobs/{job_id}/artifacts/{name}", lambda reply: reply.content)))


def download(job_id: str, name: str, path: str | Path) -> Steps[Path]:
    """Write one file of the result to `path` (into it, where it is a folder); gives where it is.

    It is written piece by piece, gone on with after a connection that broke, and kept if its digest is right.
    """
    there = Path(path)
    reading = Download(f"/v1/jobs/{job_id}/artifacts/{name}", there / name if there.is_dir() else there)
    try:
        yield Drain(reading)
        return (yield from locally(reading.keep))
    finally:
        reading.drop()
