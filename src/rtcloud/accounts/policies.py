"""What a user may call: the documents' preset policies. Pure.

A policy is named on the user's row; an unknown name grants nothing.
"""

from collections.abc import Iterable

FULL_ACCESS = "QcloudTRTCFullAccess"
READ_ONLY_ACCESS = "QcloudTRTCReadonlyAccess"
_READING = ("Describe", "Query")


def is_allowed(policies: Iterable[str], action: str) -> bool:
    """Whether one of ``policies`` grants ``action`` on the account's own resources."""
    return any(_grants(policy, action) for policy in policies)


def _grants(policy: str, action: str) -> bool:
    if policy == FULL_ACCESS:
        return True
    return policy == READ_ONLY_ACCESS and action.startswith(_READING)
