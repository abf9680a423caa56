"""CheXbert and RadGraph judge reports where they are installed, through their own interfaces."""

import sys
from types import ModuleType

import pytest

from training.rewards.gallery import CONVENTIONS, FILM, GRID, PRESENCE
from training.rewards.protocol import Rollout, load_reward

ANSWERED = (
    "<think> The heart is enlarged [130, 180, 330, 330] </think>. The answer is: \\boxed{{{}}}"
)


class ScriptedCheXbert:
    """Finds cardiomegaly and effusions by their words alone."""

    def get_label(self, report, mode="rrg"):
        return [int("heart" in report.lower()), int("effusion" in report.lower()), *[0] * 12]


class ScriptedRadGraph:
    """Agreement is the share of the reference's length."""

    def __init__(self, reward_level, model_type=None):
        assert reward_level in ("simple", "partial", "complete", "all")

    def __call__(self, refs, hyps):
        values = [len(said) / len(known) for said, known in zip(hyps, refs, strict=True)]
        return sum(values) / len(values), values, [], []


@pytest.fixture
def installed(monkeypatch):
    """The two packages, as scripted modules."""
    for package, name, scripted in (
        ("f1chexbert", "F1CheXbert", ScriptedCheXbert),
        ("radgraph", "F1RadGraph", ScriptedRadGraph),
    ):
        module = ModuleType(package)
        setattr(module, name, scripted)
        monkeypatch.setitem(sys.modules, package, module)
    yield
    for name in ("chexbert", "radgraph_entities"):
        sys.modules.pop(f"training.rewards.{name}", None)


def rollouts(*answers, example=FILM):
    return [Rollout(ANSWERED.format(said), example, CONVENTIONS, GRID) for said in answers]


@pytest.mark.usefixtures("installed")
def test_chexbert_judges_the_findings_of_reports():
    scores = load_reward("grounded-chexbert")(rollouts("The heart. An effusion.", "The heart."))
    assert [score["findings"] for score in scores] == [1, pytest.approx(2 / 3)]


@pytest.mark.usefixtures("installed")
def test_radgraph_judges_the_findings_of_reports():
    (score,) = load_reward("grounded-radgraph", findings=1.0)(rollouts(FILM.answer))
    assert score["findings"] == 1


@pytest.mark.usefixtures("installed")
def test_answers_to_questions_are_judged_as_ever():
    for name in ("grounded-chexbert", "grounded-radgraph"):
        (score,) = load_reward(name)(rollouts("Yes.", example=PRESENCE))
        assert score["findings"] == 1


@pytest.mark.parametrize("name", ["grounded-chexbert", "grounded-radgraph"])
def test_a_judge_that_is_not_installed_is_named(name, monkeypatch):
    package = {"grounded-chexbert": "f1chexbert", "grounded-radgraph": "radgraph"}[name]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=package):
        load_reward(name)
