"""``rtcloud admin keys``: the pairs that sign API calls, at most two per user, so that one can replace the other."""

from typing import Annotated, ClassVar

from rtcloud.accounts.entities import KEY_PAIRS_PER_USER, KeyPair
from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Site, Word, iso


def _row(pair: KeyPair) -> dict[str, object]:
    return {
        "secret_id": pair.secret_id,
        "user": pair.user.name,
        "user_uin": pair.user.uin,
        "enabled": pair.enabled,
        "created": iso(pair.created_ms),
    }


def _shown_once(pair: KeyPair) -> dict[str, object]:
    return {"secret_id": pair.secret_id, "secret_key": pair.secret_key, "user": pair.user.name}


class KeysCreate(Command, tag="keys.create", kw_only=True):
    """Make a key pair. Its SecretKey is shown now and never again."""

    example: ClassVar[str] = "keys create ops"
    user: naming.UserWord

    async def run(self, site: Site) -> object:
        made = await site.accounts.create_key_pair(naming.user(site, self.user).uin)
        return {**_shown_once(made), "next": "Keep the SecretKey now: it is not shown again."}


class KeysList(Command, tag="keys.list", kw_only=True):
    """The key pairs, of every user or of one, without their SecretKeys."""

    example: ClassVar[str] = "keys list ops"
    user: Annotated[str | None, Word("USER", "uin or name of a user")] = None

    async def run(self, site: Site) -> object:
        uin = None if self.user is None else naming.user(site, self.user).uin
        return [_row(each) for each in site.accounts.key_pairs(uin)]


class KeysEnable(Command, tag="keys.enable", kw_only=True):
    """Let a disabled key pair sign again."""

    example: ClassVar[str] = "keys enable AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA"
    secret_id: naming.SecretIdWord

    async def run(self, site: Site) -> object:
        return await _switch(site, self.secret_id, on=True)


class KeysDisable(Command, tag="keys.disable", kw_only=True):
    """Refuse calls signed by a key pair, from the next one on. Its temporary credentials end; `enable` undoes it."""

    example: ClassVar[str] = "keys disable AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA"
    secret_id: naming.SecretIdWord

    async def run(self, site: Site) -> object:
        return await _switch(site, self.secret_id, on=False)


class KeysRotate(Command, tag="keys.rotate", kw_only=True):
    """Make a new pair beside an old one of the same user, and say what to do next.

    Both are good until you disable the old one; its user may have no other pair, for there are at most two.
    """

    example: ClassVar[str] = "keys rotate AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA"
    secret_id: naming.SecretIdWord

    async def run(self, site: Site) -> object:
        old = naming.key_pair(site, self.secret_id)
        others = [p.secret_id for p in site.accounts.key_pairs(old.user.uin) if p.secret_id != old.secret_id]
        if len(others) >= KEY_PAIRS_PER_USER - 1:
            raise AdminError(
                f"{old.user.name} has another key pair already, {others[0]}: use that one, or delete it first"
            )
        made = await site.accounts.create_key_pair(old.user.uin)
        steps = (
            "Keep the SecretKey now: it is not shown again. Both pairs are good. Next:",
            "1. give the new pair to every program that uses the old one;",
            f"2. rtcloud admin keys disable {old.secret_id}   (`enable` undoes it)",
            f"3. when nothing complains: rtcloud admin keys delete {old.secret_id}",
        )
        return {**_shown_once(made), "replaces": old.secret_id, "next": "\n".join(steps)}


class KeysDelete(Command, tag="keys.delete", kw_only=True):
    """Delete a key pair and its temporary credentials. To be able to go back, disable it first."""

    example: ClassVar[str] = "keys delete AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA"
    secret_id: naming.SecretIdWord

    async def run(self, site: Site) -> object:
        pair = naming.key_pair(site, self.secret_id)
        await site.accounts.delete_key_pair(pair.secret_id)
        return {"deleted": pair.secret_id, "user": pair.user.name}


async def _switch(site: Site, secret_id: str, *, on: bool) -> dict[str, object]:
    pair = naming.key_pair(site, secret_id)
    await site.accounts.enable_key_pair(pair.secret_id, on)
    return _row(naming.key_pair(site, secret_id))


COMMANDS = (KeysCreate, KeysList, KeysEnable, KeysDisable, KeysRotate, KeysDelete)
