"""l0 submit, l0 upload: files in, a job's id out; what is wrong is said before anything large is sent."""

import gzip
import json
from pathlib import Path

import pytest

from tests.problems import Solved
from tests.service.api.door import Door
from tests.service.terminal.scripted import answering
from tests.service.terminal.typed import L0


def test_files_become_a_job_and_its_id_alone_is_printed(
    l0: L0, door: Door, files: list[str], problem: Solved, tmp_path: Path
) -> None:
    names = [f"total of {i}" for i in range(6)]
    (tmp_path / "names.txt").write_text("\n".join(names))
    done = l0(
        *("submit", *files, "-w", str(tmp_path / "d.npy"), "--names", str(tmp_path / "names.txt")),
        *("--budget", "20", "-p", "epochs=1e2", "-p", "loss=squared", "--seed", "3", "--device", "cpu"),
        *("--tag", "area=MN", "--tag", "note=a=b", "--deadline", "900", "--max-attempts", "2", "--log-every", "5"),
    )
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("job_")
    assert done.stdout.count("\n") == 1
    job = door.http.get(f"/v1/jobs/{done.stdout.strip()}").json()
    asked = {name: job["hyperparameters"][name] for name in ("record_budget", "epochs", "loss")}
    assert asked == {"record_budget": 20, "epochs": 100, "loss": "squared"}
    assert (job["seed"], job["device"], job["max_attempts"]) == (3, "cpu", 2)
    assert job["tags"] == {"area": "MN", "note": "a=b"}
    targets = door.http.get(f"/v1/problems/{job['problem_id']}/targets").json()["data"]
    assert [target["name"] for target in targets] == names
    assert [target["value"] for target in targets] == problem.problem.targets.tolist()
    assert f"l0 watch {job['id']}" in done.stderr


def test_json_is_the_job(l0: L0, files: list[str], tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps({"epochs": 7, "record_budget": 9}))
    job = l0("submit", *files, "--params", str(tmp_path / "params.json"), "-p", "epochs=8", "--json").json
    assert (job["status"], job["hyperparameters"]["epochs"]) == ("pending", 8)
    assert job["hyperparameters"]["record_budget"] == 9


def test_a_problem_that_is_there_needs_no_files(l0: L0, door: Door) -> None:
    problem_id = door.listed_problem()
    assert l0("submit", "--problem", problem_id, "--json").json["problem_id"] == problem_id


def test_the_findings_of_a_problem_are_said(l0: L0, files: list[str], tmp_path: Path) -> None:
    import numpy as np
    import scipy.sparse as sp

    sp.save_npz(tmp_path / "hole.npz", sp.csr_array([[1.0, 1.0], [0.0, 0.0]]))
    np.save(tmp_path / "two.npy", [2.0, 5.0])
    done = l0("submit", str(tmp_path / "hole.npz"), str(tmp_path / "two.npy"), "--json")
    assert done.json["status"] == "pending"
    assert "error: " in done.stderr
    assert "target_1" in done.stderr


def test_a_name_that_there_is_not_is_refused_before_anything_is_sent(l0: L0, door: Door, files: list[str]) -> None:
    before = door.rows()
    assert l0.refused(2, "submit", *files, "-p", "epoch=5").endswith("'epoch'; did you mean epochs?")
    assert door.rows() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give MATRIX and TARGETS, or --problem"),
        (["M.npz"], "give MATRIX and TARGETS, or --problem"),
        (["M.npz", "y.npy", "--problem", "prb_1"], "give MATRIX and TARGETS, or --problem"),
        (["M.npz", "--problem", "prb_1"], "give MATRIX and TARGETS, or --problem"),
        (["M.npz", "y.npy", "-p", "epochs"], "'epochs' is no hyperparameter; write name=value"),
        (["M.npz", "y.npy", "-p", "epochs=1", "-p", "epochs=2"], "epochs is given twice"),
        (["M.npz", "y.npy", "-p", "record_budget=1", "--budget", "2"], "record_budget is given twice"),
        (["M.npz", "y.npy", "--tag", "area"], "'area' is no tag; write name=value"),
        (["M.npz", "y.txt"], "ends in '.txt'; the service takes .npz, .npy"),
        (["M.npz", "y.npy", "--params", "y.txt"], "holds no JSON"),
        (["M.npz", "y.npy", "--params", "list.json"], "holds no JSON object"),
    ],
)
def test_what_is_typed_wrong_is_one_sentence(
    l0: L0, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "y.txt").write_text("no json")
    (tmp_path / "list.json").write_text("[1]")
    assert says in l0.refused(2, "submit", *arguments)


def test_what_the_service_refuses_is_said_with_its_place(l0: L0, files: list[str]) -> None:
    assert l0.refused(1, "submit", files[0], files[0]).startswith("targets: ")
    done = l0("submit", *files, "-p", "epochs=0")
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: hyperparameters/epochs: epochs: ")


def test_a_job_begins_where_another_stood(l0: L0, job_id: str) -> None:
    assert "has no checkpoint" in l0.refused(1, "submit", "--problem", "prb_1", "--resume-from", f"{job_id}:latest")


def test_an_upload_is_known_by_its_id(l0: L0, door: Door, files: list[str]) -> None:
    upload_id = l0("upload", files[0]).stdout.strip()
    told = door.http.get(f"/v1/uploads/{upload_id}").json()
    assert told["size_bytes"] == Path(files[0]).stat().st_size
    assert l0("upload", files[0], "--json").json == told


def test_a_packed_file_is_said_to_be_packed(tmp_path: Path) -> None:
    (tmp_path / "M.mtx.gz").write_bytes(gzip.compress(b"%%MatrixMarket"))
    with answering({"id": "upl_1"}) as (url, asked):
        assert L0(url)("upload", str(tmp_path / "M.mtx.gz")).stdout == "upl_1\n"
    assert gzip.decompress(asked[0][1]) == b"%%MatrixMarket"


def test_a_file_is_sent_whole_again_where_the_service_was_busy(files: list[str]) -> None:
    with answering(503, 429, {"id": "upl_1"}) as (url, asked):
        assert L0(url)("upload", files[0]).stdout == "upl_1\n"
    assert [body for _, body in asked] == [Path(files[0]).read_bytes()] * 3
