"""Methods that are written once: a function that gives steps, as a method that waits for them or is awaited.

`help` and `inspect.signature` say of such a method what they say of its function.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

from service.client.calls import JsonObject, Steps
from service.client.following import Following
from service.client.listing import Listing

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
C_co = TypeVar("C_co", covariant=True)
Rows = Listing | Following


class Waits(Protocol):
    """A client that does steps and waits for what comes of them."""

    def run(self, steps: Steps[T]) -> T:
        """Do steps."""

    def each(self, rows: Rows) -> Iterator[JsonObject]:
        """Give rows as they come."""


class IsAwaited(Protocol):
    """A client whose steps are awaited."""

    async def run(self, steps: Steps[T]) -> T:
        """Do steps."""

    def each(self, rows: Rows) -> AsyncIterator[JsonObject]:
        """Give rows as they come."""


class OfClient(Protocol[C_co]):
    """A job that a client knows."""

    @property
    def client(self) -> C_co:
        """The client."""

    @property
    def id(self) -> str:
        """The job's id."""


class Waiting(Generic[P, T]):
    """A method of a client: it does the steps and waits."""

    def __init__(self, make: Callable[P, Steps[T]]) -> None:
        self._make = make

    def __get__(self, client: Waits, owner: type) -> Callable[P, T]:
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return client.run(self._make(*args, **kwargs))

        return dressed(method, self._make)


class WaitingList(Generic[P]):
    """A method of a client: it gives rows one after the other."""

    def __init__(self, make: Callable[P, Rows]) -> None:
        self._make = make

    def __get__(self, client: Waits, owner: type) -> Callable[P, Iterator[JsonObject]]:
        def method(*args: P.args, **kwargs: P.kwargs) -> Iterator[JsonObject]:
            return client.each(self._make(*args, **kwargs))

        return dressed(method, self._make)


class WaitingOfJob(Generic[P, T]):
    """A method of a job: it does the steps about this job and waits."""

    def __init__(self, make: Callable[Concatenate[str, P], Steps[T]]) -> None:
        self._make = make

    def __get__(self, job: OfClient[Waits], owner: type) -> Callable[P, T]:
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return job.client.run(self._make(job.id, *args, **kwargs))

        return dressed(method, self._make, skipped=1)


class Awaited(Generic[P, T]):
    """A method of a client: it does the steps, and is awaited."""

    def __init__(self, make: Callable[P, Steps[T]]) -> None:
        self._make = make

    def __get__(self, client: IsAwaited, owner: type) -> Callable[P, Coroutine[Any, Any, T]]:
        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return await client.run(self._make(*args, **kwargs))

        return dressed(method, self._make)


class AwaitedList(Generic[P]):
    """A method of a client: it gives rows one after the other, to `async for`."""

    def __init__(self, make: Callable[P, Rows]) -> None:
        self._make = make

    def __get__(self, client: IsAwaited, owner: type) -> Callable[P, AsyncIterator[JsonObject]]:
        def method(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[JsonObject]:
            return client.each(self._make(*args, **kwargs))

        return dressed(method, self._make)


class AwaitedOfJob(Generic[P, T]):
    """A method of a job: it does the steps about this job, and is awaited."""

    def __init__(self, make: Callable[Concatenate[str, P], Steps[T]]) -> None:
        self._make = make

    def __get__(self, job: OfClient[IsAwaited], owner: type) -> Callable[P, Coroutine[Any, Any, T]]:
        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return await job.client.run(self._make(job.id, *args, **kwargs))

        return dressed(method, self._make, skipped=1)


def dressed(method: F, make: Callable[..., object], *, skipped: int = 0) -> F:
    """Let a method tell of itself what its function does, less the first `skipped` parameters."""
    told = inspect.signature(make)
    shown = told.replace(parameters=[*told.parameters.values()][skipped:], return_annotation=inspect.Signature.empty)
    method.__doc__, method.__name__ = make.__doc__, make.__name__
    cast("Any", method).__signature__ = shown
    return method
