"""The kit that runs pages' commands: it must notice whatever a page shows that is not so."""

import pytest

from tests.kit.transcripts import Page

SHOWN = """Some words.

```console
$ make a user
uin:      100000000001
created:  2026-01-01T00:00:00Z
$ say 100000000001 \\
> twice
100000000001 100000000001
```
"""


class FakeShell:
    def __init__(self, *printed: str) -> None:
        self.printed = list(printed)
        self.commands: list[str] = []

    def run(self, command: str) -> str:
        self.commands.append(command)
        return self.printed.pop(0)


def page(*printed: str) -> tuple[Page, FakeShell]:
    shell = FakeShell(*printed)
    return Page(shell), shell  # type: ignore[arg-type]


MADE = "uin:      100099999999\ncreated:  2026-11-21T08:00:00Z\n"


def test_ids_and_times_may_differ_and_the_real_id_is_used_in_later_commands() -> None:
    run, shell = page(MADE, "100099999999 100099999999\n")
    assert run.check(SHOWN) == 2
    assert shell.commands == ["make a user", "say 100099999999 \\\ntwice"]


@pytest.mark.parametrize(
    "printed",
    [
        ("uin: 100099999999\ncreated:  2026-11-21T08:00:00Z\n",),
        ("uin:      100099999999\ncreated:  yesterday\n",),
        (MADE + "more\n",),
        (MADE, "100099999999 100088888888\n"),
        (MADE, ""),
    ],
)
def test_anything_else_that_differs_is_noticed(printed: tuple[str, ...]) -> None:
    run, _ = page(*printed)
    with pytest.raises(AssertionError):
        run.check(SHOWN)


def test_a_page_that_is_true_is_rewritten_as_it_is() -> None:
    run, _ = page(MADE, "100099999999 100099999999\n")
    assert run.rewrite(SHOWN) == SHOWN


def test_what_is_printed_now_is_written_with_the_pages_own_ids() -> None:
    run, _ = page(MADE, "once 100099999999\n")
    assert run.rewrite(SHOWN) == SHOWN.replace("100000000001 100000000001", "once 100000000001")


def test_a_token_is_shown_shortened() -> None:
    token = "Ab_-" * 40
    run, _ = page(f"token:  {token}\n")
    text = run.rewrite("```console\n$ token\n```\n")
    assert text == "```console\n$ token\ntoken:  Ab_-Ab_-Ab_-Ab_-…\n```\n"
    again, _ = page(f"token:  {'Cd12' * 50}\n")
    assert again.check(text) == 1
