"""The watermarks of applications, as rows. A picture is decoded once, when it comes in; it never changes after that.

Everything is asked for together with the application it must belong to: an id alone gives nothing.
"""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, select, update

from rtcloud.store.database import Database
from rtcloud.store.tables import watermarks as table
from rtcloud.watermarks.image import PictureError, check_picture

PER_APPLICATION = 50
#: pictures decoded at once: each may take some 15 MB
DECODING = 2


@dataclass(frozen=True, slots=True)
class Watermark:
    """Size and place are in pixels of the output; the picture is scaled to them."""

    watermark_id: str
    sdk_app_id: int
    name: str
    format: Literal["png", "jpeg", "bmp"]
    width: int
    height: int
    x: int
    y: int
    created_ms: int
    updated_ms: int


class WatermarkError(ValueError):
    """A change that cannot be made; the message says why. ``kind`` as in ``accounts.entities.AccountsError``."""

    subject = "watermark"

    def __init__(self, kind: Literal["not_found", "limit", "invalid"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Watermarks:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._decoding = asyncio.Semaphore(DECODING)

    async def create(
        self,
        sdk_app_id: int,
        content: bytes,
        *,
        now_ms: int,
        name: str = "",
        width: int | None = None,
        height: int | None = None,
        x: int = 0,
        y: int = 0,
        wanted_format: str | None = None,
    ) -> Watermark:
        """``width`` and ``height`` are the picture's own if absent. With ``wanted_format``, no other will do."""
        try:
            async with self._decoding:
                picture = await asyncio.to_thread(check_picture, content)
        except PictureError as error:
            raise WatermarkError("invalid", f"the picture {error}") from None
        if wanted_format is not None and picture.format != wanted_format:
            raise WatermarkError("invalid", f"the picture is {picture.format}, not {wanted_format}")
        values: dict[str, Any] = {
            "id": new_watermark_id(),
            "sdk_app_id": sdk_app_id,
            "name": name,
            "format": picture.format,
            "width": width or picture.width,
            "height": height or picture.height,
            "x": x,
            "y": y,
            "created_ms": now_ms,
            "updated_ms": now_ms,
        }

        def work(connection: Connection) -> None:
            mine = select(func.count()).select_from(table).where(table.c.sdk_app_id == sdk_app_id)
            if connection.execute(mine).scalar_one() >= PER_APPLICATION:
                raise WatermarkError("limit", f"an application may have {PER_APPLICATION} watermarks")
            connection.execute(insert(table).values(values | {"content": content}))

        await self._database.write(work)
        return _watermark(values)

    async def modify(
        self,
        sdk_app_id: int,
        watermark_id: str,
        *,
        now_ms: int,
        name: str | None = None,
        width: int | None = None,
        height: int | None = None,
        x: int | None = None,
        y: int | None = None,
    ) -> None:
        """What is None stays as it is."""
        given = {"name": name, "width": width, "height": height, "x": x, "y": y}
        changes = {key: value for key, value in given.items() if value is not None} | {"updated_ms": now_ms}

        def work(connection: Connection) -> None:
            if connection.execute(update(table).where(*_this(sdk_app_id, watermark_id)).values(changes)).rowcount == 0:
                raise _not_found(watermark_id)

        await self._database.write(work)

    async def delete(self, sdk_app_id: int, watermark_id: str) -> None:
        def work(connection: Connection) -> None:
            if connection.execute(delete(table).where(*_this(sdk_app_id, watermark_id))).rowcount == 0:
                raise _not_found(watermark_id)

        await self._database.write(work)

    async def list(self, sdk_app_id: int) -> tuple[Watermark, ...]:
        """Oldest first; at most ``PER_APPLICATION``."""
        columns = [column for column in table.c if column.name != "content"]
        mine = select(*columns).where(table.c.sdk_app_id == sdk_app_id).order_by(table.c.created_ms, table.c.id)

        def work(connection: Connection) -> tuple[Watermark, ...]:
            return tuple(_watermark(dict(row._mapping)) for row in connection.execute(mine))

        return await self._database.read(work)

    async def find(self, sdk_app_id: int, watermark_id: str) -> tuple[Watermark, bytes]:
        """It and its picture."""

        def work(connection: Connection) -> tuple[Watermark, bytes]:
            row = connection.execute(select(table).where(*_this(sdk_app_id, watermark_id))).one_or_none()
            if row is None:
                raise _not_found(watermark_id)
            values = dict(row._mapping)
            content: bytes = values.pop("content")
            return _watermark(values), content

        return await self._database.read(work)


def new_watermark_id() -> str:
    return "WM_" + secrets.token_urlsafe(12)


def _this(sdk_app_id: int, watermark_id: str) -> tuple[Any, ...]:
    return table.c.id == watermark_id, table.c.sdk_app_id == sdk_app_id


def _watermark(values: dict[str, Any]) -> Watermark:
    return Watermark(watermark_id=values.pop("id"), **values)


def _not_found(watermark_id: str) -> WatermarkError:
    return WatermarkError("not_found", f"the application has no watermark {watermark_id[:64]!a}")
