"""The database's one writer and its readers.

``write(work)`` runs ``work(connection)`` inside a transaction that began with ``BEGIN IMMEDIATE`` and returns its
result only after the commit is durable. Pending writes are committed in groups (≤ 20 ms), each work in a savepoint
of its own: one that raises rolls back alone. ``work`` is a plain function: it can await nothing, so a transaction
never waits for anything but the database.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class Database(Protocol):
    async def write(self, work: Callable[[Connection], T]) -> T: ...

    async def read(self, work: Callable[[Connection], T]) -> T: ...

    async def close(self) -> None: ...
