"""Bytes on their way to the service: from disk in pieces, with their digest, and not at all where they are there."""

import base64
import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from service.client.outgoing import outgoing
from tests.service.client.flaky import DROPPED, Answer, flaky, problem

UPLOAD = Answer(status=201, body=b'{"id": "upl_new"}')
LARGE = np.zeros(2**18)


def test_an_upload_says_its_digest_and_length() -> None:
    with flaky(UPLOAD) as (client, asked):
        assert client.upload(np.arange(3.0)) == "upl_new"
    sent = asked[0]
    digest = base64.b64encode(hashlib.sha256(sent.body).digest()).decode()
    assert sent.headers["content-digest"] == f"sha-256=:{digest}:"
    assert sent.headers["content-type"] == "application/x-npy"
    assert int(sent.headers["content-length"]) == len(sent.body)
    assert "transfer-encoding" not in sent.headers


def test_a_large_upload_is_not_sent_where_it_is_there() -> None:
    with flaky(Answer(body=b'{"id": "upl_held"}')) as (client, asked):
        assert client.upload(LARGE) == "upl_held"
    assert [one.method for one in asked] == ["GET"]
    assert asked[0].path.startswith("/v1/uploads/sha256:")


def test_a_large_upload_is_sent_whole_again_after_a_break() -> None:
    with flaky(problem(404, "not_found"), DROPPED, UPLOAD) as (client, asked):
        assert client.upload(LARGE) == "upl_new"
    assert [one.method for one in asked] == ["GET", "POST", "POST"]
    assert asked[1].body == asked[2].body
    assert asked[2].body.endswith(LARGE.tobytes())


def test_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "M.MTX").write_bytes(b"%%MatrixMarket")
    with flaky(UPLOAD) as (client, asked):
        client.upload(str(tmp_path / "M.MTX"))
    assert (asked[0].body, asked[0].headers["content-type"]) == (b"%%MatrixMarket", "text/x-matrix-market")


def test_a_packed_file_is_sent_packed_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    (tmp_path / "M.mtx.gz").write_bytes(bytes(2**21))
    with flaky(UPLOAD) as (client, asked):
        client.upload(tmp_path / "M.mtx.gz")
    said = asked[0].headers
    assert (len(asked), said["content-type"], said["content-encoding"]) == (1, "text/x-matrix-market", "gzip")


def test_a_large_matrix_goes_through_a_file_and_never_as_one_piece_of_memory() -> None:
    matrix = sp.eye_array(4_000_000, format="csr")
    held = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    tracemalloc.start()
    opened = outgoing(matrix)
    with opened.file:
        assert sum(len(chunk) for chunk in opened.chunks()) == opened.size_bytes > held
        most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 0.6 * held
