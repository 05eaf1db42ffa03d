"""Whether a caller may call an action on what its parameters name, and whether that is the caller's at all.

First the policies, which know nothing of what exists; then ownership. What belongs to another account is answered as
what does not exist, unless the documents give the action a code for it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rtcloud.accounts.entities import Application, Caller
from rtcloud.accounts.names import ANY, application_resource, every_application
from rtcloud.accounts.policies import could_allow
from rtcloud.accounts.store import Accounts
from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action
from rtcloud.errors import ServiceError

_NO_TASK = ("FailedOperation.TaskNotExist", "ResourceNotFound", "InvalidParameter.TaskId")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a call is about: an application, the application of a task, or neither."""

    sdk_app_id: int | None = None
    task_id: str | None = None  # set if the application was to be found by it
    found: Application | None = None


class Authoriser:
    def __init__(self, accounts: Accounts, application_of: Callable[[str], Awaitable[int | None]]) -> None:
        self._accounts = accounts
        self._application_of = application_of

    async def authorise(self, caller: Caller, action: Action, parameters: Mapping[str, Any]) -> Subject:
        """What the call is about, if the caller's policies grant it. Whether it exists is not said yet."""
        subject = await self._subject(caller, action, parameters)
        uin = caller.account_uin
        if subject.task_id is not None and subject.sdk_app_id is None:
            if not all(could_allow(documents, action.full_name) for documents in caller.policy_sets):
                raise _denied(action, f"the task's application ({every_application(uin)})")
            return subject
        if action.scope == "none":
            resource = ANY
        elif subject.sdk_app_id is None:
            resource = every_application(uin)
        else:
            resource = application_resource(uin, subject.sdk_app_id)
        if not caller.may(action.full_name, resource, unless_denied=action.open):
            raise _denied(action, resource)
        return subject

    def check_exists(self, caller: Caller, action: Action, subject: Subject) -> None:
        if subject.found is not None:
            return
        if subject.task_id is not None:
            code = next((code for code in _NO_TASK if code in action.errors), "ResourceNotFound")
            raise ServiceError(code, f"TaskId {subject.task_id[:128]} does not exist or has ended")
        if subject.sdk_app_id is not None:
            raise self._unknown(action, subject.sdk_app_id)

    async def _subject(self, caller: Caller, action: Action, parameters: Mapping[str, Any]) -> Subject:
        if action.scope == "none":
            return Subject()
        sdk_app_id, task_id = parameters.get("SdkAppId"), parameters.get("TaskId")
        if sdk_app_id not in (None, ""):
            number = _number(action, sdk_app_id)
            return Subject(number, None, self._owned(caller, number))
        if not task_id:
            return Subject()
        found = self._owned(caller, await self._application_of(task_id))
        return Subject(found.sdk_app_id if found is not None else None, task_id, found)

    def _owned(self, caller: Caller, sdk_app_id: int | None) -> Application | None:
        application = self._accounts.application(sdk_app_id) if sdk_app_id is not None else None
        return application if application is not None and application.account_uin == caller.account_uin else None

    def _unknown(self, action: Action, sdk_app_id: int) -> ServiceError:
        absent = faults.no_such_application(action, sdk_app_id)
        if self._accounts.application(sdk_app_id) is None:
            return absent
        foreign = faults.not_your_application(action, sdk_app_id)
        return foreign if foreign.code in action.errors and foreign.code != absent.code else absent


def _number(action: Action, sdk_app_id: int | str) -> int:
    """A few actions take it as a text."""
    if isinstance(sdk_app_id, int):
        return sdk_app_id
    if not (sdk_app_id.isascii() and sdk_app_id.isdigit() and len(sdk_app_id) <= 20):
        raise faults.invalid(action, "SdkAppId", "must be a number")
    return int(sdk_app_id)


def _denied(action: Action, resource: str) -> ServiceError:
    return ServiceError(
        "AuthFailure.UnauthorizedOperation", f"no policy of the caller grants {action.full_name} on {resource}"
    )
