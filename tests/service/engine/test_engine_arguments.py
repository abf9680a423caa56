import pytest

from service.engine import EngineArgumentError, EngineSettings, Pixels
from service.engine.arguments import Machine, check_arguments, engine_arguments

KNOWN = {"dtype", "enforce_eager", "gpu_memory_utilization", "max_model_len", "max_num_seqs"}
SMALL_CPU = Machine(cpu=True, weights=20_000_000, context=4096)
GPU = Machine(cpu=False, weights=16 * 10**9, context=128_000)


def test_unknown_argument_is_named():
    settings = EngineSettings("m", engine_args={"max_num_sequences": 4, "dtype": "half"})
    with pytest.raises(EngineArgumentError, match="max_num_sequences is not an engine argument"):
        check_arguments(settings, KNOWN)


@pytest.mark.parametrize(
    "name",
    [
        "model",
        "enable_mm_embeds",
        "enable_prompt_embeds",
        "enable_log_requests",
        "allowed_local_media_path",
        "limit_mm_per_prompt",
        "trust_remote_code",
    ],
)
def test_argument_that_would_open_the_service_is_refused(name):
    settings = EngineSettings("m", engine_args={name: True})
    with pytest.raises(EngineArgumentError, match=f"{name} cannot be set"):
        check_arguments(settings, KNOWN | {name})


def test_setting_and_argument_that_contradict_are_refused():
    settings = EngineSettings("m", dtype="float32", engine_args={"dtype": "half"})
    with pytest.raises(EngineArgumentError, match="DEEPMEDIX_DTYPE"):
        check_arguments(settings, KNOWN)


def test_setting_and_argument_that_agree_are_taken():
    check_arguments(EngineSettings("m", dtype="half", engine_args={"dtype": "half"}), KNOWN)


def test_small_checkpoint_on_a_cpu_computes_in_float32(manifest):
    arguments = engine_arguments(EngineSettings("m"), manifest, SMALL_CPU)
    assert arguments["dtype"] == "float32"
    assert arguments["enforce_eager"]
    assert arguments["max_model_len"] == 4096


def test_large_checkpoint_on_a_gpu_computes_in_bfloat16(manifest):
    arguments = engine_arguments(EngineSettings("m"), manifest, GPU)
    assert arguments["dtype"] == "bfloat16"
    assert arguments["gpu_memory_utilization"] == 0.9
    assert arguments["max_model_len"] >= 8192


def test_context_never_exceeds_what_the_checkpoint_can_address(manifest):
    machine = Machine(cpu=True, weights=1, context=1024)
    arguments = engine_arguments(EngineSettings("m"), manifest, machine)
    assert arguments["max_model_len"] == 1024


def test_cache_size_of_the_environment_leads(manifest):
    machine = Machine(cpu=True, weights=1, kv_cache_is_set=True)
    arguments = engine_arguments(EngineSettings("m"), manifest, machine)
    assert "kv_cache_memory_bytes" not in arguments


def test_operator_leads_over_defaults(manifest):
    settings = EngineSettings(
        "m",
        dtype="bfloat16",
        quantization="fp8",
        tensor_parallel_size=2,
        max_model_len=900,
        engine_args={"enforce_eager": False, "seed": 3},
    )
    arguments = engine_arguments(settings, manifest, SMALL_CPU)
    assert arguments["dtype"] == "bfloat16"
    assert arguments["quantization"] == "fp8"
    assert arguments["tensor_parallel_size"] == 2
    assert arguments["max_model_len"] == 900
    assert arguments["enforce_eager"] is False
    assert arguments["seed"] == 3


@pytest.mark.parametrize(("operator", "expected"), [(1, 1), (4, 4), (9, 4)])
def test_operator_and_manifest_both_limit_the_images(manifest, operator, expected):
    settings = EngineSettings("m", limit_images=operator)
    arguments = engine_arguments(settings, manifest, SMALL_CPU)
    assert arguments["limit_mm_per_prompt"] == {"image": expected, "video": 0}


def test_nothing_downstream_resizes_takes_embeddings_or_logs_prompts(manifest):
    arguments = engine_arguments(EngineSettings("m"), manifest, GPU)
    assert arguments["mm_processor_kwargs"]["do_resize"] is False
    assert arguments["enable_mm_embeds"] is False
    assert arguments["enable_log_requests"] is False


def test_pixels_of_the_manifest_replace_the_processors_where_it_says_so(manifest):
    pixels = Pixels(min_pixels=3136, max_pixels=262_144, override_processor=True)
    changed = manifest.model_copy(update={"pixels": pixels})
    arguments = engine_arguments(EngineSettings("m"), changed, GPU)
    size = {"shortest_edge": 3136, "longest_edge": 262_144}
    assert arguments["mm_processor_kwargs"]["size"] == size


def test_metrics_are_labelled_with_the_checkpoints_name_and_no_path(manifest):
    arguments = engine_arguments(EngineSettings("/some/folder"), manifest, SMALL_CPU)
    assert arguments["served_model_name"] == manifest.name


def test_vllms_spans_go_where_the_services_do(manifest):
    endpoint = "http://collector:4318/v1/traces"
    arguments = engine_arguments(EngineSettings("m", otlp_endpoint=endpoint), manifest, SMALL_CPU)
    assert arguments["otlp_traces_endpoint"] == endpoint
    plain = engine_arguments(EngineSettings("m"), manifest, SMALL_CPU)
    assert "otlp_traces_endpoint" not in plain
