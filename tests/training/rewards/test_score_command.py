"""``deepmedix rewards score``: one text of one's own, by the published reward or by ours."""

import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from training.architecture import GRID
from training.conventions import EMBEDDED_CONVENTIONS
from training.data.store import write_examples
from training.rewards.cli import rewards
from training.rewards.gallery import FILM
from training.stages.text_targets import completion_text


@pytest.mark.parametrize("arguments", [("-", "reference"), ("said", "-")])
def test_a_text_may_come_on_standard_input(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    texts = {"said": "<think> a </think>\\boxed{yes}", "reference": "yes"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (piped,) = texts.keys() - set(arguments)
    scored = CliRunner().invoke(rewards, ["score", *arguments], input=texts[piped] + "\n")
    assert re.search(r"accuracy +1\.5", scored.output)


@pytest.mark.parametrize("shown", ["id", "hash"])
def test_a_text_is_scored_by_our_reward_against_an_example_of_a_store(tmp_path, shown):
    film = replace(FILM, id="gallery/one/findings")
    write_examples(tmp_path / "store", [film], images_root=tmp_path)
    (tmp_path / "said").write_text(completion_text(film, EMBEDDED_CONVENTIONS, GRID))
    named = film.id if shown == "id" else film.content_hash()[:12]
    arguments = ["score", str(tmp_path / "said"), named, "--data", str(tmp_path / "store")]
    arguments += ["--manifest", "embedded", "--reward"]
    ours = CliRunner().invoke(rewards, [*arguments, "grounded"])
    assert ours.exit_code == 0, ours.output
    assert float(re.search(r"overall +(\S+)", ours.output)[1]) > 0.9
    assert re.search(r"places +0\.9|places +1\.", ours.output)
    published = CliRunner().invoke(rewards, [*arguments, "paper"])
    assert re.search(r"overall +1\.6", published.output)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("said", "said", "--reward", "grounded"), "--data"),
        (("yes", "said"), "names a file"),
        (("-", "-"), "not both"),
        (("said", "nobody", "--data", "store"), "no example nobody"),
        (("said", "one", "--data", "store", "--reward", "golden"), "no reward"),
        (("said", "gallery", "--data", "store", "--manifest", "so/me"), "--manifest"),
        (("said", "gallery", "--data", "elsewhere"), "--data"),
    ],
)
def test_what_cannot_be_scored_is_told_in_words(tmp_path, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    (tmp_path / "said").write_text("<think> a </think>\\boxed{yes}")
    write_examples(tmp_path / "store", [FILM], images_root=tmp_path)
    done = CliRunner().invoke(rewards, ["score", *arguments])
    assert done.exit_code == 2
    assert word in done.output
