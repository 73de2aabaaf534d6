"""What the application's verbs need of the process they run in; `service.system.System` has it all."""

from typing import Protocol

from service.db.session import Database
from service.settings import Settings
from service.storage import Store


class Resources(Protocol):
    """Settings, a database, a store."""

    @property
    def settings(self) -> Settings:
        """How this process is set up."""
        ...

    @property
    def database(self) -> Database:
        """The truth."""
        ...

    @property
    def store(self) -> Store:
        """The bytes."""
        ...
