"""Every environment variable of the system, once. Each field is read from `L0_` and its name in capitals."""

import os
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_LEASES_TO_LIST = 3


class Settings(BaseSettings):
    """How this process is set up; the defaults run everything on one machine."""

    model_config = SettingsConfigDict(env_prefix="L0_", extra="forbid", frozen=True, validate_default=True)

    data_dir: Path = Field(default=Path("l0-data"), description="Folder of database, files, broker socket and logs.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in the data folder.")
    broker_url: str = Field(default="", description="Redis URL; empty: a unix socket in the data folder.")
    migration_wait_seconds: float = Field(
        default=60.0, ge=0, description="How long API and worker wait at their start for `l0 migrate`."
    )
    storage_dir: Path | None = Field(
        default=None, description="Folder of uploads and artifacts; by default in data_dir."
    )
    storage_url: str = Field(
        default="",
        pattern=r"^(s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9](/[A-Za-z0-9_.\-]+)*/?)?$",
        description="s3://bucket or s3://bucket/prefix; empty: the folder, which else holds only files on their way.",
    )
    s3_endpoint_url: str = Field(
        default="", description="Address of an S3-compatible server; empty: Amazon's, or what AWS_ENDPOINT_URL_S3 says."
    )
    storage_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long a store may be silent; a request is tried three times."
    )
    storage_patience_seconds: float = Field(
        default=900.0, ge=0, description="How long a run waits for a store that is away before the attempt fails."
    )

    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    api_processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes of an API that answer on its socket; a second core wants a second.",
    )
    require_keys: bool | None = Field(
        default=None,
        description="Ask every caller for an API key; by default on every address but loopback: docs/access.md.",
    )
    allow_anonymous: bool = Field(
        default=False, description="Serve another address than loopback without API keys, on your own word."
    )

    quota_stored_bytes: int = Field(
        default=200 * 10**9, ge=0, description="Bytes a tenant may keep where keys are asked for; 0: no limit."
    )
    quota_active_jobs: int = Field(
        default=100, ge=0, description="Jobs of a tenant that wait or run, where keys are asked for; 0: no limit."
    )
    quota_requests_a_minute: int = Field(
        default=6_000,
        ge=0,
        description="Requests of a tenant to one API process, where keys are asked for; 0: no limit.",
    )
    max_waiting_jobs: int = Field(
        default=100_000, gt=0, description="Pending jobs of all tenants before no more are taken (503 queue_full)."
    )

    max_upload_bytes: int = Field(default=4 * 2**30, gt=0, description="Largest upload.")
    max_body_bytes: int = Field(default=2**20, gt=0, description="Largest JSON body.")
    read_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long a client may take for a request's head, or for the next kilobyte of its body (else 408).",
    )
    parse_memory_bytes: int = Field(default=16 * 2**30, gt=0, description="Address space of a process that parses.")
    parse_seconds: float = Field(default=600.0, gt=0, description="Time a process that parses may take.")
    max_nonzeros: int = Field(default=2**31, gt=0, description="Largest number of stored matrix entries.")
    max_units: int = Field(default=2**31, gt=0, description="Largest number of matrix columns.")
    max_targets: int = Field(default=10_000_000, gt=0, description="Largest number of matrix rows.")

    lease_seconds: float = Field(
        default=30.0, gt=0, description="How long a worker holds a job without a sign of life."
    )
    renew_seconds: float = Field(default=10.0, gt=0, description="How often a worker renews its lease.")
    flush_seconds: float = Field(default=0.5, gt=0, description="How often a worker writes progress and metrics.")
    reap_seconds: float = Field(default=10.0, gt=0, description="How often workers look for lost and forgotten jobs.")
    republish_seconds: float = Field(default=20.0, gt=0, description="When a job nobody took is published again.")
    stop_seconds: float = Field(
        default=10.0, gt=0, description="How long an engine may take to stop before it is killed."
    )
    checkpoint_seconds: float = Field(default=5.0, gt=0, description="How often a run writes a checkpoint.")
    worker_seen_seconds: float = Field(default=60.0, gt=0, description="How long after its last sign a worker counts.")

    retention_days: float = Field(default=90.0, gt=0, description="How long after a job's end its results are kept.")
    upload_hours: float = Field(
        default=24.0, gt=0, description="How long an upload is kept after it was last sent or used."
    )
    orphan_hours: float = Field(
        default=24.0,
        gt=0,
        description="How old a stored file that nothing refers to becomes before it is removed; three leases at least.",
    )
    sweep_seconds: float = Field(default=60.0, gt=0, description="How often a worker looks for what is past its time.")
    orphan_sweep_seconds: float = Field(
        default=3600.0, gt=0, description="How often the store is searched for files that nothing refers to."
    )

    webhook_allowed_networks: str = Field(
        default="",
        description="Networks outside the public internet that webhooks may reach, by http too; 127.0.0.0/8,fd00::/8.",
    )

    worker_queues: str = Field(default="cpu", description="Queues a worker serves, separated by commas.")
    worker_device: str = Field(default="cpu", description="Device its jobs run on: cpu, cuda, cuda:0.")
    worker_concurrency: int = Field(default=1, ge=1, description="Jobs a worker runs at a time.")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log line."
    )

    @field_validator("data_dir", "storage_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """Fix a relative folder now: this process or its children may run elsewhere later."""
        return None if path is None else path.resolve()

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _networks(cls, text: str) -> str:
        """Refuse what is no list of networks."""
        _networks_of(text)
        return text

    @property
    def webhook_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks that webhooks may reach beside the public internet."""
        return _networks_of(self.webhook_allowed_networks)

    @property
    def orphan_seconds(self) -> float:
        """How old a file becomes before nobody can still be about to list it, or longer where that is asked for."""
        return max(self.orphan_hours * 3600, _LEASES_TO_LIST * self.lease_seconds)

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir / 'l0.db'}"

    @property
    def broker(self) -> str:
        """The broker URL in force."""
        return self.broker_url or f"redis+socket://{self.data_dir / 'broker.sock'}"

    @property
    def storage(self) -> Path:
        """The folder of files in force."""
        return self.storage_dir or self.data_dir / "files"

    def environment(self) -> dict[str, str]:
        """Give the environment of a child process that shall have these settings."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        own = {f"L0_{name.upper()}": str(value) for name, value in values.items() if value is not None}
        return {**os.environ, **own}

    @property
    def asks_for_keys(self) -> bool:
        """Whether a caller needs an API key; only then are there tenants, scopes and quotas."""
        if self.require_keys is None:
            return not (self.on_loopback or self.allow_anonymous)
        return self.require_keys

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the API."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def _networks_of(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Give the networks of a list; ValueError where one is none.

    >>> _networks_of("127.0.0.0/8, ::1")
    (IPv4Network('127.0.0.0/8'), IPv6Network('::1/128'))
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
