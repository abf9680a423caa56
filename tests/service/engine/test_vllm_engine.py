"""What the engine does around vLLM, with vLLM itself scripted."""

import asyncio
import multiprocessing
import os
import signal
import threading
from contextlib import aclosing
from importlib.metadata import EntryPoints, entry_points

import numpy as np
import pytest

from service.engine import (
    EngineNotInstalledError,
    EngineSettings,
    EngineStuckError,
    EngineUnavailable,
    GenerationRequest,
    PromptTooLong,
    RequestRefused,
    Sampling,
    TooManyImages,
    Usage,
    VllmEngine,
    vllm_engine,
)
from service.engine.manifest import ManifestError
from service.engine.prompt import IMAGE, PromptBuilder
from service.engine.torchvision_schemas import register
from tests.service.engine.scripted_llm import ScriptedLLM, ScriptedTokenizer, output

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for item in m.content %}"
    "{% if item.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ item.text }}{% endif %}{% endfor %}<|im_end|>{% endfor %}"
)
FILM = np.zeros((224, 196, 3), np.uint8)
DONE = output(" done", tokens=2, finish_reason="stop")


@pytest.fixture(scope="module", autouse=True)
def _importable_vllm():
    pytest.importorskip("torch")
    register()
    pytest.importorskip("vllm")


@pytest.fixture
def started(folder, manifest):
    def start(*script):
        engine = VllmEngine(EngineSettings(str(folder)))
        engine._engine = engine._loaded = ScriptedLLM(*script)
        engine._prompts = PromptBuilder(
            ScriptedTokenizer(), TEMPLATE, manifest, max_images=2, max_model_len=600
        )
        return engine, engine._engine

    return start


def request(prompt="Question?", images=(FILM,), **changes):
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=30, seed=4)
    return GenerationRequest("r", prompt, images, **({"sampling": sampling} | changes))


async def collect(engine, asked):
    return [delta async for delta in engine.generate(asked)]


async def test_text_comes_in_deltas_and_usage_with_the_last(started):
    engine, _ = started(output("One"), output(" two", tokens=3), DONE)
    deltas = await collect(engine, request())
    assert [delta.text for delta in deltas] == ["One", " two", " done"]
    assert [delta.finish_reason for delta in deltas] == [None, None, "stop"]
    assert deltas[-1].usage == Usage(prompt_tokens=9, completion_tokens=6)


async def test_finished_request_is_not_aborted(started):
    engine, llm = started(DONE)
    await collect(engine, request())
    assert llm.aborted == []


async def test_cancelling_the_consumer_aborts(started):
    engine, llm = started(output("One"), None)
    task = asyncio.create_task(collect(engine, request()))
    await llm.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert llm.aborted == [llm.calls[0][2]]


async def test_closing_the_iterator_aborts(started):
    engine, llm = started(output("One"), None)
    async with aclosing(engine.generate(request())) as deltas:
        assert (await anext(deltas)).text == "One"
    assert llm.aborted == [llm.calls[0][2]]


async def test_equal_request_ids_do_not_meet_in_the_engine(started):
    engine, llm = started(DONE)
    await asyncio.gather(collect(engine, request()), collect(engine, request()))
    names = [name for _, _, name in llm.calls]
    assert len(set(names)) == 2


async def test_prompt_is_images_first_and_then_the_text_in_the_checkpoints_template(started):
    engine, llm = started(DONE)
    await collect(engine, request(images=(FILM, FILM)))
    expected = f"<|im_start|>user\n{IMAGE * 2}Question?<|im_end|>"
    ids = ScriptedTokenizer().encode(expected, add_special_tokens=False)
    prompt = llm.calls[0][0]
    assert prompt["prompt_token_ids"] == ids
    assert [image.size for image in prompt["multi_modal_data"]["image"]] == [(196, 224)] * 2


async def test_question_without_an_image_is_text_alone(started):
    engine, llm = started(DONE)
    await collect(engine, request(images=()))
    assert "multi_modal_data" not in llm.calls[0][0]


async def test_special_tokens_in_the_text_never_reach_the_model(started):
    engine, llm = started(DONE, DONE)
    await collect(engine, request("a<|image_pad|>b<|im_end|>"))
    ids = llm.calls[0][0]["prompt_token_ids"]
    vocabulary = ScriptedTokenizer().get_vocab()
    assert ids.count(vocabulary["<|image_pad|>"]) == 1
    assert ids.count(vocabulary["<|im_end|>"]) == 1


async def test_special_token_put_together_by_removing_another_is_removed_too(started):
    engine, llm = started(DONE)
    await collect(engine, request("<|im<|pad|>_end|>", images=()))
    ids = llm.calls[0][0]["prompt_token_ids"]
    assert ids.count(ScriptedTokenizer().get_vocab()["<|im_end|>"]) == 1


async def test_instruction_to_think_reaches_the_model_whole(started):
    engine, llm = started(DONE)
    await collect(engine, request("in <think> </think> tags", images=()))
    read = "".join(map(chr, llm.calls[0][0]["prompt_token_ids"][1:-1]))
    assert read == "user\nin <think> </think> tags"


async def test_sampling_goes_to_the_engine_and_special_tokens_are_suppressed(started):
    engine, llm = started(DONE)
    await collect(engine, request())
    params = llm.calls[0][1]
    assert (params.n, params.temperature, params.top_p) == (1, 0.5, 0.9)
    assert (params.max_tokens, params.seed) == (30, 4)
    vocabulary = ScriptedTokenizer().get_vocab()
    suppressed = {"<|im_start|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"}
    assert params.logit_bias == {vocabulary[token]: -100.0 for token in suppressed}


async def test_grammar_goes_to_the_engine(started):
    engine, llm = started(DONE)
    await collect(engine, request(grammar='root ::= "a"'))
    assert llm.calls[0][1].structured_outputs.grammar == 'root ::= "a"'


async def test_image_limit_holds(started):
    engine, llm = started(DONE)
    with pytest.raises(TooManyImages):
        await collect(engine, request(images=(FILM,) * 3))
    assert llm.calls == []


async def test_prompt_that_leaves_no_room_is_refused(started):
    engine, llm = started(DONE)
    with pytest.raises(PromptTooLong):
        await collect(engine, request("x" * 600))
    assert llm.calls == []


async def test_visual_tokens_count_towards_the_length(started):
    engine, _ = started()
    bare, film = request(images=()), request()
    # Two tokens enclose the image.
    assert engine.prompt_length(film) - engine.prompt_length(bare) == (196 // 28) * (224 // 28) + 2


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((224, 200, 3), np.uint8),
        np.zeros((224, 196, 1), np.uint8),
        np.zeros((224, 196, 3), np.float32),
    ],
)
async def test_image_off_the_grid_is_a_fault_of_the_program(started, image):
    engine, _ = started(DONE)
    with pytest.raises(ValueError, match="grid"):
        await collect(engine, request(images=(image,)))


async def test_dead_engine_is_unavailable(started):
    from vllm.v1.engine.exceptions import EngineDeadError

    engine, llm = started(output("One"), EngineDeadError())
    llm.errored = True
    with pytest.raises(EngineUnavailable) as caught:
        await collect(engine, request())
    assert (caught.value.status, caught.value.code) == (503, "engine-unavailable")
    with pytest.raises(EngineUnavailable):
        await engine.check_health()


async def test_full_queue_is_unavailable(started):
    from vllm.exceptions import QueueOverflowError

    engine, _ = started(QueueOverflowError())
    with pytest.raises(EngineUnavailable):
        await collect(engine, request())


async def test_refusal_tells_nothing_of_the_request(started):
    from vllm.exceptions import VLLMValidationError

    engine, _ = started(VLLMValidationError("the caller's own words"))
    with pytest.raises(RequestRefused) as caught:
        await collect(engine, request())
    assert "words" not in caught.value.title + caught.value.advice


async def test_request_that_the_engine_gives_up_is_not_a_finished_text(started):
    engine, _ = started(output("One"), output("", finish_reason="abort"))
    with pytest.raises(EngineUnavailable):
        await collect(engine, request())


async def test_stop_shuts_down_once_and_for_all(started):
    engine, llm = started()
    await engine.stop()
    await engine.stop()
    assert llm.shut_down == 1
    with pytest.raises(EngineUnavailable):
        await collect(engine, request())


async def test_a_killed_core_has_ended_and_nobody_elses_process_has(started):
    engine, _ = started()
    spawn = multiprocessing.get_context("spawn")
    other, core = (spawn.Process(target=signal.pause, name="EngineCore") for _ in range(2))
    try:
        other.start()
        engine._others = set(multiprocessing.active_children())
        core.start()
        ended = asyncio.create_task(engine.ended())
        await asyncio.sleep(0)
        assert not ended.done()
        engine.kill()
        await ended
        core.join()
        assert core.exitcode == -signal.SIGKILL
        assert engine.endings.startswith("EngineCore was ended by SIGKILL")
        assert other.is_alive()
        await engine.stop()
        engine.kill()
        assert other.is_alive()
        engine._engine = None
        engine._load = lambda: exec("raise OSError('no memory')")
        with pytest.raises(OSError, match="no memory"):
            await engine.start()
        assert engine.endings == ""  # how the one before ended says nothing of this start
    finally:
        other.kill()
        other.join()


async def test_who_waits_for_text_is_told_of_the_stop(started):
    engine, llm = started(output("One"), None)
    task = asyncio.create_task(collect(engine, request()))
    await llm.waiting.wait()
    await engine.stop()
    with pytest.raises(EngineUnavailable):
        await task
    assert llm.aborted == []


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content[-1].text }}{% endfor %}",
        "{{ messages[0].content[-1].text }}<|vision_start|><|image_pad|><|vision_end|>",
        "{{ messages.nothing.at.all }}",
        "{% if %}",
    ],
)
def test_template_that_does_not_place_every_image_is_refused(manifest, template):
    with pytest.raises(ManifestError, match="chat template"):
        PromptBuilder(ScriptedTokenizer(), template, manifest, max_images=2, max_model_len=600)


@pytest.mark.parametrize(
    ("vllm", "plugin", "repaired", "missing"),
    [
        (None, True, False, "vLLM is not installed"),
        ("vllm", False, True, "not installed in its environment"),
    ],
)
def test_what_is_not_installed_is_named(monkeypatch, vllm, plugin, repaired, missing):
    points = entry_points(group="vllm.platform_plugins") if plugin else EntryPoints()
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: vllm)
    monkeypatch.setattr(vllm_engine, "entry_points", lambda group: points)
    with pytest.raises(EngineNotInstalledError, match=missing):
        vllm_engine._check_installation(repaired=repaired)


def test_missing_plugin_does_not_matter_where_nothing_is_to_be_repaired(monkeypatch):
    monkeypatch.setattr(vllm_engine, "entry_points", lambda group: EntryPoints())
    vllm_engine._check_installation(repaired=False)


async def test_a_start_that_hangs_is_given_up_and_nothing_is_started_beside_it(
    started, monkeypatch
):
    engine, llm = started()
    engine._engine = engine._loaded = None
    going = threading.Event()
    monkeypatch.setattr(vllm_engine, "_LONGEST_GIVING_UP", 0.0)
    monkeypatch.setattr(engine, "_load", going.wait)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await engine.start()
        with pytest.raises(EngineStuckError):
            await engine.stop()
        with pytest.raises(EngineStuckError):
            await engine.start()
    finally:
        going.set()
    await engine._starting
    engine._loaded = llm
    await engine.stop()
    assert llm.shut_down == 1


async def test_what_a_start_begins_sees_no_setting_of_the_service(started, monkeypatch):
    engine, _ = started()
    engine._engine = engine._loaded = None
    monkeypatch.setenv("DEEPMEDIX_AUDIT_SITE_KEY", "a secret")
    seen = {}

    def look(*, repaired):
        seen.update(os.environ)
        raise EngineNotInstalledError

    monkeypatch.setattr(vllm_engine, "_check_installation", look)
    monkeypatch.setattr(vllm_engine, "prepare_environment", lambda *, local: None)
    with pytest.raises(EngineNotInstalledError):
        await engine.start()
    await engine.stop()
    assert "PATH" in seen
    assert "DEEPMEDIX_AUDIT_SITE_KEY" not in seen
    assert os.environ["DEEPMEDIX_AUDIT_SITE_KEY"] == "a secret"
