"""What one session may do: what its token grants, what its PrivateMapKey allows, and which role it has now.

A token is good for entering; a PrivateMapKey is looked at again when somebody of the audience wants to speak (G:449),
and may be replaced during the call. The room is told permissions only; keys never leave here.
"""

from collections.abc import Callable
from dataclasses import replace

from rtcloud.accounts.privatemapkey import PrivateMapKeyError, limited, verify_private_map_key
from rtcloud.accounts.tokens import JoinGrant, make_join_token
from rtcloud.rooms.participant import Permission, Role


class Admission:
    """``secret_keys(sdk_app_id)`` are those that are good now, the present one first."""

    def __init__(self, grant: JoinGrant, secret_keys: Callable[[int], tuple[str, ...]]) -> None:
        self.grant = grant
        self._secret_keys = secret_keys

    @property
    def role(self) -> Role:
        return Role.ANCHOR if self.grant.role == Role.ANCHOR else Role.AUDIENCE

    def permission(self) -> Permission:
        """At most, whatever the role."""
        grant = self.grant
        return Permission(
            publish=grant.can_publish,
            subscribe=grant.can_subscribe,
            data=grant.can_publish_data,
            sources=grant.can_publish_sources,
            received=grant.can_subscribe_sources,
            update_metadata=grant.can_update_metadata,
        )

    def is_key_expired(self, now_ms: int) -> bool:
        return self.grant.key_expires_ms is not None and now_ms > self.grant.key_expires_ms

    def replace_key(self, text: str, now_ms: int) -> Permission | None:
        """What the new PrivateMapKey allows; None when it is not good for this user and room."""
        grant = self.grant
        try:
            key = verify_private_map_key(
                text,
                room=grant.room,
                secret_keys=self._secret_keys(grant.room.sdk_app_id),
                user_id=grant.user_id,
                now_ms=now_ms,
            )
        except PrivateMapKeyError:
            return None
        self.grant = limited(grant, key)
        return self.permission()

    def take_role(self, role: Role) -> bool:
        """The room gave it. True when that is news."""
        changed = role != self.role
        self.grant = replace(self.grant, role=int(role))
        return changed

    def token(self, now_ms: int, life_ms: int) -> str | None:
        """A fresh token for what the session is now; None when the application is gone."""
        keys = self._secret_keys(self.grant.room.sdk_app_id)
        if not keys:
            return None
        return make_join_token(replace(self.grant, expires_ms=now_ms + life_ms), secret_key=keys[0], now_ms=now_ms)
