"""The operator's commands when no server runs: the data directory itself, under the server's lock."""

import asyncio
from pathlib import Path

from rtcloud.accounts.store import Accounts
from rtcloud.admin.commands import AdminError, AnyCommand, Site, perform
from rtcloud.clock import SystemClock
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import open_database
from rtcloud.store.locks import hold
from rtcloud.store.sealing import open_sealer

DATABASE = "rtcloud.db"
SERVE_LOCK = "serve.lock"


def run(directory: Path, command: AnyCommand) -> object:
    if not (directory / DATABASE).exists():
        raise AdminError(
            f"{directory}: not a data directory of rtcloud (start `rtcloud serve --data {directory}` once)"
        )
    with hold(directory / SERVE_LOCK):
        return asyncio.run(_run(directory, command))


async def _run(directory: Path, command: AnyCommand) -> object:
    database = open_database(directory / DATABASE)
    try:
        accounts = await Accounts.load(database, open_sealer(directory))
        return await perform(command, Site(accounts, database, LocalBus(), SystemClock()))
    finally:
        await database.close()
