"""Which documented code an action answers for a fault of the request, and what it says.

The rules: the code that names the field if the action lists it, else the general one. A value outside its documented
range is ``InvalidParameter.OutOfRange`` where the action lists that, else the most precise code it lists. A member's
rule may name a code that goes before all of these.
"""

from typing import Literal

from rtcloud.apimodel.model import Action
from rtcloud.apimodel.rules import Finding, Rule
from rtcloud.errors import ServiceError


def missing(action: Action, path: str, message: str | None = None, *, rule: Rule | None = None) -> ServiceError:
    code = _own(action, rule, "missing") or _first(action, [f"MissingParameter.{_field(path)}"], "MissingParameter")
    return ServiceError(code, message or f"{path} is required")


def invalid(action: Action, path: str, reason: str, *, rule: Rule | None = None) -> ServiceError:
    """Of a wrong type or form, or in conflict with another parameter."""
    code = _own(action, rule, "invalid") or _first(action, [f"InvalidParameter.{_field(path)}"], "InvalidParameter")
    return ServiceError(code, f"{path} {reason}")


def out_of_range(
    action: Action, path: str, reason: str, *, rule: Rule | None = None, too_large: bool = False
) -> ServiceError:
    """Of the right type, outside what the documents allow."""
    name = _field(path)
    wanted = ["InvalidParameter.OutOfRange", f"InvalidParameterValue.{name}", f"InvalidParameter.{name}"]
    own = (_own(action, rule, "too_large") if too_large else None) or _own(action, rule, "out_of_range")
    return ServiceError(own or _first(action, wanted, "InvalidParameterValue"), f"{path} {reason}")


def found(action: Action, path: str, finding: Finding, reason: str, rule: Rule | None) -> ServiceError:
    """Of what a member's check says."""
    if finding == "invalid":
        return invalid(action, path, reason, rule=rule)
    return out_of_range(action, path, reason, rule=rule, too_large=finding == "too_large")


def unknown(path: str) -> ServiceError:
    return ServiceError("UnknownParameter", f"{path} is not a parameter of this action")


def no_such_application(action: Action, sdk_app_id: int) -> ServiceError:
    wanted = ["FailedOperation.SdkAppIdNotExist", "InvalidParameter.SdkAppId", "InvalidParameter.SdkAppid"]
    return ServiceError(_first(action, wanted, "InvalidParameterValue"), f"SdkAppId {sdk_app_id} does not exist")


def not_your_application(action: Action, sdk_app_id: int) -> ServiceError:
    wanted = [
        "UnauthorizedOperation.SdkAppId",
        "FailedOperation.SdkAppIdNotUnderAppId",
        "InvalidParameter.SdkAppId",
        "InvalidParameter.SdkAppid",
    ]
    code = _first(action, wanted, "UnauthorizedOperation")
    return ServiceError(code, f"SdkAppId {sdk_app_id} does not belong to this account")


def _own(action: Action, rule: Rule | None, fault: Literal["missing"] | Finding) -> str | None:
    """An object is shared by actions; a code of its rule is for those that list it, a general one for all."""
    code = rule.codes.get(fault) if rule is not None and rule.codes else None
    return code if code is not None and (code in action.errors or "." not in code) else None


def _first(action: Action, wanted: list[str], otherwise: str) -> str:
    return next((code for code in wanted if code in action.errors), otherwise)


def _field(path: str) -> str:
    """The member's name: of ``A.B.2.C`` it is C, of ``UserIds.3`` it is UserIds."""
    return next(part for part in reversed(path.split(".")) if not part.isdigit())
