"""What is read the short way is read as the long way reads it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from training import labels
from training.rewards.wording import sentences

WORDS = st.lists(
    st.sampled_from(
        [
            "Small",
            "large",
            "effusion",
            "No",
            "on",
            "at",
            "in",
            " the left",
            " the right",
            "the",
            " ",
            "  ",
            "\t",
            "\n",
            ".",
            ";",
            ",",
            "!",
            "?",
            "1",
            "2",
            "1.5",
            ".5",
            "and",
            "cm",
        ]
    ),
    max_size=25,
).map("".join)


@given(WORDS)
def test_sentences_of_plain_signs_are_those_of_any_signs(text: str) -> None:
    # A sign that is not ASCII sends the text the long way, and ends a sentence that has ended.
    assert sentences(text) == sentences(text + "\u2026")


@given(WORDS)
def test_no_ellipsis_is_passed_over(text: str) -> None:
    if labels._with_ellipses_filled(text) != text:
        assert labels._has_ellipsis(text)


def test_an_ellipsis_is_seen() -> None:
    text = "No effusion on the left; small on the right."
    assert labels._has_ellipsis(text)
    assert labels.finding_labels(text) == {"right pleural effusion"}
