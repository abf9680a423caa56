"""``docs/data.md`` names what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from published import write_film
from typer.testing import CliRunner

from training.data.adapters import adapter_names, card_of
from training.data.adapters.registry import open_adapter
from training.data.cli import data

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
COMMANDS = re.findall(r"^deepmedix data (.+?)(?:\s+#.*)?$", PAGE, re.M)


@pytest.mark.parametrize("name", adapter_names())
def test_every_adapter_is_described_and_has_a_command(name: str) -> None:
    assert card_of(name).name == name
    assert f"`{name}`" in PAGE
    if name != "csv":
        assert any(command.startswith(f"prepare {name} ") for command in COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--option" in c])
def test_options_on_the_page_are_the_adapter_s(command: str) -> None:
    name = command.split()[1]
    for option in re.findall(r"--option (\w+)=", command):
        assert option in card_of(name).options


def test_the_records_on_the_page_are_read(tmp_path: Path) -> None:
    lines = re.search(r"```json\n(.*?)```", PAGE, re.S)
    table = re.search(r"```csv\n(.*?)```", PAGE, re.S)
    assert lines
    assert table
    (tmp_path / "own.jsonl").write_text(lines[1])
    (tmp_path / "own.csv").write_text(table[1])
    for path in ("1.png", "1-lateral.png", "2.png"):
        write_film(tmp_path / "films" / path, 1600, 1700)
    for form, count in (("jsonl", 2), ("csv", 1)):
        out = tmp_path / form
        arguments = ["prepare", form, str(tmp_path / f"own.{form}"), "-o", str(out)]
        result = CliRunner().invoke(data, arguments)
        assert result.exit_code == 0, result.output
        told = json.loads((out / "dataset.json").read_text())
        assert sum(told["splits"].values()) == count
        assert not told["remarks"]


def test_adapters_open_by_name_only_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="is not there"):
        open_adapter("ms-cxr", tmp_path / "nothing")
