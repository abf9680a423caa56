import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from service.engine import torchvision_schemas

pytest.importorskip("torch")


def run(program: str) -> str:
    """Run a program in a fresh interpreter, since a repair lasts as long as its process."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_companions_import_or_are_not_to_be_found_after_the_repair():
    program = (
        "from service.engine.torchvision_schemas import register\n"
        "assert register() == register()\n"
        "import torchvision, importlib\n"
        "for name in ('torchaudio', 'torchcodec'):\n"
        "    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError: pass\n"
        "import transformers.audio_utils\n"
        "print('imported')"
    )
    assert run(program).endswith("imported")


@pytest.mark.parametrize("needing", ["transformers.audio_utils, torchvision", "datasets, trl"])
def test_the_repair_waits_until_something_needs_it(needing):
    program = (
        "import sys\n"
        "from service.engine.torchvision_schemas import register_when_needed\n"
        "register_when_needed()\n"
        "assert 'torch' not in sys.modules\n"
        f"import {needing}\n"
        "if 'datasets' in sys.modules: sys.modules['datasets'].Dataset.from_dict({'a': [1]})\n"
        "register_when_needed()\n"
        "print('imported')"
    )
    assert run(program).endswith("imported")


def test_package_whose_compiled_part_loads_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(torchvision_schemas, "_package", lambda name: tmp_path)
    monkeypatch.setattr(torchvision_schemas, "_loads", lambda folder, pattern: True)
    monkeypatch.setattr(torchvision_schemas, "_libraries", [])
    for name in ("torchaudio", "torchcodec"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert torchvision_schemas.register() is False
    assert torchvision_schemas._libraries == []
    assert "torchaudio" not in sys.modules


def test_package_without_a_compiled_part_is_left_alone(tmp_path):
    assert torchvision_schemas._loads(tmp_path, "_C.*")


def test_compiled_part_that_does_not_load_is_noticed(tmp_path):
    (tmp_path / "_C.so").write_bytes(b"no library")
    assert not torchvision_schemas._loads(tmp_path, "_C.*")


def test_vllm_calls_the_repair_in_each_of_its_processes():
    plugins = {point.name: point for point in entry_points(group="vllm.platform_plugins")}
    assert plugins["deepmedix"].load() is torchvision_schemas.install
    assert torchvision_schemas.install() is None
