"""The process that parses: whatever becomes of it, the caller gets an answer or a refusal in words."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import Unprocessable
from service.problems import sandbox
from service.problems.limits import Limits
from service.problems.nursery import nursery
from service.problems.requests import BuildRequest, MatrixBody, MultiplyRequest, UploadedFile
from service.settings import Settings
from tests.service.problems.files import NPY, ROOMY, csr_with, npy

_UPLOAD = {"upload_id": "upl_1"}


def _build(
    matrix: dict[str, Any], *, targets: str = "[3.0, 4.5]", limits: Limits = ROOMY, **files: UploadedFile
) -> dict[str, Any]:
    body = MatrixBody.model_validate({"matrix": matrix}).model_dump_json()[:-1] + f', "targets": {targets}}}'
    request = BuildRequest(kind="calibration", inputs=body, uploads=files, limits=limits, output="")
    return sandbox.run(request)


def _coo(n_units: int) -> dict[str, Any]:
    return {"coo": {"shape": [2, n_units], "row": [0, 1], "col": [0, 0], "data": [1.0, 2.0]}}


def test_a_sound_request_is_answered() -> None:
    assert _build(_coo(3))["sizes"] == {"n_targets": 2, "n_units": 3, "nnz": 2}


def test_a_process_that_takes_too_long_is_ended_and_the_limit_is_named(tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    os.mkfifo(endless)  # nobody writes to it: it is opened for ever
    file = UploadedFile(path=str(endless), content_type=NPY)
    with pytest.raises(Unprocessable, match=r"reading it took more than 0\.3 s"):
        _build(_coo(3), targets='{"upload_id": "upl_1"}', limits=dataclasses.replace(ROOMY, seconds=0.3), upl_1=file)


def test_a_process_that_needs_too_much_memory_names_the_limit() -> None:
    limit = 800 * 2**20
    with pytest.raises(Unprocessable, match=f"reading it takes more than {limit} bytes"):
        _build(_coo(100_000_000), limits=dataclasses.replace(ROOMY, memory_bytes=limit))


def test_a_process_that_dies_is_a_refusal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    nursery.end()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unprocessable, match="the process reading them died") as caught:
        _build(_coo(3))
    assert (caught.value.code, caught.value.errors[0].pointer) == ("invalid_request", "")


def test_what_nobody_foresaw_names_the_field_that_was_being_read(tmp_path: Path) -> None:
    gone = UploadedFile(path=str(tmp_path / "gone"), content_type=NPY)
    with pytest.raises(Unprocessable, match="targets cannot be read") as caught:
        _build(_coo(3), targets='{"upload_id": "upl_1"}', upl_1=gone)
    assert caught.value.errors[0].pointer == "/targets"


def test_a_strange_header_of_the_targets_does_not_blame_the_matrix(tmp_path: Path) -> None:
    strange = tmp_path / "targets"
    strange.write_bytes(npy(np.zeros((2, 2), dtype="V0")))
    file = UploadedFile(path=str(strange), content_type=NPY)
    with pytest.raises(Unprocessable) as caught:
        _build(_coo(3), targets='{"upload_id": "upl_1"}', upl_1=file)
    assert caught.value.errors[0].pointer == "/targets"


def test_a_refusal_carries_code_pointer_and_sentence() -> None:
    with pytest.raises(Unprocessable) as caught:
        _build({"coo": {"shape": [2, 3], "row": [0, 2], "col": [0, 0], "data": [1.0, 2.0]}})
    (fault,) = caught.value.errors
    assert (fault.pointer, fault.code) == ("/matrix", "invalid_matrix")
    assert fault.detail == "row[1] is 2; it must be from 0 to 1 (1 such entries)"


def _multiply(tmp_path: Path, matrix: bytes, weights: list[float]) -> list[float]:
    (tmp_path / "matrix").write_bytes(matrix)
    (tmp_path / "weights").write_bytes(npy(np.array(weights)))
    request = MultiplyRequest(
        inputs=MatrixBody.model_validate({"matrix": _UPLOAD}),
        weights=str(tmp_path / "weights"),
        uploads={"upl_1": UploadedFile(path=str(tmp_path / "matrix"), content_type="application/x-npz")},
        limits=ROOMY,
    )
    values: list[float] = sandbox.run(request)["values"]
    return values


def test_a_matrix_is_multiplied_with_the_weights(tmp_path: Path) -> None:
    assert _multiply(tmp_path, csr_with(), [1.0, 10.0, 100.0]) == [21.0, 300.0]


def test_totals_beyond_the_largest_float_are_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(Unprocessable) as caught:
        _multiply(tmp_path, csr_with(data=[1e308, 1e308, 1.0]), [9.0, 9.0, 9.0])
    assert caught.value.code == "nonfinite_input"


def test_the_limits_come_from_the_settings() -> None:
    settings = Settings(max_nonzeros=1, max_units=2, max_targets=3, parse_memory_bytes=40, parse_seconds=5)
    assert Limits.of(settings) == Limits(nonzeros=1, units=2, targets=3, bytes=20, memory_bytes=40, seconds=5.0)
