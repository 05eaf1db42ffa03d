"""What the outbox needs now and then, in steps so small that deliveries and joins do not wait for them."""

import asyncio

from rtcloud.callbacks import outbox, parking
from rtcloud.store.database import Database

AT_ONCE = 500  # rows of one transaction
PAUSE_SECONDS = 0.1


async def park_unaddressed(database: Database) -> int:
    """Set aside what waits for an address that went with its application. How many there were."""
    if not await database.read(parking.has_unaddressed):
        return 0
    return await database.write(parking.park_unaddressed)


async def forget_delivered(database: Database, before_ms: int) -> int:
    """Delete what was delivered before ``before_ms``. How many there were."""
    count = 0
    while await database.read(lambda connection: outbox.has_delivered(connection, before_ms)):
        count += await database.write(lambda connection: outbox.forget_delivered(connection, before_ms, AT_ONCE))
        await asyncio.sleep(PAUSE_SECONDS)
    return count
