"""``rtcloud admin rooms`` and ``usersig``: who is in a call, and what lets one in."""

from typing import Annotated, ClassVar

from rtcloud.accounts.tokens import MAX_NAME
from rtcloud.accounts.usersig import DEFAULT_EXPIRE_S, make_user_sig
from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, Word


class Rooms(Command, tag="rooms", kw_only=True):
    """The rooms that are open now, and who is in them."""

    example: ClassVar[str] = "rooms"

    async def run(self, site: Site) -> object:
        return list(site.rooms())


class UserSig(Command, tag="usersig", kw_only=True):
    """A UserSig for one user."""

    example: ClassVar[str] = "usersig 1400000001 alice --expire 3600"
    bare: ClassVar[str] = "user_sig"
    application: naming.ApplicationWord
    user_id: Annotated[str, Word("USERID")]
    expire: Annotated[int, Flag("SECONDS", "how long it is good (default: 180 days)")] = DEFAULT_EXPIRE_S

    async def run(self, site: Site) -> object:
        application = naming.application(site, self.application)
        if not 1 <= self.expire <= 10 * DEFAULT_EXPIRE_S:
            raise AdminError("expire: 1 second to 1800 days")
        if not 1 <= len(self.user_id) <= MAX_NAME:
            raise AdminError(f"USERID: 1 to {MAX_NAME} characters")
        app, now_ms = application.sdk_app_id, site.clock.now_ms()
        made = make_user_sig(app, application.secret_key, self.user_id, now_ms=now_ms, expire_s=self.expire)
        return {"sdk_app_id": app, "user_id": self.user_id, "user_sig": made, "expire": self.expire}


COMMANDS = (Rooms, UserSig)
