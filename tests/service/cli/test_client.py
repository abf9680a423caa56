"""How the command line reaches a service."""

import io

import pytest
from rich.console import Console

from service.cli.client import connect


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://node.example:8000", True),
        ("http://192.0.2.1:8000", True),
        ("https://node.example:8000", False),
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("http://localhost:8000", False),
    ],
)
async def test_films_that_go_unencrypted_are_told_of(url, told):
    said = io.StringIO()
    async with connect(url, Console(file=said, width=200)):
        pass
    assert ("unencrypted" in said.getvalue()) is told
