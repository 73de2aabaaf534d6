"""`l0`, typed in this process: what it prints on each stream, and how it ends."""

import json
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from service.commands import app


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[Any]:
        """The documents on standard output, one a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]


@dataclass(frozen=True)
class L0:
    """`l0` with the address of a service in its environment."""

    url: str

    def __call__(self, *arguments: str) -> Done:
        """Run a command."""
        done = CliRunner().invoke(app, list(arguments), env={"L0_URL": self.url})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(code=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    def refused(self, code: int, *arguments: str) -> str:
        """Run a command that ends with this code, one sentence and nothing else; gives the sentence."""
        done = self(*arguments)
        assert (done.code, done.stdout) == (code, ""), done
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        return done.stderr.removeprefix("error: ").rstrip("\n")
