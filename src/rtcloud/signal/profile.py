"""What a session asks to be: its name, metadata and attributes, its role, and a PrivateMapKey in place of its own.

All come in one message of the protocol, UpdateParticipantMetadata. Two attributes are no attributes but wishes
(``messages.ROLE``, ``messages.PRIVATE_MAP_KEY``). What one message asks for may be several facts; it is granted when
the last of them is, and refused with the first that is refused.

livekit-client waits until it sees the attributes that it set. So a session is shown the key that it handed over, and
nobody else is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from livekit.protocol import models, rtc

from rtcloud.rooms import commands, facts
from rtcloud.rooms.participant import Participant, Role
from rtcloud.signal import answers, messages
from rtcloud.signal.admission import Admission

#: Changes per second that a session may ask for: each goes to the whole room.
MAX_CHANGES = 10

_ROLES = {"anchor": Role.ANCHOR, "audience": Role.AUDIENCE, "20": Role.ANCHOR, "21": Role.AUDIENCE}


@dataclass(slots=True)
class ProfileRequests:
    """Of one session."""

    participant_id: str
    admission: Admission
    #: how many facts a request became that are not answered yet
    _unanswered: dict[int, int] = field(default_factory=dict)
    _key: str = ""
    _second: int = 0
    _changes: int = 0

    def ask(self, update: rtc.UpdateParticipantMetadata, now_ms: int) -> Iterator[facts.Fact | rtc.SignalResponse]:
        """Facts for the room, or a refusal for the client."""
        attributes = dict(update.attributes)
        key, wish = attributes.pop(messages.PRIVATE_MAP_KEY, None), attributes.pop(messages.ROLE, None)
        refusal: commands.Refusal | None = None
        if self._is_one_too_many(now_ms):
            refusal = "too_often"
        elif any(name.startswith(messages.RESERVED) for name in attributes) or not (wish is None or wish in _ROLES):
            refusal = "invalid"
        permission = None
        if refusal is None and key is not None:
            permission = self.admission.replace_key(key, now_ms)
            refusal = "bad_key" if permission is None else None
        if refusal is not None:
            yield answers.refusal(update.request_id, refusal)
            return
        asked: list[facts.Fact] = []
        if key is not None and permission is not None:
            self._key = key
            asked.append(facts.KeyReplaced(self.participant_id, permission, update.request_id))
        if wish is not None:
            asked.append(self._role(_ROLES[wish], update.request_id, now_ms))
        if attributes or update.metadata or update.name or not asked:
            name, metadata = update.name or None, update.metadata or None
            asked.append(facts.ProfileChanged(self.participant_id, update.request_id, name, metadata, attributes))
        self._unanswered[update.request_id] = len(asked)
        yield from asked

    def answer(self, notice: commands.Grant | commands.Refuse) -> rtc.SignalResponse | None:
        """What the client hears of it now."""
        left = self._unanswered.pop(notice.request_id, 0) - 1
        if isinstance(notice, commands.Refuse):
            return answers.refusal(notice.request_id, notice.refusal)
        if left > 0:
            self._unanswered[notice.request_id] = left
            return None
        return answers.granted(notice.request_id)

    def own(self, participant: Participant) -> models.ParticipantInfo:
        """The participant as itself is told."""
        info = messages.participant_info(participant, own=True)
        if self._key:
            info.attributes[messages.PRIVATE_MAP_KEY] = self._key
        return info

    def _role(self, role: Role, request_id: int, now_ms: int) -> facts.Fact:
        """Who wants to speak shows a key that is still good (G:449)."""
        becomes_anchor = role == Role.ANCHOR and self.admission.role != Role.ANCHOR
        if becomes_anchor and self.admission.is_key_expired(now_ms):
            return facts.KeyExpired(self.participant_id)
        return facts.RoleChosen(self.participant_id, role, request_id)

    def _is_one_too_many(self, now_ms: int) -> bool:
        if now_ms // 1000 != self._second:
            self._second, self._changes = now_ms // 1000, 0
        self._changes += 1
        return self._changes > MAX_CHANGES
