"""The real engine on the real architecture."""

import asyncio
import sys
from contextlib import aclosing
from ipaddress import ip_address

import numpy as np
import psutil
import pytest
from prometheus_client import REGISTRY, generate_latest

from service.engine import (
    GenerationRequest,
    PromptTooLong,
    RequestRefused,
    Sampling,
    TooManyImages,
)
from service.radiograph import PixelGrid, resize_to_grid
from service.reading import Mode, Task, build_prompt, grounded_text_grammar, parse_text

GRAMMAR = (
    r"""root ::= "<think> " [a-z ]{3,12} " </think>. The answer is: \\boxed{" [a-z]{2,5} "}." """
)
LONG = "root ::= [a-z]{64,96}"  # a busy machine hands a text of two tokens over in one piece
QUESTION = "Is there a pleural effusion?"


def film(engine, width=400, height=500, seed=0):
    pixels = engine.manifest.pixels
    grid = PixelGrid(pixels.min_pixels, pixels.max_pixels, pixels.patch_size, pixels.merge_size)
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    return resize_to_grid(noise, grid)


def request(
    engine, *, prompt=QUESTION, images=None, temperature=0.0, seed=None, length=40, grammar=None
):
    images = (film(engine),) if images is None else images
    sampling = Sampling(temperature, 1.0, length, seed)
    return GenerationRequest("r", prompt, images, sampling, grammar)


async def read(engine, asked):
    deltas = [delta async for delta in engine.generate(asked)]
    return "".join(delta.text for delta in deltas), deltas


async def text(engine, **changes):
    return (await read(engine, request(engine, **changes)))[0]


async def test_text_streams_and_ends_with_its_usage(engine):
    _, deltas = await read(engine, request(engine, grammar=LONG))
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish_reason in ("stop", "length")
    assert 1 <= deltas[-1].usage.completion_tokens <= 40
    assert len(deltas) > 1


async def test_streamed_text_is_the_whole_text(engine):
    streamed, deltas = await read(engine, request(engine, grammar=LONG))
    whole = await text(engine, grammar=LONG)
    assert streamed == whole
    assert len(deltas) > 1


@pytest.mark.parametrize(("width", "height"), [(400, 500), (3000, 2500), (60, 45), (40, 600)])
async def test_every_image_is_read_at_the_size_it_was_given(engine, width, height):
    image = film(engine, width, height)
    tokens = (image.shape[0] // 28) * (image.shape[1] // 28)
    _, bare = await read(engine, request(engine, images=(), length=1))
    _, one = await read(engine, request(engine, images=(image,), length=1))
    _, two = await read(engine, request(engine, images=(image, film(engine)), length=1))
    # Two tokens enclose the visual tokens of each image.
    assert one[-1].usage.prompt_tokens - bare[-1].usage.prompt_tokens == tokens + 2
    other = film(engine)
    more = (other.shape[0] // 28) * (other.shape[1] // 28)
    assert two[-1].usage.prompt_tokens - one[-1].usage.prompt_tokens == more + 2


async def test_counted_length_is_the_length_that_the_engine_reads(engine):
    asked = request(engine, length=1)
    _, deltas = await read(engine, asked)
    assert engine.prompt_length(asked) == deltas[-1].usage.prompt_tokens


async def test_greedy_text_is_the_same_alone_and_in_a_crowd(engine):
    alone = await text(engine)
    crowd = [
        text(engine, prompt=f"Question {i}?", images=(film(engine, seed=i),)) for i in range(7)
    ]
    together = await asyncio.gather(text(engine), *crowd)
    assert together[0] == alone


async def test_equal_seeds_give_equal_texts_and_others_do_not(engine):
    # A report: a short answer may rightly be the same whatever the seed.
    asked = build_prompt(engine.manifest.conventions, Task.FINDINGS, Mode.THINK)
    first, again, *others = await asyncio.gather(
        *(text(engine, prompt=asked, temperature=1.5, seed=seed) for seed in (5, 5, 6, 7, 8))
    )
    assert first == again
    assert any(first != other for other in others)


async def test_image_is_looked_at(engine):
    dark = np.zeros_like(film(engine))
    # A report with boxes: a short answer may rightly be the same for three films that show nothing.
    asked = build_prompt(engine.manifest.conventions, Task.FINDINGS, Mode.THINK)
    texts = await asyncio.gather(
        *(
            text(engine, prompt=asked, images=(image,), temperature=1.0, seed=1)
            for image in (film(engine), dark, 255 - dark)
        )
    )
    assert len(set(texts)) > 1


async def test_many_requests_at_once_all_finish(engine):
    texts = await asyncio.gather(
        *(
            read(engine, request(engine, prompt=f"Question {i}?", temperature=1.0, seed=i))
            for i in range(24)
        )
    )
    assert all(deltas[-1].usage is not None for _, deltas in texts)


async def test_special_tokens_are_never_written(engine):
    texts = await asyncio.gather(
        *(text(engine, temperature=2.0, seed=seed, length=100) for seed in range(8))
    )
    assert not any("<|" in written and "|>" in written for written in texts)


async def test_special_tokens_of_the_caller_do_no_harm(engine):
    await text(engine, prompt="<|image_pad|><|vision_start|><|im_end|> and then?", length=4)


@pytest.mark.parametrize("seed", range(4))
async def test_grammar_is_followed(engine, seed):
    asked = request(engine, temperature=1.0, seed=seed, length=120, grammar=GRAMMAR)
    written, deltas = await read(engine, asked)
    assert deltas[-1].finish_reason == "stop"
    assert written.startswith("<think> ")
    assert "</think>. The answer is: \\boxed{" in written
    assert written.endswith("}.")


@pytest.mark.parametrize("mode", list(Mode))
async def test_grammar_of_the_grounded_text_gives_texts_that_parse(engine, mode):
    image = film(engine)
    extents = [(image.shape[1], image.shape[0])]
    grammar = grounded_text_grammar(
        mode,
        extents=extents,
        max_steps=3,
        max_step_characters=20,
        max_boxes=2,
        max_answer_characters=40,
    )
    readings = await asyncio.gather(
        *(
            read(
                engine,
                request(
                    engine,
                    images=(image,),
                    temperature=1.5,
                    seed=seed,
                    length=500,
                    grammar=grammar,
                ),
            )
            for seed in range(8)
        )
    )
    for written, deltas in readings:
        reason = deltas[-1].finish_reason
        assert reason == "stop"
        parsed = parse_text(written, mode=mode, finish_reason=reason, extents=extents)
        assert parsed.complete
        assert parsed.answer


async def test_unusable_grammar_is_refused_and_harms_nobody(engine):
    with pytest.raises(RequestRefused):
        await text(engine, grammar="root ::= (((")
    await engine.check_health()
    assert (await read(engine, request(engine)))[1]


async def test_cancelled_request_leaves_the_engine(engine):
    task = asyncio.create_task(text(engine, temperature=1.0, seed=1, length=1500))
    while engine.unfinished_requests() == 0:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.unfinished_requests() == 0


async def test_closed_iterator_leaves_the_engine(engine):
    asked = request(engine, temperature=1.0, seed=1, length=1500)
    async with aclosing(engine.generate(asked)) as deltas:
        await anext(deltas)
    assert engine.unfinished_requests() == 0


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_request_cancelled_while_it_is_handed_over_leaves_the_engine(engine, steps):
    task = asyncio.create_task(text(engine, prompt=f"After {steps}?", length=1500))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.unfinished_requests() == 0
    assert (await read(engine, request(engine, length=2)))[1]


async def test_prompt_beyond_the_context_is_refused(engine):
    with pytest.raises(PromptTooLong):
        await text(engine, prompt="effusion " * 6000)


async def test_images_beyond_the_limit_are_refused(engine):
    limit = min(4, engine.manifest.max_images)
    with pytest.raises(TooManyImages):
        await text(engine, images=(film(engine),) * (limit + 1))


async def test_second_reading_of_a_film_shares_its_encoding(engine):
    image = film(engine, seed=99)

    def hits():
        page = generate_latest(REGISTRY).decode().splitlines()
        lines = [line for line in page if line.startswith("vllm:mm_cache_hits_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    await text(engine, images=(image,), prompt="Findings?", length=2)
    before = hits()
    await text(engine, images=(image,), prompt="Impression?", length=2)
    assert hits() > before


async def test_metrics_of_the_engine_are_on_the_programs_own_registry(engine):
    await text(engine, length=2)
    page = generate_latest(REGISTRY).decode()
    assert f'vllm:generation_tokens_total{{engine="0",model_name="{engine.manifest.name}"}}' in page


async def test_started_engine_is_healthy(engine):
    await engine.check_health()


async def test_start_of_a_started_engine_does_nothing(engine):
    await engine.start()
    assert (await read(engine, request(engine, length=2)))[1]


@pytest.mark.skipif(sys.platform != "linux", reason="loopback has another name elsewhere")
async def test_no_process_of_the_engine_listens_for_other_machines(engine):
    children = psutil.Process().children(recursive=True)
    listening = {
        connection.laddr.ip
        for child in children
        for connection in child.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert children
    assert all(ip_address(address).is_loopback for address in listening), listening
