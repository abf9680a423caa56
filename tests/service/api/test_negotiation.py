import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.negotiation import EVENTS, JSON, MARKDOWN, PNG, READING_FORMATS, choose_format
from service.problem import Problem


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("image/png", PNG),
        ("image/*", PNG),
        ("text/markdown", MARKDOWN),
        ("text/*", MARKDOWN),
        ("text/event-stream", EVENTS),
        ("TEXT/EVENT-STREAM; charset=utf-8", EVENTS),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
        ("application/json;q=0.5, image/png", PNG),
        ("*/*, application/json;q=0", PNG),
        ("image/png;q=nonsense, text/markdown;q=0.1", MARKDOWN),
    ],
)
def test_the_caller_gets_the_format_it_likes_best(accept, chosen):
    assert choose_format(accept) == chosen


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "application/json;q=0"])
def test_nothing_in_common_is_406(accept):
    with pytest.raises(Problem) as caught:
        choose_format(accept)
    assert caught.value.status == 406
    assert accept not in caught.value.advice


@given(st.text(max_size=60))
def test_any_accept_header_gives_an_offered_format_or_406(accept):
    try:
        chosen = choose_format(accept)
    except Problem as problem:
        chosen = problem.code
    assert chosen in {*READING_FORMATS, "not-acceptable"}
