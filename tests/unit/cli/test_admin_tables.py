from rtcloud.admin.tables import render


def test_rows_are_aligned_under_their_names() -> None:
    rows = [
        {"uin": "100000000001", "name": "ops", "policies": ["Full", "Read"], "enabled": True},
        {"uin": "1", "name": "", "policies": [], "enabled": False, "keys": 0},
    ]
    assert render(rows).splitlines() == [
        "UIN           NAME  POLICIES    ENABLED  KEYS",
        "100000000001  ops   Full, Read  yes      -",
        "1             -     -           no       0",
    ]


def test_fields_are_aligned_and_rows_within_them_indented() -> None:
    shown = {
        "secret_id": "AKID",
        "user": "ops",
        "keys": [{"id": 1}, {"id": 22}],
        "document": {"a": [1]},
        "events": {"parked": 2},
        "next": "Keep it.\n1. now",
    }
    assert render(shown).splitlines() == [
        "secret id:  AKID",
        "user:       ops",
        "keys:",
        "  ID",
        "  1",
        "  22",
        "document:",
        "  {",
        '    "a": [',
        "      1",
        "    ]",
        "  }",
        "events:     parked 2",
        "",
        "Keep it.",
        "1. now",
    ]


def test_wide_letters_take_two_columns() -> None:
    assert render([{"name": "会议", "n": 1}, {"name": "ab", "n": 2}]).splitlines() == ["NAME  N", "会议  1", "ab    2"]


def test_what_could_move_the_cursor_is_escaped() -> None:
    assert render([{"users": ["\x1b[2Jmallory", "a\nb"]}]) == "USERS\n\\x1b[2Jmallory, a\\nb"


def test_nothing_is_said_as_such() -> None:
    assert render([]) == "none"
    assert render({"previous": None}) == "previous:  -"
