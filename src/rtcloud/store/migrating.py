"""Bring a database file to the tables of this version: Alembic, from scripts inside the package, under a file lock.

Several processes may start on one data directory at once; the lock lets one migrate while the others wait. Each step
is one transaction: a process killed in the middle leaves the tables as they were before it.
"""

import fcntl
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from rtcloud.errors import ConfigError

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(path: Path) -> None:
    """Upgrade the file at ``path`` to the newest revision; made when absent."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.touch(mode=0o600)  # it holds whom people talked to; its log and index files take over its mode
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)

        @event.listens_for(engine, "connect")
        def configure(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None  # the driver would commit before each change of a table
            connection.execute("PRAGMA journal_mode=WAL").close()

        @event.listens_for(engine, "begin")
        def begin_transaction(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        with engine.connect() as connection:
            upgrade(connection)


def upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(f"the database was made by a newer version of rtcloud: {error}") from error
