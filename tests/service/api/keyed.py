"""A service that asks for keys, called in this process: a door for each tenant and scope, and one for strangers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from fastapi import FastAPI

from service.api.app import create_app
from service.auth import keys
from service.auth.callers import Scope
from service.settings import Settings
from service.system import System
from tests.service.api.door import Door, InProcess


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """The application, and doors to it."""

    app: FastAPI
    system: System

    @property
    def stranger(self) -> Door:
        """A door for those without a key."""
        return self._door({})

    def door(self, tenant: str, scope: Scope = Scope.WRITE) -> Door:
        """Give a door for those who have a new key of this tenant and scope."""
        return self.door_of(self.key(tenant, scope)[1])

    def door_of(self, key: str) -> Door:
        """Give a door for those who send this key."""
        return self._door({"Authorization": f"Bearer {key}"})

    def key(self, tenant: str, scope: Scope = Scope.WRITE) -> tuple[str, str]:
        """Make a key; gives its id and the key."""
        with self.system.database.transaction() as session:
            row, key = keys.make(session, tenant=tenant, scope=scope, name="of a test")
        return row.id, key

    def revoke(self, key_id: str) -> None:
        """Revoke a key."""
        with self.system.database.transaction() as session:
            keys.revoke(session, key_id)

    def operations(self) -> list[tuple[str, str]]:
        """Give method and path template of every operation of the OpenAPI document."""
        return [(method.upper(), path) for path, item in self.app.openapi()["paths"].items() for method in item]

    def _door(self, headers: dict[str, str]) -> Door:
        http = httpx.Client(transport=InProcess(self.app), base_url="http://localhost", headers=headers)
        return Door(http=http, system=self.system)


@contextmanager
def asking_for_keys(settings: Settings) -> Iterator[Keyed]:
    """Call the application of these settings with keys asked for."""
    app = create_app(settings.model_copy(update={"require_keys": True}))
    system: System = app.state.system
    yield Keyed(app=app, system=system)
    system.database.dispose()
