"""The rows of workers, and which worker runs which task: each function is the work of one transaction.

A worker's row lasts as long as its lease, which it renews; a task is free when nobody holds it, or somebody whose lease
ran out or who is known to be dead.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from rtcloud.store.tables import tasks, workers
from rtcloud.tasks.lifecycle import LIVE_STATES, State

CLAIMED_AT_ONCE = 500


def renew_lease(
    connection: Connection, worker: str, *, pid: int, boot_id: str, until_ms: int, capacity: int = 0
) -> None:
    values = {"pid": pid, "boot_id": boot_id, "lease_until_ms": until_ms, "capacity": capacity}
    statement = upsert(workers).values(id=worker, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def other_workers(connection: Connection, worker: str) -> list[str]:
    return list(connection.execute(select(workers.c.id).where(workers.c.id != worker)).scalars())


def claimable(connection: Connection, dead: Sequence[str], now_ms: int) -> list[str]:
    """Tasks that nobody runs: never claimed, let go, or held by a worker that is dead or let its lease expire."""
    statement = select(tasks.c.task_id).where(_free(dead, now_ms)).order_by(tasks.c.created_ms)
    return list(connection.execute(statement.limit(CLAIMED_AT_ONCE)).scalars())


def claim(connection: Connection, worker: str, dead: Sequence[str], now_ms: int) -> list[str]:
    found = claimable(connection, dead, now_ms)
    connection.execute(update(tasks).where(tasks.c.task_id.in_(found)).values(worker=worker))
    expired = and_(workers.c.lease_until_ms <= now_ms, workers.c.id != worker)
    connection.execute(delete(workers).where(or_(workers.c.id.in_(dead), expired)))
    return found


def release(connection: Connection, task_id: str, worker: str, *, let_go: bool = False) -> None:
    """Let a task go: another worker, or the next start, goes on with it. ``let_go``: so was its job, which was well."""
    suspend(connection, task_id, worker, let_go=let_go)
    mine = (tasks.c.task_id == task_id) & (tasks.c.worker == worker)
    connection.execute(update(tasks).where(mine).values(worker=None))


def suspend(connection: Connection, task_id: str, worker: str, *, let_go: bool = True) -> None:
    """The task has no job for now, and waits for one."""
    mine = (tasks.c.task_id == task_id) & (tasks.c.worker == worker)
    was_running = mine & (tasks.c.state == State.RUNNING)
    connection.execute(update(tasks).where(was_running).values(state=State.ACCEPTED))
    if let_go:
        connection.execute(update(tasks).where(mine, tasks.c.spent > 0).values(spent=tasks.c.spent - 1))


def remove_worker(connection: Connection, worker: str) -> None:
    connection.execute(update(tasks).where(tasks.c.worker == worker).values(worker=None))
    connection.execute(delete(workers).where(workers.c.id == worker))


def capacity(connection: Connection, now_ms: int) -> int:
    """What the machines of all workers may plan to use; 0: no limit, or no worker yet. Workers of one boot share it."""
    of_machine = func.max(workers.c.capacity), func.min(workers.c.capacity)
    rows = connection.execute(select(*of_machine).where(workers.c.lease_until_ms > now_ms).group_by(workers.c.boot_id))
    found = [tuple(row) for row in rows]
    return 0 if any(least == 0 for _, least in found) else sum(most for most, _ in found)


def _free(dead: Sequence[str], now_ms: int) -> ColumnElement[bool]:
    holder = select(workers.c.id).where(
        workers.c.id == tasks.c.worker, workers.c.lease_until_ms > now_ms, workers.c.id.not_in(list(dead))
    )
    return and_(tasks.c.state.in_(LIVE_STATES), or_(tasks.c.worker.is_(None), ~exists(holder)))
