"""The documentation against the code itself: every code that can be returned is listed."""

import ast
import re
from pathlib import Path

import pytest

from service.api.documentation import PROBLEM_CODES
from service.radiograph import FILM_NOTICES
from service.reading.notices import DETAILS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "errors.md").read_text()

NOT_WITH_FILMS = {"not-found", "method-not-allowed", "key-file-unusable"}


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def raised_problems() -> dict[str, int]:
    """Codes and statuses of every Problem that the source constructs."""
    found = {}
    for path in (ROOT / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or len(node.args) < 4:
                continue
            code, status = _text(node.args[0]), node.args[1]
            if code and isinstance(status, ast.Constant) and isinstance(status.value, int):
                found[code] = status.value
    return found


def given_notices() -> set[str]:
    """Codes of every Notice that the source constructs with a literal, or from the table."""
    found = set()
    for path in (ROOT / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Notice"
                and node.args
                and (code := _text(node.args[0]))
            ):
                found.add(code)
    return found | set(DETAILS)


def test_the_source_is_read_as_meant():
    assert raised_problems()["body-too-large"] == 413
    assert "retried-constrained" in given_notices()


def test_every_notice_of_a_film_has_a_series_from_the_start():
    elsewhere = {"retried-constrained", "max-tokens-capped", *DETAILS}
    assert given_notices() - elsewhere == set(FILM_NOTICES)


@pytest.mark.parametrize(("code", "status"), sorted(raised_problems().items()))
def test_every_problem_is_on_the_page_with_its_status(code, status):
    assert re.search(rf"^\| `{code}` \| {status} \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("code", sorted(given_notices()))
def test_every_notice_is_on_the_page(code):
    assert f"| `{code}` |" in PAGE


def test_every_problem_is_in_the_openapi_document_under_its_status():
    documented = {code: status for status, codes in PROBLEM_CODES.items() for code in codes}
    raised = {c: s for c, s in raised_problems().items() if c not in NOT_WITH_FILMS}
    assert documented == raised


def test_the_page_lists_nothing_that_does_not_exist():
    listed = set(re.findall(r"^\| `([a-z0-9-]+)` \| \d{3} \|", PAGE, re.MULTILINE))
    assert listed == set(raised_problems())
