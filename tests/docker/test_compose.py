"""What the compose file and the two images promise, read from the files; no Docker is needed."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.auth.guard import check_start
from service.jobs.routing import QUEUES
from service.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
OURS = ("migrate", "api", "worker", "worker-gpu")
WORKERS = ("worker", "worker-gpu")


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def environment(name: str) -> dict[str, str]:
    """The variables of a service, each with its default where the file leaves it to the caller."""
    given = service(name)["environment"]
    return {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for key, value in given.items()}


def settings(name: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for key, value in environment(name).items():
        monkeypatch.setenv(key, value)
    return Settings()


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()  # type: ignore[union-attr]  # no match: the test fails
    return float(number) * {"s": 1, "m": 60}[unit]


def lines_of(target: str) -> list[str]:
    """The instructions that make a stage of the Dockerfile, those of the stages it starts from first."""
    stages = re.split(r"(?m)^FROM ", DOCKERFILE)[1:]
    heads = {stage.split()[2]: stage for stage in stages}
    if target not in heads:
        return []
    first, *rest = heads[target].splitlines()
    return [*lines_of(first.split()[0]), *rest]


def extras_behind(extra: str) -> set[str]:
    """An extra and those it asks for, through however many others."""
    asked = re.findall(r"l0-calibration\[([\w,]+)\]", " ".join(EXTRAS[extra]))
    return {extra}.union(*(extras_behind(name) for names in asked for name in names.split(",")))


def extras_of(target: str) -> set[str]:
    """The extras an image installs."""
    asked = re.findall(r"/src\[([\w,]+)\]", "\n".join(lines_of(target)))
    return set().union(*(extras_behind(name) for names in asked for name in names.split(",")))


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    given = {key for key in environment(name) if key.startswith("L0_")}
    assert given
    assert given <= {f"L0_{field.upper()}" for field in Settings.model_fields}


def test_the_api_may_listen_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    told = settings("api", monkeypatch)
    assert not told.on_loopback
    check_start(told)


def test_each_queue_has_a_service_that_serves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuple(settings(name, monkeypatch).worker_queues for name in WORKERS) == QUEUES


@pytest.mark.parametrize("name", OURS)
def test_all_reach_the_same_database_and_broker(name: str) -> None:
    shared = ("L0_DATABASE_URL", "L0_BROKER_URL", "PGPASSWORD")
    assert [environment(name)[key] for key in shared] == [environment("api")[key] for key in shared]


@pytest.mark.parametrize("name", ["api", *WORKERS])
def test_the_files_stand_on_the_shared_volume(name: str) -> None:
    assert f"files:{environment(name)['L0_STORAGE_DIR']}" in service(name)["volumes"]


@pytest.mark.parametrize("name", WORKERS)
def test_compiled_kernels_outlive_a_container(name: str) -> None:
    (folder,) = re.findall(r"NUMBA_CACHE_DIR=(\S+)", "\n".join(lines_of("worker")))
    assert f"kernels:{folder}" in service(name)["volumes"]
    assert "kernels" in COMPOSE["volumes"]


def test_the_api_image_has_no_engine() -> None:
    assert extras_of("api") == extras_behind("service")
    assert "engine" not in extras_of("api")
    installed = [word for line in lines_of("api") if "pip install" in line for word in shlex.split(line)]
    assert not any("torch" in word or "numba" in word for word in installed)


def test_the_worker_image_has_the_engine() -> None:
    assert "engine" in extras_of("worker")


@pytest.mark.parametrize("target", ["api", "worker"])
def test_whatever_is_fetched_is_held_by_the_constraints(target: str) -> None:
    fetching = [line for line in lines_of(target) if "pip install" in line and "--no-index" not in line]
    assert fetching
    assert all("-c /src/constraints.txt" in line for line in fetching)


@pytest.mark.parametrize("target", ["api", "worker"])
def test_an_image_does_not_run_as_root(target: str) -> None:
    users = [line.split()[1] for line in lines_of(target) if line.startswith("USER ")]
    assert users
    assert all(int(part) > 0 for part in users[-1].split(":"))


def test_the_dockerfile_asks_for_no_frontend() -> None:
    assert "syntax=" not in DOCKERFILE
    assert "--mount" not in DOCKERFILE  # compose falls back to the classic builder where buildx is missing


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_is_given_the_time_it_needs_to_hand_its_job_over(name: str) -> None:
    assert seconds(service(name)["stop_grace_period"]) > Settings.model_fields["stop_seconds"].default + 10


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service(name).get("ports", []))


@pytest.mark.parametrize("name", [name for name in COMPOSE["services"] if name != "migrate"])
def test_what_stays_up_is_watched_and_started_again(name: str) -> None:
    assert service(name)["healthcheck"]["test"]
    assert service(name)["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", ["api", *WORKERS])
def test_nothing_starts_before_what_it_needs(name: str) -> None:
    conditions = {other: wait["condition"] for other, wait in service(name)["depends_on"].items()}
    assert conditions == {
        "postgres": "service_healthy",
        "redis": "service_healthy",
        "migrate": "service_completed_successfully",
    }


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_holds_no_more_rights_than_it_uses(name: str) -> None:
    assert service(name)["init"]
    assert service(name)["read_only"]
    assert service(name)["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_can_be_scaled(name: str) -> None:
    assert "container_name" not in service(name)


def test_only_the_gpu_worker_asks_for_a_gpu() -> None:
    asking = [name for name in COMPOSE["services"] if "deploy" in service(name)]
    assert asking == ["worker-gpu"]
    assert service("worker-gpu")["profiles"] == ["gpu"]
    assert environment("worker-gpu")["L0_WORKER_DEVICE"] == "cuda"


@pytest.mark.parametrize("name", OURS)
def test_a_bucket_may_be_named_from_outside(name: str) -> None:
    given = service(name)["environment"]
    wanted = (
        "L0_STORAGE_URL",
        "L0_S3_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
    )
    assert {key: given[key] for key in wanted} == {key: f"${{{key}:-}}" for key in wanted}


def test_the_files_stay_in_the_volume_where_no_bucket_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    told = settings("worker", monkeypatch)
    assert (told.storage_url, str(told.storage)) == ("", environment("worker")["L0_STORAGE_DIR"])
