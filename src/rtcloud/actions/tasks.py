"""What actions about long-running tasks share: ids, robots' UserSigs, rooms by number, and who may start one now.

A task is accepted under one lock (``Services.accepting``), so that two calls cannot both take the last place.
"""

import base64
import secrets

from rtcloud import errors
from rtcloud.accounts.privatemapkey import PrivateMapKeyError, verify_private_map_key
from rtcloud.accounts.usersig import UserSigError, verify_user_sig
from rtcloud.actions.context import Call, Services
from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import RoomRef
from rtcloud.tasks.task import TaskView

MAX_NUMERIC_ROOM = 4_294_967_294
#: States of tasks that are not over.
OPEN = ("accepted", "running", "ending", "uploading")


def new_task_id() -> str:
    """272 random bits in the documents' form: base64 with URL-safe letters, padded with two dots. Never one that a
    command line would take for an option."""
    while (made := base64.urlsafe_b64encode(secrets.token_bytes(34)).decode().replace("=", ".")).startswith("-"):
        pass
    return made


def room_id(action: Action, path: str, text: str, *, numeric: bool, because: str) -> str:
    """As rooms are named: a number without leading zeros, any other text as it is. ``because`` says why a number."""
    if not numeric:
        return text
    if not (text.isascii() and text.isdigit()):
        raise faults.invalid(action, path, f"must be a decimal number: {because}")
    if len(text) > 10 or not 1 <= int(text) <= MAX_NUMERIC_ROOM:
        raise faults.out_of_range(action, path, f"must be from 1 to {MAX_NUMERIC_ROOM}: {because}")
    return str(int(text))


def check_user_sig(call: Call, path: str, user_sig: str, user_id: str, now_ms: int) -> None:
    application = call.application
    try:
        verify_user_sig(
            user_sig,
            sdk_app_id=application.sdk_app_id,
            secret_keys=application.secret_keys(now_ms),
            user_id=user_id,
            now_ms=now_ms,
        )
    except UserSigError as error:
        raise faults.invalid(call.action, path, f"is not valid: {error.reason} ({error.code})") from None


def check_private_map_key(call: Call, path: str, key: str, user_id: str, room: RoomRef, now_ms: int) -> None:
    """A robot needs none, since the call itself was signed by the application's owner. One that is given must be good:
    what else it was meant for is a mistake of the caller's."""
    if not key:
        return
    secret_keys = call.application.secret_keys(now_ms)
    try:
        verify_private_map_key(key, room=room, secret_keys=secret_keys, user_id=user_id, now_ms=now_ms)
    except PrivateMapKeyError as error:
        raise faults.invalid(call.action, path, f"is not valid: {error.reason}") from None


async def find_open(services: Services, task_id: str, sdk_app_id: int, kind: str) -> TaskView:
    task = await services.tasks.find(task_id, sdk_app_id)
    if task is None or task.kind != kind or task.state not in OPEN:
        raise errors.task_not_found(task_id)
    return task


def check_stopping(services: Services) -> None:
    if services.is_stopping():
        raise ServiceError("ServiceUnavailable", "the server is stopping; try again in a moment")


async def check_load(services: Services, load: int, before: int = 0) -> None:
    """That a task may take ``load`` thousandths of a core, of which it has ``before`` already. Hold ``accepting``."""
    if load <= before:
        return
    used, capacity = await services.tasks.load()
    if capacity and used - before + load > capacity:
        wanted, has = f"{load / 1000:.2f}", f"{used / 1000:.2f} of {capacity / 1000:.2f}"
        raise ServiceError(
            "FailedOperation.RestrictedConcurrency",
            f"the task needs about {wanted} cores, and {has} cores for mixing are taken; stop other tasks, or give "
            "mixing more cores (mixing_cores)",
        )
