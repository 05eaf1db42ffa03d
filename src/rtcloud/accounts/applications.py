"""Changes of applications: their settings, their SDKSecretKey, and where their events go."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import msgspec

from rtcloud.accounts.changing import Changing, change, check_name, check_quota, checked_settings
from rtcloud.accounts.entities import (
    APPLICATIONS_PER_ACCOUNT,
    AccountsError,
    Application,
    ApplicationSettings,
    new_sdk_app_id,
    new_sdk_secret_key,
)
from rtcloud.callbacks.targets import GROUPS, Target, list_targets, remove_targets, set_targets

LONGEST_KEEP_S = 180 * 86_400  # as long as a UserSig is good by default


class ApplicationChanges(Changing):
    @change
    async def create_application(
        self, account_uin: str, name: str, settings: ApplicationSettings | None = None
    ) -> Application:
        self._require_account(account_uin)
        check_name("application", name)
        count = len(self._held.owned(account_uin).applications)
        check_quota("application", count, APPLICATIONS_PER_ACCOUNT, "the account")
        while (sdk_app_id := new_sdk_app_id()) in self._held.applications:
            pass
        application = Application(
            sdk_app_id,
            account_uin,
            name,
            new_sdk_secret_key(),
            self._settings(None, settings or ApplicationSettings()),
            created_ms=self._clock.now_ms(),
        )
        await self._write(lambda rows: rows.insert_application(application))
        self._held.put_application(application)
        return application

    @change
    async def update_application(
        self,
        sdk_app_id: int,
        *,
        name: str | None = None,
        settings: ApplicationSettings | Callable[[ApplicationSettings], ApplicationSettings] | None = None,
    ) -> Application:
        """``settings`` may be what makes the new ones of those that hold then, so that changes at once lose nothing."""
        application = self._require_application(sdk_app_id)
        if name is not None:
            check_name("application", name)
            application = replace(application, name=name)
        if callable(settings):
            settings = settings(application.settings)
        if settings is not None:
            application = replace(application, settings=self._settings(application.settings, settings))
        return await self._keep(application)

    @change
    async def delete_application(self, sdk_app_id: int) -> None:
        """The first account keeps its last one, which ``credentials.json`` shows."""
        application = self._require_application(sdk_app_id)
        is_last = len(self._held.owned(application.account_uin).applications) == 1
        if is_last and self._is_first(application.account_uin):
            raise AccountsError("in_use", "application", "the last application of the first account cannot be deleted")
        await self._write(lambda rows: rows.delete_application(sdk_app_id))
        self._held.drop_application(application)

    @change
    async def rotate_application_key(self, sdk_app_id: int, *, keep_previous_s: int) -> Application:
        """A new SDKSecretKey; the present one stays good for so long, and one before it no more."""
        application = self._require_application(sdk_app_id)
        if not 0 <= keep_previous_s <= LONGEST_KEEP_S:
            raise AccountsError("invalid", "application", f"the previous key is kept 0 to {LONGEST_KEEP_S} seconds")
        until_ms = self._clock.now_ms() + keep_previous_s * 1000
        previous = (application.secret_key, until_ms) if keep_previous_s else ("", 0)
        return await self._keep(
            replace(
                application,
                secret_key=new_sdk_secret_key(),
                previous_secret_key=previous[0],
                previous_until_ms=previous[1],
            )
        )

    @change
    async def forget_previous_key(self, sdk_app_id: int) -> Application:
        """What it signed is good no more."""
        application = self._require_application(sdk_app_id)
        return await self._keep(replace(application, previous_secret_key="", previous_until_ms=0))

    async def set_callbacks(
        self,
        sdk_app_id: int,
        *,
        url: str,
        key: str = "",
        groups: Iterable[int] = GROUPS,
        events: Iterable[int] | None = None,
        trusted: bool = True,
    ) -> None:
        """Send the events of ``groups``, of ``events`` only if there are any, to ``url``, signed with ``key``. Not
        ``trusted``: the address came in an API request. Raises ``callbacks.targets.TargetError``."""
        self._require_application(sdk_app_id)
        wanted, chosen = list(groups), None if events is None else list(events)
        await self._database.write(
            lambda connection: set_targets(
                connection,
                self._sealer,
                sdk_app_id,
                url=url,
                key=key,
                groups=wanted,
                events=chosen,
                trusted=trusted,
            )
        )

    async def clear_callbacks(self, sdk_app_id: int, *, groups: Iterable[int] = GROUPS) -> None:
        """Send the events of ``groups`` to nobody."""
        self._require_application(sdk_app_id)
        wanted = list(groups)
        await self._database.write(lambda connection: remove_targets(connection, sdk_app_id, groups=wanted))

    async def callbacks(self, sdk_app_id: int) -> list[Target]:
        self._require_application(sdk_app_id)
        return await self._database.read(lambda connection: list_targets(connection, sdk_app_id))

    def _settings(self, before: ApplicationSettings | None, after: ApplicationSettings) -> ApplicationSettings:
        """Checked, with the moment from which on rooms are recorded."""
        auto = after.auto_recording
        if auto is not None:
            known = before.auto_recording if before is not None else None
            since_ms = self._clock.now_ms() if known is None else known.since_ms
            after = msgspec.structs.replace(after, auto_recording=msgspec.structs.replace(auto, since_ms=since_ms))
        return checked_settings("application", after)

    async def _keep(self, application: Application) -> Application:
        await self._write(lambda rows: rows.update_application(application))
        self._held.put_application(application)
        return application
