"""``rtcloud admin rooms``, ``send`` and ``usersig``: who is in a call, what is done there, what lets one in."""

import re
from typing import Annotated, ClassVar, Literal

from rtcloud.accounts.tokens import MAX_NAME
from rtcloud.accounts.usersig import DEFAULT_EXPIRE_S, make_user_sig
from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, Word
from rtcloud.errors import ServiceError
from rtcloud.rooms import broadcast
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Kind
from rtcloud.rooms.service import RoomService

RoomWord = Annotated[str, Word("ROOM", "its number, or its text")]
RoomTypeFlag = Annotated[
    Literal["number", "string"] | None, Flag("TYPE", 'number or string (default: by how ROOM looks): 7 and "7" differ')
]
UsersFlag = Annotated[tuple[str, ...], Flag("USERS", "these only, comma-separated (default: everybody)")]
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")


class RoomsList(Command, tag="rooms.list", kw_only=True):
    """The rooms that are open now, and who is in them."""

    example: ClassVar[str] = "rooms"

    async def run(self, site: Site) -> object:
        return [] if site.rooms is None else site.rooms.describe()


class InRoom(Command, kw_only=True):
    """What is done in one room of a running server."""

    application: naming.ApplicationWord
    room: RoomWord
    room_type: RoomTypeFlag = None

    def find(self, site: Site) -> tuple[RoomService, RoomRef]:
        app = naming.application(site, self.application).sdk_app_id
        if site.rooms is None:
            raise AdminError("no server runs here: there are no rooms")
        numeric = _NUMBER.fullmatch(self.room) is not None if self.room_type is None else self.room_type == "number"
        if numeric and _NUMBER.fullmatch(self.room) is None:
            raise AdminError(f"room: {self.room!r} is not a number from 1 to 4294967294")
        return site.rooms, RoomRef(app, numeric, self.room)

    async def run(self, site: Site) -> object:
        rooms, ref = self.find(site)
        try:
            return await self.act(rooms, ref)
        except ServiceError as error:
            raise AdminError(error.message) from error

    async def act(self, rooms: RoomService, ref: RoomRef) -> object:
        raise NotImplementedError


class RoomsShow(InRoom, tag="rooms.show", kw_only=True):
    """The people of one room: role, device, what they send, what was taken from them."""

    example: ClassVar[str] = "rooms show 1400000001 7"

    async def act(self, rooms: RoomService, ref: RoomRef) -> object:
        return rooms.people(ref)


class RoomsRemove(InRoom, tag="rooms.remove", kw_only=True):
    """Send users out of a room; those who are not there are ignored."""

    example: ClassVar[str] = "rooms remove 1400000001 7 --users alice,bob"
    users: Annotated[tuple[str, ...], Flag("USERS", "comma-separated")]

    async def act(self, rooms: RoomService, ref: RoomRef) -> object:
        await rooms.remove_users(ref, self.users)
        return {"room_id": ref.api_room_id, "removed": list(self.users)}


class RoomsDismiss(InRoom, tag="rooms.dismiss", kw_only=True):
    """End a room: everybody leaves it."""

    example: ClassVar[str] = "rooms dismiss 1400000001 7"

    async def act(self, rooms: RoomService, ref: RoomRef) -> object:
        await rooms.dismiss(ref)
        return {"room_id": ref.api_room_id, "dismissed": True}


class RoomsBlock(InRoom, tag="rooms.block", kw_only=True):
    """Let nobody hear or see a user of a room, until another ``--kinds``; ``none`` gives everything back."""

    example: ClassVar[str] = "rooms block 1400000001 7 --user alice --kinds audio"
    user: Annotated[str, Flag("USERID", "who is in the room")]
    kinds: Annotated[tuple[str, ...], Flag("KINDS", "audio, video, both with a comma, or none")]

    async def act(self, rooms: RoomService, ref: RoomRef) -> object:
        wanted: set[Kind] = set()
        for kind in self.kinds:
            if kind not in ("audio", "video"):
                raise AdminError(f"kinds: {kind!r} is neither audio nor video")
            wanted.add("audio" if kind == "audio" else "video")
        await rooms.block_user(ref, self.user, frozenset(wanted))
        return {"room_id": ref.api_room_id, "user_id": self.user, "blocked": sorted(wanted)}


class RoomsDescribe(InRoom, tag="rooms.set", kw_only=True):
    """Give a room metadata, which every client is told."""

    example: ClassVar[str] = 'rooms set 1400000001 7 --metadata \'{"title": "weekly"}\''
    metadata: Annotated[str, Flag("TEXT", "at most 64 KiB; empty: the room's own id again")]

    async def act(self, rooms: RoomService, ref: RoomRef) -> object:
        if len(self.metadata.encode()) > 64 * 1024:
            raise AdminError("metadata: at most 64 KiB")
        await rooms.set_metadata(ref, self.metadata)
        return {"room_id": ref.api_room_id, "metadata": self.metadata}


class Send(InRoom, tag="send", kw_only=True):
    """Send a message to the people of a room: a custom command, or a message of a topic."""

    example: ClassVar[str] = "send 1400000001 7 --cmd 1 --text 'the doors close in five minutes'"
    text: Annotated[str, Flag("TEXT", "the message, as UTF-8")]
    cmd: Annotated[int | None, Flag("NUMBER", "of the custom command, 1 to 10")] = None
    topic: Annotated[str | None, Flag("TOPIC", "instead of a command")] = None
    users: UsersFlag = ()

    async def act(self, rooms: RoomService, ref: RoomRef) -> object:
        if (self.cmd is None) == (self.topic is None):
            raise AdminError("give either --cmd or --topic")
        data = self.text.encode()
        if self.cmd is not None:
            packet = broadcast.custom_command(self.cmd, data)
        else:
            packet = broadcast.message(self.topic or "", data)
        return {"room_id": ref.api_room_id, "sent_to": rooms.send_data(ref, packet, user_ids=self.users)}


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


COMMANDS = (RoomsList, RoomsShow, RoomsRemove, RoomsDismiss, RoomsBlock, RoomsDescribe, Send, UserSig)
