"""The form keeps each reader's answers apart, loses none, and says what is missing."""

from pathlib import Path
from typing import Any

import pytest

from service.reading import Task
from tests.training.review.browser import driven
from tests.training.small_store import example, right
from training.review.cases import Case, read_answers
from training.review.form import write_form

SAID = """
const click = id => document.getElementById(id).click();
const enter = code => { part("reader").value = code; part("door").requestSubmit(); };
const choose = (name, value) => {
  const form = forms.get(order[at]);
  form.querySelector(`[name="${name}"][value="${value}"]`).click();
};
const all = () => {
  for (const side of ["left", "right"]) for (const name of rated) choose(`${side}.${name}`, "0.5");
  for (const name of preferred) choose(`preferred.${name}`, "left");
};
let asked = [], agreed = true, saved = "";
confirm = words => { asked.push(words); return agreed; };
HTMLAnchorElement.prototype.click = function () {
  saved = decodeURIComponent(this.href.slice(this.href.indexOf(",") + 1));
};
const visible = () => [...forms].filter(([name, form]) => !form.hidden).map(([name]) => name);
"""


@pytest.fixture
def form(films: Path, tmp_path: Path) -> Path:
    """Six cases, and two to practise on."""
    asked = [example(n, Task.FINDINGS) for n in range(8)]
    cases = [Case(f"case-{n + 1:03d}", n, right(e), right(e), n < 2) for n, e in enumerate(asked)]
    write_form(tmp_path / "review.html", cases, asked, films)
    return tmp_path / "review.html"


def run(form: Path, script: str) -> Any:
    return driven(form, SAID + script, form.parent)


def test_the_next_reader_sees_nothing_of_the_last(form: Path) -> None:
    told = run(
        form,
        """
        const before = visible();
        enter("anna"); all(); click("next"); all(); click("leave");
        const between = visible();
        enter("bert"); click("save");
        const bert = saved, at_bert = Object.keys(answers).length;
        const checked = document.querySelectorAll(":checked").length;
        click("leave"); enter("anna"); click("save");
        return { before, between, bert, at_bert, checked, anna: saved };
        """,
    )
    assert told["before"] == told["between"] == []
    assert (told["bert"], told["at_bert"], told["checked"]) == ("", 0, 0)
    assert told["anna"].count('"reader":"anna"') == 2


def test_ratings_without_a_preference_and_a_comment_alone_are_kept(
    form: Path, tmp_path: Path
) -> None:
    told = run(
        form,
        """
        enter("anna"); choose("left.relevance", "1"); click("next");
        forms.get(order[at]).elements.comment.value = "one\\u2028line \\ud800"; click("save");
        return saved;
        """,
    )
    (tmp_path / "answers.jsonl").write_text(told, "utf-8")
    rated, commented = read_answers([tmp_path / "answers.jsonl"])
    assert rated.left == {"relevance": 1}
    assert (rated.right, rated.preferred) == ({}, {})
    assert commented.comment == "one\u2028line \ufffd"
    assert [rated.place, commented.place] == [1, 2]


def test_an_incomplete_download_says_what_is_missing_and_asks(form: Path) -> None:
    told = run(
        form,
        """
        enter("anna"); for (let n = 0; n < 7; n++) { all(); click("next"); }
        agreed = false; click("next"); click("save");
        const refused = saved; all(); agreed = true;
        asked.push("then"); click("save");
        return { refused, asked, open: missing().length, lines: saved.split("\\n").length - 1 };
        """,
    )
    assert told["refused"] == ""
    assert told["asked"][0].startswith("1 of 6 cases are not complete.")
    assert told["asked"][1:] == ["then"]
    assert (told["open"], told["lines"]) == (0, 8)


def test_every_reader_has_an_order_of_their_own_that_is_recorded(form: Path) -> None:
    told = run(
        form,
        """
        const orders = {};
        for (const code of ["anna", "bert", "carl", "anna"]) {
          enter(code); orders[code] = [...(orders[code] || []), order]; click("leave");
        }
        return orders;
        """,
    )
    assert told["anna"][0] == told["anna"][1]
    every = [orders[0] for orders in told.values()]
    assert len({tuple(order) for order in every}) == 3
    for order in every:
        assert sorted(order[:2]) == ["case-001", "case-002"]  # practice comes first
        assert len(set(order)) == 8


def test_a_case_shows_what_the_source_tells_beside_the_films(films: Path, tmp_path: Path) -> None:
    asked = example(
        1,
        indication="Cough.",
        technique="Upright.",
        comparison="An earlier film.",
        prior_report="No effusion then \ud800.",
    )
    bare = example(2)
    cases = [Case(f"case-{n}", n, right(e), right(e)) for n, e in enumerate((asked, bare))]
    write_form(tmp_path / "review.html", cases, [asked, bare], films)
    page = (tmp_path / "review.html").read_text("utf-8")
    for words in (
        "Indication: Cough.",
        "Technique: Upright.",
        "Comparison: An earlier film.",
        "Prior report: No effusion then",
    ):
        assert page.count(words) == 1
