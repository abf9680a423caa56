"""Before any test imports transformers, by itself or through xgrammar; and who runs where."""

from pathlib import Path

import pytest

from service.engine import torchvision_schemas

torchvision_schemas.register()

INTEGRATION = Path(__file__).parent / "integration"
STARTED_ONCE = {"engine", "chat_server"}
"""Fixtures of the integration tests that take half a minute to start."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest first; the tests of a file, and those of one engine, stay on one worker (`-n`)."""
    groups: dict[Path, str] = {}
    for item in items:
        shared = STARTED_ONCE.intersection(getattr(item, "fixturenames", ()))
        if item.path.is_relative_to(INTEGRATION) and shared:
            groups[item.path] = shared.pop()
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups.get(item.path, str(item.path))))
    items.sort(key=lambda item: not item.path.is_relative_to(INTEGRATION))
