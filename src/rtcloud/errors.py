"""What a caller of ours may be told, and what stops the program.

ServiceError         a documented code and a message for an API or join caller; becomes a response at the edge only
└ (no subclasses)    domain code raises it through the named constructors below
ConfigError          one clear line for the operator; the command exits with status 2
"""


class ServiceError(Exception):
    """``code`` is one of the documented error codes (``spec/``); ``message`` names the field at fault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class ConfigError(Exception):
    """The operator must change something (a port in use, an unwritable directory, a bad value)."""


def room_not_found(room: str) -> ServiceError:
    return ServiceError("FailedOperation.RoomNotExist", f"room {room} does not exist")


def user_not_found(user_id: str) -> ServiceError:
    return ServiceError("FailedOperation.UserNotExist", f"user {user_id[:64]} is not in the room")


def task_not_found(task_id: str) -> ServiceError:
    return ServiceError("ResourceNotFound", f"TaskId {task_id} does not exist or has ended")


def internal(reason: str) -> ServiceError:
    return ServiceError("InternalError", reason)
