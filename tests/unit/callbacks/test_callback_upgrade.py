"""Callbacks that wait in a data directory of before heads and chosen events: delivered in order after the upgrade."""

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from rtcloud.callbacks import outbox
from rtcloud.callbacks.outbox import Address, Outcome
from rtcloud.callbacks.parking import list_parked, replay
from rtcloud.callbacks.targets import Target, list_targets
from rtcloud.store import migrating


def test_what_waited_before_the_upgrade_is_delivered_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rtcloud.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrating.SCRIPTS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    old = sqlite3.connect(path)
    with old:
        old.execute("INSERT INTO accounts (uin, created_ms) VALUES ('1', 1)")
        old.execute(
            "INSERT INTO applications (sdk_app_id, account_uin, name, secret_key_sealed, settings, created_ms)"
            " VALUES (14, '1', '', x'00', '{}', 1)"
        )
        old.execute("INSERT INTO callback_targets VALUES (14, 1, 'http://a/', x'00')")
        for room, state in (("a", "delivered"), ("a", "parked"), ("a", "pending"), ("b", "pending"), ("a", "pending")):
            old.execute(
                "INSERT INTO callbacks (sdk_app_id, ordering, event_group, event_type, event_info, created_ms, state,"
                " attempts, next_attempt_ms, last_error) VALUES (14, ?, 1, 102, '{}', 7, ?, 0, 7, '')",
                (room, state),
            )
    old.close()

    migrating.migrate(path)
    with engine.connect() as connection:
        assert list_targets(connection) == [Target(14, 1, "http://a/", trusted=True, events=None)]
        due = outbox.due(connection, 8, 10)
        assert [(each.id, each.retries_from_ms, each.address) for each in due] == [
            (3, 7, Address("http://a/", True)),
            (4, 7, Address("http://a/", True)),
        ]
        outbox.record(connection, [Outcome(3, "a", "delivered", 8)])
        assert [each.id for each in outbox.due(connection, 8, 10)] == [4, 5]
        assert [parked.id for parked in list_parked(connection)] == [2]
        replay(connection, 9)
        assert [each.id for each in outbox.due(connection, 9, 10)] == [4, 2]
    engine.dispose()
