"""l0 weights, targets, compare, predict, download: a result as files and tables."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.feather
import pyarrow.parquet
import pytest
import scipy.sparse as sp

from tests.service.api.door import Door
from tests.service.api.endings import Finished
from tests.service.terminal.typed import L0


@pytest.fixture
def weights(door: Door, finished: Finished) -> dict[int, float]:
    """The weights of the units that are kept, as the service gives them."""
    kept = door.http.get(f"{finished.url}/weights").json()
    return dict(zip(kept["indices"], kept["values"], strict=True))


def _read(path: Path) -> dict[int, float]:
    match path.suffix:
        case ".csv":
            rows = list(csv.DictReader(path.read_text().splitlines()))
            return {int(row["index"]): float(row["weight"]) for row in rows}
        case ".npy":
            return {int(index): float(weight) for index, weight in np.load(path)}
        case ".json":
            kept = json.loads(path.read_text())
            return dict(zip(kept["indices"], kept["values"], strict=True))
        case ".parquet":
            table = pyarrow.parquet.read_table(path)
        case _:
            table = pyarrow.feather.read_table(path)
    return dict(zip(table["index"].to_pylist(), table["weight"].to_pylist(), strict=True))


@pytest.mark.parametrize("name", ["w.csv", "w.npy", "w.json", "w.parquet", "w.arrow", "w.feather"])
def test_weights_are_written_as_the_file_s_name_says(
    l0: L0, finished: Finished, weights: dict[int, float], tmp_path: Path, name: str
) -> None:
    done = l0("weights", finished.job_id, "-o", str(tmp_path / name))
    assert (done.code, done.stdout) == (0, "")
    assert _read(tmp_path / name) == weights
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_weights_of_all_units_are_a_vector(
    l0: L0, finished: Finished, weights: dict[int, float], tmp_path: Path
) -> None:
    path = tmp_path / "all"
    done = l0("weights", finished.job_id, "--all", "--format", "npy", "-o", str(path), "--json")
    assert done.json == {"path": str(path), "size_bytes": path.stat().st_size, "format": "npy"}
    dense = np.load(path)
    assert dense.shape == (80,)
    assert {int(i): float(dense[i]) for i in np.flatnonzero(dense)} == weights


def test_weights_go_to_standard_output_as_csv_or_json(l0: L0, finished: Finished, weights: dict[int, float]) -> None:
    rows = list(csv.DictReader(io.StringIO(l0("weights", finished.job_id).stdout)))
    assert {int(row["index"]): float(row["weight"]) for row in rows} == weights
    assert l0("weights", finished.job_id, "--json").json["count"] == 30


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "w.xyz"], "'w.xyz' does not tell the format; name one with --format: csv, npy"),
        (["--format", "xlsx"], "there is no format 'xlsx'; there are csv, npy"),
        (["--format", "npy", "--json"], "npy is no text; name a file with -o"),
    ],
)
def test_a_format_that_there_is_not_is_refused_with_those_there_are(
    l0: L0, finished: Finished, arguments: list[str], says: str
) -> None:
    assert says in l0.refused(2, "weights", finished.job_id, *arguments)


def test_a_file_that_cannot_be_written_is_one_sentence(l0: L0, finished: Finished, tmp_path: Path) -> None:
    said = l0.refused(1, "weights", finished.job_id, "-o", str(tmp_path / "nowhere" / "w.csv"))
    assert "cannot be written: No such file or directory; name another file with -o" in said


def test_a_job_without_a_result_says_what_to_do(l0: L0, job_id: str) -> None:
    assert "checkpoint=latest" in l0.refused(1, "weights", job_id)
    assert "no checkpoint" in l0.refused(1, "weights", job_id, "--checkpoint", "latest")
    assert "`l0 job JOB` shows where it stands" in l0.refused(1, "targets", job_id)


def test_targets_are_listed_the_worst_first(l0: L0, door: Door, finished: Finished) -> None:
    rows = l0("targets", finished.job_id, "--json").json
    assert sorted(row["name"] for row in rows) == sorted(finished.names)
    errors = [row["abs_relative_error"] for row in rows]
    assert errors == sorted(errors, reverse=True)
    done = l0("targets", finished.job_id, "--limit", "4", "--sort", "name")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["target", "=1+1", "café", "target", "target"]
    assert "(held out)" in l0("targets", finished.job_id).stdout
    assert "the first 4; --limit 40 shows more" in done.stderr


def test_a_sort_that_there_is_not_is_refused(l0: L0, finished: Finished) -> None:
    assert "sort must be one of index" in l0.refused(1, "targets", finished.job_id, "--sort", "beauty")


def test_a_result_compared_with_itself_has_not_changed(l0: L0, finished: Finished) -> None:
    assert l0("compare", finished.job_id, finished.job_id, "--json").json["unchanged"] == 12
    done = l0("compare", finished.job_id, finished.job_id, "--limit", "0")
    assert done.stdout.splitlines()[0].split() == ["error", "first", "second"]
    assert "12 targets in common: 0 improved, 0 regressed, 12 unchanged" in done.stderr


def test_totals_of_another_matrix_are_its_product_with_the_weights(
    l0: L0, finished: Finished, weights: dict[int, float], tmp_path: Path
) -> None:
    matrix = np.random.default_rng(5).random((3, 80))
    sp.save_npz(tmp_path / "other.npz", sp.csr_array(matrix))
    dense = np.zeros(80)
    dense[list(weights)] = list(weights.values())
    values = l0("predict", finished.job_id, str(tmp_path / "other.npz"), "--json").json["values"]
    np.testing.assert_allclose(values, matrix @ dense)
    lines = l0("predict", finished.job_id, str(tmp_path / "other.npz")).stdout.splitlines()
    assert [float(line) for line in lines] == values


def test_files_are_listed_and_fetched(l0: L0, door: Door, finished: Finished, tmp_path: Path) -> None:
    listed = l0("download", finished.job_id, "--json").json
    assert "report.html" in [file["name"] for file in listed]
    assert len(l0("download", finished.job_id).stdout.splitlines()) == 1 + len(listed)
    done = l0("download", finished.job_id, "report.html", "run_config.json", "-d", str(tmp_path / "new"), "--json")
    assert [file["path"] for file in done.json] == [
        str(tmp_path / "new" / n) for n in ("report.html", "run_config.json")
    ]
    content = door.http.get(f"{finished.url}/artifacts/report.html").content
    assert (tmp_path / "new" / "report.html").read_bytes() == content


def test_a_file_that_there_is_not_is_exit_code_4(l0: L0, finished: Finished, job_id: str) -> None:
    said = l0.refused(4, "download", finished.job_id, "../../etc/passwd")
    assert said.startswith("there is no file '../../etc/passwd'; there are calibration_diagnostics.json, ")
    assert "the job has left no files" in l0("download", job_id).stderr
