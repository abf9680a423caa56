"""The grammar says what the parser reads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.reading import Mode, grounded_text_grammar, parse_text, write_grounded_text
from service.reading.grammar import whole_numbers

xgrammar_testing = pytest.importorskip("xgrammar.testing", reason="comes with the engine")
xgrammar = pytest.importorskip("xgrammar", reason="comes with the engine")

EXTENTS = [(224.0, 196.0)]


@pytest.fixture(scope="module")
def accepts():  # type: ignore[no-untyped-def]  # the type is xgrammar's
    grammars = {
        mode: xgrammar.Grammar.from_ebnf(grounded_text_grammar(mode, extents=EXTENTS))
        for mode in Mode
    }
    return lambda mode, text: xgrammar_testing._is_grammar_accept_string(grammars[mode], text)


@settings(deadline=None)
@given(
    x=st.lists(st.integers(0, 224), min_size=2, max_size=2, unique=True),
    y=st.lists(st.integers(0, 196), min_size=2, max_size=2, unique=True),
)
def test_every_box_in_the_image_can_be_written(accepts, x, y) -> None:  # type: ignore[no-untyped-def]  # see above
    text = write_grounded_text([("A mass", [(x[0], y[0], x[1], y[1])]), ("Clear", [])], "Mass.")
    assert accepts(Mode.THINK, text)


@pytest.mark.parametrize(
    "box",
    [
        "[225, 0, 1, 1]",
        "[0, 197, 1, 1]",
        "[01, 0, 1, 1]",
        "[-1, 0, 1, 1]",
        "[1, 2, 3]",
        "[1.5, 0, 1, 1]",
    ],
)
def test_no_other_box_can(accepts, box: str) -> None:  # type: ignore[no-untyped-def]  # see above
    assert not accepts(Mode.THINK, f"<think> A mass {box} </think>. The answer is: \\boxed{{x}}")


@pytest.mark.parametrize(
    "text", ["plain", "<think> a </think>", "<think> a </think>. The answer is: \\boxed{}", ""]
)
def test_reasoning_and_answer_must_be_whole(accepts, text: str) -> None:  # type: ignore[no-untyped-def]  # see above
    assert not accepts(Mode.THINK, text)


def test_an_answer_alone_is_plain_text(accepts) -> None:  # type: ignore[no-untyped-def]  # see above
    assert accepts(Mode.ANSWER, "Heart size is normal; no effusion.\nClear.")
    assert not accepts(Mode.ANSWER, "<|im_start|>")


_WORD = st.text(alphabet="abcXYZ0123456789%'\"/+=>", min_size=1, max_size=8)
_PLAIN = st.lists(st.one_of(_WORD, st.just("<3")), min_size=1, max_size=5).map(" ".join)


def _reads_back(steps: list[tuple[str, list[tuple[int, ...]]]], answer: str) -> str | None:
    try:
        return write_grounded_text(steps, answer)
    except ValueError:
        return None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(_PLAIN, st.lists(st.tuples(*[st.integers(0, 196)] * 4), max_size=3)), max_size=4
    ),
    st.lists(_PLAIN, min_size=1, max_size=3).map(".\n".join),
)
def test_all_that_training_writes_in_plain_words_is_accepted(accepts, steps, answer) -> None:  # type: ignore[no-untyped-def]  # see above
    text = _reads_back(steps, answer)
    if text is not None:
        assert accepts(Mode.THINK, text)
        assert accepts(Mode.THINK, text + ".")


def test_texts_end_after_a_bounded_number_of_bounded_words() -> None:
    grammar = xgrammar.Grammar.from_ebnf(
        grounded_text_grammar(
            Mode.THINK, extents=EXTENTS, max_steps=2, max_step_characters=15, max_boxes=1
        )
    )

    def accepted(reasoning: str) -> bool:
        text = f"<think> {reasoning} </think>. The answer is: \\boxed{{x}}"
        return bool(xgrammar_testing._is_grammar_accept_string(grammar, text))

    box = " [1, 2, 3, 4]"
    assert accepted(f"one two three{box}; {'a' * 32}")
    assert not accepted("one two three four")
    assert not accepted("a" * 33)
    assert not accepted(f"one{box}{box}")
    assert not accepted("one; two; three")


def test_no_step_at_all_is_accepted(accepts) -> None:  # type: ignore[no-untyped-def]  # see above
    assert accepts(Mode.THINK, write_grounded_text([], "Frontal"))


@pytest.fixture(scope="module")
def compiled():  # type: ignore[no-untyped-def]  # the type is xgrammar's
    alphabet = [chr(code) for code in range(32, 127)] + ["\n", "\u00e9"]
    pieces = ["<think>", "</think>", "; ", ", ", " [", "\\boxed{", "[1, ", "12", "heart", "</s>"]
    vocabulary = alphabet + pieces
    info = xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[len(vocabulary) - 1])
    grammar = grounded_text_grammar(
        Mode.THINK,
        extents=EXTENTS,
        max_steps=3,
        max_step_characters=6,
        max_boxes=2,
        max_answer_characters=8,
    )
    return vocabulary, xgrammar.GrammarCompiler(info).compile_grammar(grammar)


@settings(deadline=None, max_examples=40)
@given(st.randoms(use_true_random=False))
def test_whatever_the_grammar_allows_ends_and_reads_with_ordered_boxes_in_the_image(
    compiled, random
) -> None:  # type: ignore[no-untyped-def]  # see above
    vocabulary, grammar = compiled
    matcher = xgrammar.GrammarMatcher(grammar)
    mask = xgrammar.allocate_token_bitmask(1, len(vocabulary))
    said = []
    for _ in range(400):
        matcher.fill_next_token_bitmask(mask)
        allowed = [n for n in range(len(vocabulary)) if int(mask[0, n // 32]) >> (n % 32) & 1]
        token = random.choice(allowed)
        matcher.accept_token(token)
        if matcher.is_terminated():
            break
        said.append(vocabulary[token])
    assert matcher.is_terminated()
    parsed = parse_text("".join(said), mode=Mode.THINK, extents=EXTENTS)
    assert parsed.complete
    assert {notice.code for notice in parsed.notices} <= {"box-inverted", "box-empty"}
    for box in (box for step in parsed.steps for box in step.boxes):
        assert 0 <= box.values[0] <= box.values[2] <= 224
        assert 0 <= box.values[1] <= box.values[3] <= 196


@pytest.mark.parametrize("most", [0, 7, 10, 99, 196, 224, 512, 1000, 1008])
def test_numbers_are_bounded_digit_by_digit(most: int) -> None:
    grammar = xgrammar.Grammar.from_ebnf(f"root ::= {whole_numbers(most)}")
    read = [
        n
        for n in range(3 * most + 20)
        if xgrammar_testing._is_grammar_accept_string(grammar, str(n))
    ]
    assert read == list(range(most + 1))


@pytest.mark.parametrize(
    "wrong", [{"extents": []}, {"extents": [(0.0, 5.0)]}, {"max_steps": 0}, {"max_boxes": 0}]
)
def test_a_grammar_of_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        grounded_text_grammar(Mode.THINK, **{"extents": EXTENTS, **wrong})  # type: ignore[arg-type]  # on purpose
