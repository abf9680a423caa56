"""The reply as a report to read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from service.results import DISCLAIMER, to_markdown, to_reply
from service.results.markdown import _inline


async def test_a_report_reads_from_title_to_provenance(read_study) -> None:
    text = to_markdown(to_reply(await read_study()))
    parts = [
        "# Chest radiograph report",
        DISCLAIMER,
        "## Findings",
        "The heart is enlarged. Small left pleural effusion.",
        "## Impression",
        "## Reasoning",
        "### Findings",
        "1. The heart is enlarged — `[120, 200, 360, 360]`",
        "### Impression",
        "4. The heart is enlarged",
        "## Provenance",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "## Warnings" not in text


async def test_an_answer_has_a_title_of_its_own(ask) -> None:
    text = to_markdown(to_reply(await ask("<think> Clear </think>. \\boxed{No}")))
    assert text.startswith("# Answer about a chest radiograph\n")
    assert "\nNo\n" in text


async def test_warnings_are_listed(read_study) -> None:
    text = to_markdown(to_reply(await read_study("<think> Endless", finish_reason="length")))
    assert "- `retried-constrained`:" in text


async def test_boxes_on_several_films_name_their_film(read_study) -> None:
    reply = to_reply(await read_study(sizes=((448, 448), (448, 448))))
    assert "image 1 `[120, 200, 360, 360]`" in to_markdown(reply)


async def test_what_the_model_says_is_never_markup(ask) -> None:
    hostile = "<script>alert(1)</script> ![x](http://x) **bold** # no [a](b) `c` | d"
    text = to_markdown(to_reply(await ask(f"<think> So </think>. \\boxed{{{hostile}}}")))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html
    assert "<img" not in html
    assert "<a " not in html
    assert "alert(1)" in html


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_any_text_is_shown_as_it_stands(text: str) -> None:
    shown = " ".join(text.split())
    tokens = MarkdownIt("commonmark").parse(_inline(text))
    content = [child for token in tokens for child in token.children or []]
    assert all(child.type in {"text", "text_special"} for child in content)
    assert "".join(child.content for child in content) == shown
