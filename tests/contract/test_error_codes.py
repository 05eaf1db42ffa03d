"""Every documented error code is explained, and each that can be answered now is seen by a test."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from rtcloud.actions.registry import ACTIONS
from rtcloud.apimodel.model import load_catalogue
from tests.contract.error_codes import SEEN_BY
from tests.kit import faulty
from tools import gen_codes

pytestmark = pytest.mark.contract

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src" / "rtcloud"
CODE = re.compile(
    r"(?:ActionOffline|AuthFailure|DryRunOperation|FailedOperation|InternalError|InvalidAction|InvalidParameter"
    r"|InvalidParameterValue|InvalidRequest|IpInBlacklist|IpNotInWhitelist|LimitExceeded|MissingParameter"
    r"|NoSuchProduct|NoSuchVersion|RequestLimitExceeded|RequestSizeLimitExceeded|ResourceInUse|ResourceInsufficient"
    r"|ResourceNotFound|ResourceUnavailable|ResponseSizeLimitExceeded|ServiceUnavailable|UnauthorizedOperation"
    r"|UnknownParameter|UnsupportedOperation|UnsupportedProtocol|UnsupportedRegion)(?:\.[A-Za-z]+)?"
)


@cache
def swept() -> frozenset[str]:
    return frozenset(case.code for action in faulty.every_spec()["actions"] for case in faulty.cases(action))


def answerable() -> frozenset[str]:
    return frozenset({**gen_codes.decided_by_gateway(), **gen_codes.answered_by_actions()})


def test_every_documented_code_is_explained() -> None:
    never, later = gen_codes.unanswered(), gen_codes.awaited()
    assert answerable() | never.keys() | later.keys() == gen_codes.all_codes()
    assert not answerable() & never.keys()
    assert not later.keys() & never.keys()
    assert load_catalogue().cloud.error_codes <= gen_codes.all_codes()
    assert len(load_catalogue().cloud.error_codes) == 114


def test_only_actions_that_are_not_built_have_codes_to_come() -> None:
    cloud = load_catalogue().cloud
    unbuilt = {action.group for action in cloud.actions.values() if action.name not in ACTIONS}
    assert {group for groups in gen_codes.awaited().values() for group in groups} <= unbuilt


def test_every_code_that_can_be_answered_is_seen_by_a_test() -> None:
    assert answerable() - swept() - SEEN_BY.keys() == set()
    assert SEEN_BY.keys() <= answerable()


@pytest.mark.parametrize("code", SEEN_BY)
def test_test_that_sees_a_code_exists_and_speaks_of_it(code: str) -> None:
    path, _, name = SEEN_BY[code].partition("::")
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    node = definitions(tree).get(name)
    assert node is not None, f"{path} has no {name}"
    spelt = {code, code.rpartition(".")[2]} if not name.startswith("test_") else {code}
    assert spelt & texts(node), f"{SEEN_BY[code]} does not speak of {code}"
    assert name in reached_by_tests(definitions(tree)), f"no test of {path} runs through {name}"


def definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found[target.id] = node
    return found


def reached_by_tests(found: dict[str, ast.stmt]) -> set[str]:
    waiting, reached = [name for name in found if name.startswith("test_")], set[str]()
    while waiting:
        name = waiting.pop()
        if name in found and name not in reached:
            reached.add(name)
            waiting += names(found[name])
    return reached


def texts(node: ast.AST) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def test_every_code_in_the_source_is_documented() -> None:
    used: dict[str, Path] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for text in texts(ast.parse(path.read_text("utf-8"))):
            if CODE.fullmatch(text):
                used.setdefault(text, path)
    assert len(used) > 40
    assert {code: str(path) for code, path in used.items() if code not in gen_codes.all_codes()} == {}
