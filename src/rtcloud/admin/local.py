"""The operator's commands when no server runs: the data directory itself, under the server's lock."""

import asyncio
from pathlib import Path

from rtcloud.accounts.sessions import Sessions
from rtcloud.accounts.store import Accounts
from rtcloud.admin.command import AdminError, Command, Site
from rtcloud.admin.commands import perform
from rtcloud.clock import SystemClock
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import open_database
from rtcloud.store.locks import hold
from rtcloud.store.sealing import SealError, open_sealer

DATABASE = "rtcloud.db"
SERVE_LOCK = "serve.lock"


def run(directory: Path, command: Command) -> object:
    try:
        if not (directory / DATABASE).exists():
            raise AdminError(
                f"{directory}: not a data directory of rtcloud (start `rtcloud serve --data {directory}` once)"
            )
        with hold(directory / SERVE_LOCK):
            return asyncio.run(_run(directory, command))
    except SealError as error:
        raise AdminError(f"{directory}: {error}: it is not the one that this directory was made with") from error
    except OSError as error:
        raise AdminError(f"{directory}: {error.strerror or error}") from error


async def _run(directory: Path, command: Command) -> object:
    database = open_database(directory / DATABASE)
    try:
        clock, sealer = SystemClock(), open_sealer(directory)
        accounts = await Accounts.load(database, sealer, clock)
        sessions = Sessions(sealer, accounts)
        site = Site(accounts, database, LocalBus(), clock, sessions, directory=directory.resolve(), sealer=sealer)
        return await perform(command, site)
    finally:
        await database.close()
