"""The rows of tasks: each function is the work of one transaction, and writes a change together with its callbacks.

Fencing: what a worker writes names the worker, and ``LeaseLostError`` is raised when the task is another's by now. Each
journal entry is applied once (``task_events``), whoever reads it and how often.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from rtcloud.callbacks import outbox
from rtcloud.rooms.ids import RoomRef
from rtcloud.store.sealing import Sealer
from rtcloud.store.tables import nodes, task_events, task_outputs, task_rooms, tasks
from rtcloud.tasks import files, lifecycle
from rtcloud.tasks.kinds import Reaction, Refusal, TaskKind
from rtcloud.tasks.lifecycle import LIVE_STATES, OPEN_STATES, Desired, State, Task, TaskFile
from rtcloud.tasks.protocol import AnyJobEvent, Ended, FileClosed, FileOpened, Left
from rtcloud.tasks.task import Change, NewTask, TaskOutput, TaskView
from rtcloud.tasks.task import TaskFile as ViewedFile
from rtcloud.vod import store as library

PURPOSE = "task"
TOPIC = "tasks"  # of the bus: a task was accepted, changed or stopped
FILES_TOPIC = "files"  # a file was closed
KEYS_TOPIC = "keys"  # a task's store has other keys, or (without a task) all may have


class LeaseLostError(Exception):
    """Another worker has the task now."""


def load(connection: Connection, sealer: Sealer, task_id: str) -> Task | None:
    row = connection.execute(select(tasks).where(tasks.c.task_id == task_id)).one_or_none()
    return None if row is None else _task(row, sealer)


def load_mine(connection: Connection, sealer: Sealer, task_id: str, worker: str) -> Task:
    task = load(connection, sealer, task_id)
    if task is None or task.worker != worker:
        raise LeaseLostError(task_id)
    return task


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker must know of a task of its own at each look."""

    task_id: str
    desired: Desired
    revision: int
    needs_runner: bool


def list_mine(connection: Connection, worker: str) -> list[Held]:
    statement = select(tasks.c.task_id, tasks.c.desired_state, tasks.c.revision, tasks.c.state)
    rows = connection.execute(statement.where(tasks.c.worker == worker, tasks.c.state.in_(LIVE_STATES)))
    return [Held(row.task_id, Desired(row.desired_state), row.revision, row.state in OPEN_STATES) for row in rows]


def state(connection: Connection, task_id: str) -> State | None:
    found = connection.execute(select(tasks.c.state).where(tasks.c.task_id == task_id)).scalar_one_or_none()
    return None if found is None else State(found)


def view(connection: Connection, task_id: str, sdk_app_id: int, kinds: Sequence[str]) -> TaskView | None:
    """The task as its callers see it, with its files of ``kinds``; needs no secrets."""
    row = connection.execute(_VIEW, {"task_id": task_id, "sdk_app_id": sdk_app_id}).one_or_none()
    if row is None:
        return None
    shown = connection.execute(files.viewed(tuple(kinds)), {"task_id": task_id}) if row.lists_files else ()
    return TaskView(task_id, *row[:-1], tuple(ViewedFile(*file) for file in shown))


# Asked for by every Describe: made once, since making a statement takes several times as long as running it.
_VIEW = select(tasks.c.kind, tasks.c.state, tasks.c.desired_state, tasks.c.expires_ms, tasks.c.lists_files).where(
    tasks.c.task_id == bindparam("task_id"), tasks.c.sdk_app_id == bindparam("sdk_app_id")
)


def signal_url(connection: Connection) -> str | None:
    """Where robots join: of the node that started last."""
    statement = select(nodes.c.signal_url).order_by(nodes.c.started_ms.desc()).limit(1)
    return connection.execute(statement).scalar_one_or_none()


def accept(connection: Connection, sealer: Sealer, new: NewTask) -> None:
    connection.execute(
        insert(tasks).values(
            task_id=new.task_id,
            kind=new.kind,
            sdk_app_id=new.ref.sdk_app_id,
            numeric=new.ref.numeric,
            room_id=new.ref.room_id,
            user_id=new.user_id,
            params_sealed=sealer.seal(new.params, purpose=PURPOSE),
            desired_state=Desired.RUNNING,
            state=State.ACCEPTED,
            created_ms=new.now_ms,
            expires_ms=new.expires_ms,
            load=new.load,
            lists_files=new.lists_files,
        )
    )
    if new.output is not None:
        _note_output(connection, new.task_id, new.output, new.now_ms)


def revise(
    connection: Connection, sealer: Sealer, task_id: str, sdk_app_id: int, change: Change, now_ms: int
) -> bytes | None:
    """The request as ``change`` made it; None for a task that is another application's, or stopped, or at its end."""
    before = params(connection, sealer, task_id, sdk_app_id)
    if before is None:
        return None
    after, output, load = change(before)
    values: dict[str, Any] = {"params_sealed": sealer.seal(after, purpose=PURPOSE), "revision": tasks.c.revision + 1}
    if load is not None:
        values["load"] = load
    connection.execute(update(tasks).where(tasks.c.task_id == task_id).values(values))
    if output is not None and output != _last_output(connection, task_id):
        _note_output(connection, task_id, output, now_ms)
    return after


def replace_keys(
    connection: Connection, sealer: Sealer, kind: TaskKind, task: Task, access_key: str, secret_key: str
) -> None:
    """Of the bucket that the task's files go to. Its job knows none, so nobody need tell it."""
    params = kind.with_keys(task.params, access_key, secret_key)
    sealed = sealer.seal(params, purpose=PURPOSE)
    connection.execute(update(tasks).where(tasks.c.task_id == task.task_id).values(params_sealed=sealed))


def live(connection: Connection, sealer: Sealer, sdk_app_id: int) -> list[Task]:
    """The tasks of an application that have not ended."""
    statement = select(tasks).where(tasks.c.sdk_app_id == sdk_app_id, tasks.c.state.in_(LIVE_STATES))
    ordered = statement.order_by(tasks.c.created_ms, tasks.c.task_id)
    return [_task(row, sealer) for row in connection.execute(ordered)]


def params(connection: Connection, sealer: Sealer, task_id: str, sdk_app_id: int) -> bytes | None:
    """The request as it is; None as ``revise`` says."""
    wanted = (tasks.c.task_id == task_id) & (tasks.c.sdk_app_id == sdk_app_id)
    runs = tasks.c.state.in_((State.ACCEPTED, State.RUNNING)) & (tasks.c.desired_state == Desired.RUNNING)
    sealed = connection.execute(select(tasks.c.params_sealed).where(wanted & runs)).scalar_one_or_none()
    return None if sealed is None else sealer.open(sealed, purpose=PURPOSE)


def stop(connection: Connection, task_id: str, leave_code: int, now_ms: int) -> None:
    """A task that was stopped already, or whose robot has left, stays as it is."""
    running = (tasks.c.task_id == task_id) & (tasks.c.desired_state == Desired.RUNNING)
    stopped = {"desired_state": Desired.STOPPED, "stop_code": leave_code, "stop_ms": now_ms}
    connection.execute(update(tasks).where(running).values(stopped))


def application_of(connection: Connection, task_id: str) -> int | None:
    """The SDKAppID of a task, ended ones too."""
    return connection.execute(select(tasks.c.sdk_app_id).where(tasks.c.task_id == task_id)).scalar()


def count_open(connection: Connection, sdk_app_id: int, kind: str) -> int:
    """Tasks that still record: one whose files are being uploaded holds no place."""
    statement = select(func.count()).select_from(tasks)
    conditions = (tasks.c.sdk_app_id == sdk_app_id, tasks.c.kind == kind, tasks.c.state.in_(OPEN_STATES))
    return connection.execute(statement.where(*conditions)).scalar_one()


def has_robot(connection: Connection, room: RoomRef, user_id: str) -> bool:
    where = (tasks.c.sdk_app_id == room.sdk_app_id, tasks.c.numeric == room.numeric, tasks.c.room_id == room.room_id)
    runs = tasks.c.state.in_((State.ACCEPTED, State.RUNNING)) & (tasks.c.desired_state == Desired.RUNNING)
    found = select(tasks.c.task_id).where(*where, tasks.c.user_id == user_id, runs).limit(1)
    return connection.execute(found).scalar_one_or_none() is not None


def has_leaving(connection: Connection, sdk_app_id: int) -> bool:
    stopped = tasks.c.state.in_((State.ACCEPTED, State.RUNNING)) & (tasks.c.desired_state != Desired.RUNNING)
    leaving = stopped | (tasks.c.state == State.ENDING)
    found = select(tasks.c.task_id).where(tasks.c.sdk_app_id == sdk_app_id, leaving).limit(1)
    return connection.execute(found).scalar_one_or_none() is not None


def open_params(connection: Connection, sealer: Sealer, kind: str) -> list[bytes]:
    """What all tasks of a kind that have not ended were asked to do, opened."""
    statement = select(tasks.c.params_sealed).where(tasks.c.kind == kind, tasks.c.state.in_(LIVE_STATES))
    return [sealer.open(sealed, purpose=PURPOSE) for (sealed,) in connection.execute(statement)]


def running_params(connection: Connection, sealer: Sealer, sdk_app_id: int, kind: str) -> list[bytes]:
    """What the tasks of an application that were not stopped are asked to do, opened."""
    runs = tasks.c.state.in_((State.ACCEPTED, State.RUNNING)) & (tasks.c.desired_state == Desired.RUNNING)
    wanted = (tasks.c.sdk_app_id == sdk_app_id, tasks.c.kind == kind, runs)
    statement = select(tasks.c.params_sealed).where(*wanted)
    return [sealer.open(sealed, purpose=PURPOSE) for (sealed,) in connection.execute(statement)]


def used(connection: Connection) -> int:
    """What the running tasks of all applications cost, in thousandths of a core. One at its end costs little more."""
    statement = select(func.coalesce(func.sum(tasks.c.load), 0))
    return int(connection.execute(statement.where(tasks.c.state.in_((State.ACCEPTED, State.RUNNING)))).scalar_one())


# -- what happens to a task ------------------------------------------------------------------------------------------


def begin_attempt(connection: Connection, task_id: str, worker: str) -> None:
    mine = (tasks.c.task_id == task_id) & (tasks.c.worker == worker)
    begun = {"attempts": tasks.c.attempts + 1, "spent": tasks.c.spent + 1}
    if not connection.execute(update(tasks).where(mine).values(begun)).rowcount:
        raise LeaseLostError(task_id)


def forget_restarts(connection: Connection, task_id: str, worker: str) -> None:
    """The attempt that runs now did well: the ones before it do not count any more."""
    mine = (tasks.c.task_id == task_id) & (tasks.c.worker == worker)
    connection.execute(update(tasks).where(mine, tasks.c.spent > 1).values(spent=1))


def note_rooms(connection: Connection, task_id: str, rooms: Sequence[RoomRef]) -> None:
    """The task's robot joins these."""
    for ref in rooms:
        joined = {"task_id": task_id, "numeric": ref.numeric, "room_id": ref.room_id}
        connection.execute(upsert(task_rooms).values(joined).on_conflict_do_nothing())


def apply_event(
    connection: Connection, sealer: Sealer, kind: TaskKind, task_id: str, worker: str, attempt: int,
    event: AnyJobEvent, now_ms: int,
) -> None:  # fmt: skip
    """Write what a job reported, once."""
    task = load_mine(connection, sealer, task_id, worker)
    entry = {"task_id": task_id, "attempt": attempt, "sequence": event.sequence}
    if not connection.execute(upsert(task_events).values(entry).on_conflict_do_nothing()).rowcount:
        return
    if lifecycle.counts(task, event):
        _apply(connection, kind, task, attempt, event, now_ms)


def reported(connection: Connection, task_id: str, attempt: int) -> frozenset[int]:
    """The sequences of an attempt's events that were applied: the journal of days need not be gone through again."""
    wanted = select(task_events.c.sequence).where(task_events.c.task_id == task_id, task_events.c.attempt == attempt)
    return frozenset(connection.execute(wanted).scalars())


def leave(
    connection: Connection, sealer: Sealer, kind: TaskKind, task_id: str, worker: str, leave_code: int, now_ms: int
) -> None:
    """The worker says for the job that the robot has left."""
    task = load_mine(connection, sealer, task_id, worker)
    event = Left(at_ms=now_ms, leave_code=leave_code)
    if lifecycle.counts(task, event):
        _apply(connection, kind, task, max(0, task.attempts - 1), event, now_ms)


def close_files(connection: Connection, sealer: Sealer, kind: TaskKind, task_id: str, worker: str, now_ms: int) -> None:
    """The worker says for the job that no more files will come. What is still open cannot be had any more."""
    task = load_mine(connection, sealer, task_id, worker)
    files.drop_open(connection, task_id)
    event = Ended(at_ms=now_ms)
    if lifecycle.counts(task, event):
        _apply(connection, kind, task, max(0, task.attempts - 1), event, now_ms)


def running(connection: Connection, worker: str) -> set[str]:
    """Those of ``worker``'s tasks whose job is at work."""
    statement = select(tasks.c.task_id).where(tasks.c.worker == worker, tasks.c.state == State.RUNNING)
    return set(connection.execute(statement).scalars())


def mark_probed(
    connection: Connection, sealer: Sealer, kind: TaskKind, task_id: str, worker: str, refusal: Refusal | None,
    now_ms: int,
) -> None:  # fmt: skip
    """The store said whether it takes the task's files."""
    task = load_mine(connection, sealer, task_id, worker)
    _react(connection, task, kind.on_probed(task, refusal, now_ms), now_ms)


def mark_uploaded(
    connection: Connection, sealer: Sealer, kind: TaskKind, file: TaskFile, worker: str, now_ms: int
) -> bool:
    """The file is in its place. False when it was rewritten meanwhile and must go again."""
    task = load_mine(connection, sealer, file.task_id, worker)
    is_current = files.store(connection, file, now_ms)
    task = _react(connection, task, kind.on_uploaded(task, file, now_ms), now_ms)
    _settle(connection, kind, task, now_ms)
    return is_current


def mark_lost(connection: Connection, sealer: Sealer, kind: TaskKind, file: TaskFile, worker: str, now_ms: int) -> None:
    """The spool does not hold the file any more: there is nothing to upload."""
    task = load_mine(connection, sealer, file.task_id, worker)
    files.drop(connection, file)
    _settle(connection, kind, task, now_ms)


def mark_refused(connection: Connection, kind: TaskKind, task: Task, code: str, message: str, now_ms: int) -> None:
    task = _react(connection, task, kind.on_refused(task, code, message, now_ms), now_ms)
    _settle(connection, kind, task, now_ms)


# -- helpers ---------------------------------------------------------------------------------------------------------


def _apply(connection: Connection, kind: TaskKind, task: Task, attempt: int, event: AnyJobEvent, now_ms: int) -> None:
    change = lifecycle.move(task, event)
    values: dict[str, Any] = {}
    if change.state is not None:
        values["state"] = change.state
    if change.leave_code is not None:
        values["leave_code"] = change.leave_code
        values["spent"] = 0  # what is missing gets its own few attempts
    if change.desired is not None:
        values["desired_state"] = change.desired
    if values:
        connection.execute(update(tasks).where(tasks.c.task_id == task.task_id).values(values))
    if isinstance(event, FileOpened | FileClosed):
        files.write(connection, task.task_id, attempt, event, wanted=kind.is_uploaded(task, event.kind))
    task = _react(connection, task, kind.on_event(task, attempt, event), now_ms)
    if change.state is not None:
        task = replace(task, state=change.state)
    _settle(connection, kind, task, now_ms)


def _note_output(connection: Connection, task_id: str, output: TaskOutput, now_ms: int) -> None:
    connection.execute(insert(task_outputs).values(task_id=task_id, started_ms=now_ms, **asdict(output)))


def _last_output(connection: Connection, task_id: str) -> TaskOutput | None:
    columns = [task_outputs.c[name] for name in TaskOutput.__dataclass_fields__]
    statement = select(*columns).where(task_outputs.c.task_id == task_id).order_by(task_outputs.c.id.desc()).limit(1)
    row = connection.execute(statement).one_or_none()
    return None if row is None else TaskOutput(*row)


def _react(connection: Connection, task: Task, reaction: Reaction, now_ms: int) -> Task:
    for callback in reaction.callbacks:
        outbox.enqueue(connection, callback, now_ms)
    for entry in reaction.entries:
        library.add(connection, entry)
    values: dict[str, Any] = {} if reaction.progress == task.progress else {"progress": reaction.progress}
    if reaction.load is not None:
        values["load"] = reaction.load
    if values:
        connection.execute(update(tasks).where(tasks.c.task_id == task.task_id).values(values))
    return replace(task, progress=reaction.progress)


def _settle(connection: Connection, kind: TaskKind, task: Task, now_ms: int) -> None:
    """Once every file was reported: tell how far the uploads are, and end the task with the last of them."""
    if task.state is not State.UPLOADING:
        return
    pending = files.count_pending(connection, task.task_id)
    products = files.of_task(connection, task.task_id, kinds=sorted(kind.products))
    _react(connection, task, kind.on_uploads(task, pending, products, now_ms), now_ms)
    if not pending:
        values = {"state": State.ENDED, "ended_ms": now_ms, "worker": None}
        connection.execute(update(tasks).where(tasks.c.task_id == task.task_id).values(values))
        connection.execute(delete(task_events).where(task_events.c.task_id == task.task_id))


def _task(row: Row[Any], sealer: Sealer) -> Task:
    values = row._mapping
    return Task(
        task_id=values["task_id"],
        kind=values["kind"],
        ref=RoomRef(values["sdk_app_id"], values["numeric"], values["room_id"]),
        user_id=values["user_id"],
        params=sealer.open(values["params_sealed"], purpose=PURPOSE),
        desired=Desired(values["desired_state"]),
        stop_code=values["stop_code"],
        stop_ms=values["stop_ms"],
        state=State(values["state"]),
        revision=values["revision"],
        attempts=values["attempts"],
        spent=values["spent"],
        worker=values["worker"],
        created_ms=values["created_ms"],
        expires_ms=values["expires_ms"],
        ended_ms=values["ended_ms"],
        leave_code=values["leave_code"],
        progress=values["progress"],
    )
