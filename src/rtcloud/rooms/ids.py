"""How a room is named. Numeric and string rooms are separate namespaces: 123 and "123" are two rooms."""

import re
from dataclasses import dataclass

#: The robot of automatic recordings. Reserved: no other task and no person may be in a room under this name.
AUTO_RECORDER = "rtcloud_auto_recorder"
#: The documented names of string rooms (trtc-facts §10.5).
STRING_ROOM = re.compile(r"[A-Za-z0-9 !#$%&()+\-:;<=.>?@\[\]^_{}|~,]{1,64}")


@dataclass(frozen=True, slots=True)
class RoomRef:
    """``room_id`` is the decimal number's text when ``numeric``."""

    sdk_app_id: int
    numeric: bool
    room_id: str

    @property
    def ordering(self) -> str:
        """What must stay in order: the events of one room of one application."""
        return f"{self.sdk_app_id}/{'n' if self.numeric else 's'}/{self.room_id}"

    @property
    def api_room_id(self) -> int | str:
        """The RoomId of callbacks: of the type the room has."""
        return int(self.room_id) if self.numeric else self.room_id
