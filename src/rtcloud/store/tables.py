"""Every table, in one place. Times are Unix milliseconds (``…_ms``); ids are text.

Invariant: a state change and the callbacks it causes are written by one transaction (``callbacks`` is the outbox).
JSON columns hold msgspec-encoded text. A secret is stored only encrypted (``…_sealed``, see ``store.sealing``).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("uin", String(20), primary_key=True),
    Column("name", String(64), nullable=False, default=""),
    Column("settings", Text, nullable=False, default="{}"),  # JSON of accounts.AccountSettings
    Column("created_ms", BigInteger, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("uin", String(20), primary_key=True),
    Column("account_uin", ForeignKey("accounts.uin"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False, default=0),
)

# An account's own policies; the presets are in the code, with ids below 1000. An id is never used twice.
policies = Table(
    "policies",
    metadata,
    Column("id", Integer, primary_key=True),  # from 1001
    Column("account_uin", ForeignKey("accounts.uin"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("description", String(300), nullable=False, default=""),
    Column("document", Text, nullable=False),  # JSON as it was given
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("account_uin", "name", name="policies_named"),
    sqlite_autoincrement=True,
)

roles = Table(
    "roles",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_uin", ForeignKey("accounts.uin"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("trusted", Text, nullable=False),  # JSON list of user uins, or ["*"]
    Column("description", String(300), nullable=False, default=""),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("account_uin", "name", name="roles_named"),
)

# Either of a user or of a role. ``policy_id`` names a row of ``policies`` or a preset.
policy_attachments = Table(
    "policy_attachments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_uin", ForeignKey("users.uin")),
    Column("role", ForeignKey("roles.id")),
    Column("policy_id", Integer, nullable=False),
    UniqueConstraint("user_uin", "policy_id", name="policy_attachments_of_users"),
    UniqueConstraint("role", "policy_id", name="policy_attachments_of_roles"),
)

secret_keys = Table(
    "secret_keys",
    metadata,
    Column("secret_id", String(64), primary_key=True),
    Column("user_uin", ForeignKey("users.uin"), nullable=False),
    Column("secret_key_sealed", LargeBinary, nullable=False),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("created_ms", BigInteger, nullable=False),
)

applications = Table(
    "applications",
    metadata,
    Column("sdk_app_id", BigInteger, primary_key=True, autoincrement=False),
    Column("account_uin", ForeignKey("accounts.uin"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("secret_key_sealed", LargeBinary, nullable=False),
    Column("previous_secret_key_sealed", LargeBinary),  # good beside the present one until …
    Column("previous_until_ms", BigInteger, nullable=False, default=0),
    Column("settings", Text, nullable=False),  # JSON of accounts.ApplicationSettings
    Column("created_ms", BigInteger, nullable=False),
)

callback_targets = Table(
    "callback_targets",
    metadata,
    Column("sdk_app_id", ForeignKey("applications.sdk_app_id"), primary_key=True, autoincrement=False),
    Column("event_group", Integer, primary_key=True, autoincrement=False),
    Column("url", Text, nullable=False),
    Column("key_sealed", LargeBinary, nullable=False),
    Column("trusted", Boolean, nullable=False, default=True),  # set by the operator, not by an API request
    Column("events", Text),  # the chosen types as ``,101,103,``; NULL: all
)

# Pictures that mixed and recorded video may show.
watermarks = Table(
    "watermarks",
    metadata,
    Column("id", String(32), primary_key=True),  # WM_…
    Column("sdk_app_id", ForeignKey("applications.sdk_app_id"), nullable=False),
    Column("name", String(64), nullable=False, default=""),
    Column("format", String(8), nullable=False),  # png, jpeg, bmp
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("x", Integer, nullable=False, default=0),
    Column("y", Integer, nullable=False, default=0),
    Column("content", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Index("watermarks_of_application", "sdk_app_id"),
)

# One row per life of a room. At most one row per (application, kind, room id) has destroyed_ms NULL.
rooms = Table(
    "rooms",
    metadata,
    Column("id", String(32), primary_key=True),  # RM_…
    Column("sdk_app_id", BigInteger, nullable=False),
    Column("numeric", Boolean, nullable=False),  # numeric and string rooms are separate namespaces
    Column("room_id", String(64), nullable=False),
    Column("scene", String(16), nullable=False, default="rtc"),
    Column("metadata", Text, nullable=False, server_default=""),
    Column("created_ms", BigInteger, nullable=False),
    Column("destroyed_ms", BigInteger),
    Index("rooms_open", "sdk_app_id", "numeric", "room_id", "destroyed_ms"),
)

# What the application took from users of a room, for the room's life.
room_blocks = Table(
    "room_blocks",
    metadata,
    Column("room", ForeignKey("rooms.id"), primary_key=True),
    Column("user_id", String(64), primary_key=True),
    Column("kinds", String(16), nullable=False),  # audio, video or audio,video
)

# One row per entry of a user into a room.
presences = Table(
    "presences",
    metadata,
    Column("id", String(32), primary_key=True),  # PA_…
    Column("room", ForeignKey("rooms.id"), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("role", Integer, nullable=False),  # 20 anchor, 21 audience
    Column("user_type", Integer, nullable=False),
    Column("terminal_type", Integer, nullable=False),
    Column("device_type", String(64), nullable=False, default=""),
    Column("sdk_version", String(64), nullable=False, default=""),
    Column("client_address", String(64), nullable=False, default=""),
    Column("joined_ms", BigInteger, nullable=False),
    Column("left_ms", BigInteger),
    Column("leave_reason", Integer),
    Index("presences_open", "room", "left_ms"),
)

# One row per stretch of sending: a mute ends it, an unmute starts another.
publications = Table(
    "publications",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("presence", ForeignKey("presences.id"), nullable=False),
    Column("kind", String(8), nullable=False),  # audio, video, aux
    Column("started_ms", BigInteger, nullable=False),
    Column("stopped_ms", BigInteger),
    Index("publications_open", "presence", "stopped_ms"),
)

# What was received, over time: the usage rules need it and it cannot be recovered later.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("presence", ForeignKey("presences.id"), nullable=False),
    Column("publisher", String(64), nullable=False),  # user id
    Column("kind", String(8), nullable=False),
    Column("width", Integer, nullable=False, default=0),
    Column("height", Integer, nullable=False, default=0),
    Column("started_ms", BigInteger, nullable=False),
    Column("stopped_ms", BigInteger),
)

# What is asked for later by application and time (``stats.reading``), and what is looked for when it is too old.
Index("rooms_of_applications", rooms.c.sdk_app_id, rooms.c.destroyed_ms, rooms.c.created_ms)
Index("rooms_destroyed", rooms.c.destroyed_ms, sqlite_where=rooms.c.destroyed_ms.is_not(None))
Index("presences_in_order", presences.c.room, presences.c.joined_ms)
Index("presences_of_users", presences.c.room, presences.c.user_id)
Index("presences_left", presences.c.left_ms, sqlite_where=presences.c.left_ms.is_not(None))
Index("subscriptions_open", subscriptions.c.presence, subscriptions.c.stopped_ms)

# What happened to a user and has no other row (``stats.events``). Neither this table nor the next has a foreign key:
# they are written a moment later than what they tell of, and must not fail with it.
user_events = Table(
    "user_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("presence", String(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("event_id", Integer, nullable=False),  # as documented, or from 65536 on our own
    Column("param1", Integer, nullable=False, default=-1),
    Column("param2", Integer, nullable=False, default=-1),
    Column("stream", Integer, nullable=False, default=0),  # the documents' Type: 0, 2, 3, 7
    Column("peer", String(64), nullable=False, default=""),
    Column("detail", String(64), nullable=False, default=""),
    Index("user_events_of_presences", "presence", "at_ms"),
)

# One minute of quality samples of one stream (``stats.samples``). In the order of time, so that a batch of a crowd
# touches few pages; a user's minutes are found by naming each.
quality_minutes = Table(
    "quality_minutes",
    metadata,
    Column("minute", Integer, primary_key=True, autoincrement=False),  # since 1970
    Column("presence", String(32), primary_key=True),
    Column("peer", String(64), primary_key=True),  # "": the connection and what is sent; else whom it receives
    Column("samples", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# Who did not get in. A flood is one row with empty ids.
refused_entries = Table(
    "refused_entries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sdk_app_id", BigInteger, nullable=False),
    Column("numeric", Boolean, nullable=False),
    Column("room_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("code", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Index("refused_entries_of_applications", "sdk_app_id", "at_ms"),
)

# The outbox. ``ordering`` names what must stay in order: one room of one application, both namespaces apart.
# ``head`` is true for the oldest pending row of each ``ordering``, and for no other: only heads are tried.
callbacks = Table(
    "callbacks",
    metadata,
    Column("id", Integer, primary_key=True),  # delivery order within one ``ordering``
    Column("sdk_app_id", BigInteger, nullable=False),
    Column("ordering", String(128), nullable=False),
    Column("event_group", Integer, nullable=False),
    Column("event_type", Integer, nullable=False),
    Column("event_info", Text, nullable=False),  # compact JSON of EventInfo, keys in the documented order
    Column("created_ms", BigInteger, nullable=False),
    Column("retries_from_ms", BigInteger, nullable=False),  # its minute starts here: written, or last replayed
    Column("state", String(12), nullable=False, default="pending"),  # pending, delivered, parked
    Column("head", Boolean, nullable=False, default=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("first_attempt_ms", BigInteger),
    Column("next_attempt_ms", BigInteger, nullable=False),
    Column("delivered_ms", BigInteger),
    Column("last_error", Text, nullable=False, default=""),
)
for _name, _columns, _rows in (
    ("callbacks_pending", ("ordering", "id"), "state = 'pending'"),
    ("callbacks_due", ("sdk_app_id", "event_group", "next_attempt_ms", "id"), "head = 1"),
    ("callbacks_parked", ("sdk_app_id", "id"), "state = 'parked'"),
    ("callbacks_delivered", ("delivered_ms",), "state = 'delivered'"),
):
    Index(_name, *(callbacks.c[_column] for _column in _columns), sqlite_where=text(_rows))

# The task rows are the work queue: a worker looks every second, a hint on the bus only makes it look earlier.
tasks = Table(
    "tasks",
    metadata,
    Column("task_id", String(128), primary_key=True),
    Column("kind", String(24), nullable=False),  # recording
    Column("sdk_app_id", BigInteger, nullable=False),
    Column("numeric", Boolean, nullable=False),
    Column("room_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),  # the robot
    Column("params_sealed", LargeBinary, nullable=False),  # the accepted request as JSON; holds storage keys
    Column("desired_state", String(12), nullable=False),  # running, stopped
    Column("stop_code", Integer, nullable=False, default=0),  # LeaveCode if it is stopped from outside
    Column("stop_ms", BigInteger),  # when it was told to stop: media after it does not count
    Column("state", String(12), nullable=False),  # accepted, running, ending, uploading, ended
    Column("revision", Integer, nullable=False, default=0),  # of the request; grows with each update of it
    Column("attempts", Integer, nullable=False, default=0),  # begun so far; the last is ``attempts - 1``, n = ``han``
    Column("spent", Integer, nullable=False, server_default="0"),  # those of them that no orderly end takes back
    Column("load", Integer, nullable=False, server_default="0"),  # thousandths of a core while it runs
    Column("worker", String(64)),  # who may run it, as long as that worker's lease lasts
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("expires_ms", BigInteger, nullable=False),  # ResourceExpiredHour
    Column("leave_code", Integer),  # set when the robot left the room for good
    Column("progress", Text, nullable=False, default="{}"),  # JSON owned by the kind
    Column("lists_files", Boolean, nullable=False, server_default="1"),  # whether the API tells its files
    Index("tasks_wanted", "state", "worker"),
    Index("tasks_of_rooms", "sdk_app_id", "numeric", "room_id"),
)

# The rooms that a task's robot joined, its own and those that a mix takes users from: there its input is counted.
task_rooms = Table(
    "task_rooms",
    metadata,
    Column("task_id", ForeignKey("tasks.task_id"), primary_key=True),
    Column("numeric", Boolean, primary_key=True),
    Column("room_id", String(64), primary_key=True),
)

task_files = Table(
    "task_files",
    metadata,
    Column("task_id", ForeignKey("tasks.task_id"), primary_key=True),
    Column("name", String(512), primary_key=True),  # below the task's place, e.g. ha1_1400_77_2026….ts
    Column("kind", String(12), nullable=False),  # segment, index, mp4
    Column("attempt", Integer, nullable=False),
    Column("user_id", String(64), nullable=False, default=""),
    Column("track_type", String(16), nullable=False),  # audio, video, audio_video
    Column("media_id", String(8), nullable=False, default="mix"),  # main, aux, mix
    Column("wanted", Boolean, nullable=False, default=True),  # whether it is uploaded at all
    Column("sequence", Integer, nullable=False, default=0),  # of the journal entry that last closed it
    Column("begin_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger),  # NULL while it is being written
    Column("size", BigInteger, nullable=False, default=0),
    Column("uploaded_ms", BigInteger),  # NULL again when the file was rewritten
)
# Looked at every second and with each upload: those that wait, and what was made of the segments, which are many more.
for _name, _columns, _rows in (
    ("task_files_pending", ("task_id", "end_ms"), "wanted = 1 AND end_ms IS NOT NULL AND uploaded_ms IS NULL"),
    ("task_files_made", ("task_id",), "kind != 'segment'"),
):
    Index(_name, *(task_files.c[_column] for _column in _columns), sqlite_where=text(_rows))

# What a task makes, over time: with what its robot received (``subscriptions``) this is what mixing is counted by.
task_outputs = Table(
    "task_outputs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.task_id"), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("codec", String(8), nullable=False),  # of the picture: h264, h265; "" when there is none
    Column("width", Integer, nullable=False, default=0),
    Column("height", Integer, nullable=False, default=0),
    Column("audio", Boolean, nullable=False, default=True),
    Index("task_outputs_in_order", "task_id", "started_ms"),
)

# The media library: a row for each file that plays on its own, once it is in its place. It goes after its file.
library_files = Table(
    "library_files",
    metadata,
    Column("file_id", String(20), primary_key=True),
    Column("task_id", ForeignKey("tasks.task_id"), nullable=False),
    Column("name", String(512), nullable=False),
    Column("sdk_app_id", BigInteger, nullable=False),
    Column("numeric", Boolean, nullable=False),
    Column("room_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("media_id", String(8), nullable=False),
    Column("track_type", String(16), nullable=False),
    Column("begin_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),  # an index's with its segments
    Column("arrived_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),  # NULL: kept for ever
    Column("details", Text, nullable=False),  # JSON of what the request says of its files
    Index("library_files_expiring", "expires_ms"),
    Index("library_files_of_applications", "sdk_app_id", "arrived_ms"),
)

# Journal entries already applied, so that reading a journal again changes nothing.
task_events = Table(
    "task_events",
    metadata,
    Column("task_id", ForeignKey("tasks.task_id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("sequence", Integer, primary_key=True),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("capacity", Integer, nullable=False, server_default="0"),  # of its machine, 1/1000 core; 0: no limit
    Column("lease_until_ms", BigInteger, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("signal_url", Text, nullable=False),  # http://host:port where robots join
    Column("started_ms", BigInteger, nullable=False),
)
