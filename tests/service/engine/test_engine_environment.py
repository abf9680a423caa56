import os

import pytest

from service.engine import environment
from service.engine.environment import kv_cache_is_set, prepare_cpu, prepare_environment


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    monkeypatch.setattr(os, "environ", {})


def test_nothing_is_reported_to_anyone():
    prepare_environment(local=True)
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert os.environ["VLLM_DO_NOT_TRACK"] == "1"


def test_local_folder_is_served_offline():
    prepare_environment(local=True)
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_hub_checkpoint_may_be_downloaded():
    prepare_environment(local=False)
    assert "HF_HUB_OFFLINE" not in os.environ


def test_what_the_operator_set_stays():
    os.environ.update(VLLM_LOGGING_LEVEL="DEBUG", OMP_NUM_THREADS="7")
    prepare_environment(local=True)
    prepare_cpu(tensor_parallel_size=1)
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_list_of_plugins_keeps_the_repair():
    os.environ["VLLM_PLUGINS"] = "mine"
    prepare_environment(local=True)
    prepare_environment(local=True)
    assert os.environ["VLLM_PLUGINS"] == "mine,deepmedix"


def test_threads_leave_one_of_the_cores_that_a_container_may_use(monkeypatch):
    monkeypatch.setattr(environment, "usable_cores", lambda: 4)
    prepare_cpu(tensor_parallel_size=1)
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_several_workers_keep_processes_of_their_own():
    prepare_cpu(tensor_parallel_size=2)
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in os.environ


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("", False), ("2", True)])
def test_cache_size_is_known_to_be_set(value, expected):
    if value is not None:
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = value
    assert kv_cache_is_set() is expected
