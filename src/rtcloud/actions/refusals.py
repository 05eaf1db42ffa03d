"""Which code an action answers when a change of accounts or watermarks cannot be made: one place for all of them.

The domain says what kind of thing is wrong with what; an action that lists a code for just that answers it, any other
the general one of the kind.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rtcloud.accounts.entities import AccountsError
from rtcloud.accounts.policies import PolicyError
from rtcloud.apimodel.model import Action
from rtcloud.errors import ServiceError
from rtcloud.watermarks.store import WatermarkError

_GENERAL = {
    "not_found": "ResourceNotFound",
    "limit": "LimitExceeded",
    "in_use": "ResourceInUse",
    "invalid": "InvalidParameter",
}
_PRECISE = {
    ("not_found", "policy"): "ResourceNotFound.PolicyIdNotFound",
    ("not_found", "user"): "ResourceNotFound.UserNotExist",
    ("not_found", "role"): "ResourceNotFound.RoleNotFound",
    ("limit", "policy"): "FailedOperation.PolicyFull",
    ("in_use", "policy"): "FailedOperation.PolicyNameInUse",
    ("limit", "session"): "InvalidParameter.ExtendStrategyOverSize",
    ("invalid", "policy"): "InvalidParameter.PolicyIdError",
}
#: Of a policy document, by ``PolicyError.part``.
_PARTS = {
    "version": "InvalidParameter.VersionError",
    "statement": "InvalidParameter.StatementError",
    "effect": "InvalidParameter.EffectError",
    "action": "InvalidParameter.ActionError",
    "notAction": "InvalidParameter.ActionError",
    "resource": "InvalidParameter.ResourceError",
    "notResource": "InvalidParameter.ResourceError",
    "condition": "InvalidParameter.ConditionError",
    "principal": "InvalidParameter.PrincipalError",
    "document": "InvalidParameter.PolicyDocumentError",
}


def refusal(action: Action, error: AccountsError | WatermarkError) -> ServiceError:
    if isinstance(error.__cause__, PolicyError):
        precise = _PARTS.get(error.__cause__.part, "")
    else:
        precise = _PRECISE.get((error.kind, error.subject), "")
    return ServiceError(precise if precise in action.errors else _GENERAL[error.kind], str(error))


@contextmanager
def refusals(action: Action) -> Iterator[None]:
    """``with refusals(call.action): await services.accounts.…``"""
    try:
        yield
    except (AccountsError, WatermarkError) as error:
        raise refusal(action, error) from None
