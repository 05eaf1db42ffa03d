"""Why a user may or may not call an action: which statement of which policy decides. Pure.

The answer is ``policies.evaluate``'s own; each statement is then tried alone, so that the reason never tells another
story than the gateway does.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from rtcloud.accounts.entities import Policy
from rtcloud.accounts.policies import ANY, Document, Statement, evaluate, parse_document
from rtcloud.apimodel.model import Action, Catalogue

_EVERYTHING = '{"version":"2.0","statement":{"effect":"allow","action":"*","resource":"*"}}'


class UnknownActionError(LookupError):
    """The message names what may have been meant."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``policy`` and ``statement`` (from 0, as in the paths of errors) decide, if any does."""

    allowed: bool
    policy: Policy | None = None
    statement: int = 0


def find_action(catalogue: Catalogue, given: str) -> Action:
    """``RemoveUser``, ``trtc:RemoveUser`` or ``name/trtc:RemoveUser``."""
    service, _, name = given.removeprefix("name/").rpartition(":")
    known = {action.name: action for model in catalogue.models for action in model.actions.values()}
    found = known.get(name)
    if found is None or service not in ("", found.service):
        near = difflib.get_close_matches(name, known, n=1)
        raise UnknownActionError(f"there is no action {given!r}" + (f"; is it {near[0]}?" if near else ""))
    return found


def decide(policies: Sequence[Policy], action: Action, resource: str) -> Verdict:
    documents = [each.document for each in policies]
    allowed = evaluate(documents, action.full_name, resource, unless_denied=action.open)
    wanted = "allow" if allowed else "deny"
    for policy in policies:
        for number, statement in enumerate(policy.document.statements):
            if statement.effect == wanted and _speaks(statement, action.full_name, resource):
                return Verdict(allowed, policy, number)
    return Verdict(allowed)


def _speaks(statement: Statement, action: str, resource: str) -> bool:
    """Whether the statement alone would allow it, or would deny it to one who may do everything."""
    alone = Document((statement,), "")
    if statement.effect == "allow":
        return evaluate([alone], action, resource)
    return not evaluate([parse_document(_EVERYTHING, account_uin=""), alone], action, resource)


def explain(verdict: Verdict, action: Action, resource: str) -> str:
    if verdict.policy is not None:
        verb = "allowed" if verdict.allowed else "denied"
        return f"{verb} by statement.{verdict.statement} of policy {verdict.policy.name} ({verdict.policy.policy_id})"
    if verdict.allowed:
        return "every user may call it, and no statement denies it"
    if resource == ANY:
        return f'no statement allows it ({action.name} concerns no application: only a statement on resource "*" can)'
    return "no statement allows it"
