"""Ways to be paid for nothing, and what each reward pays for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.radiograph import PixelGrid
from service.reading import BoxSpace, Conventions, Mode, Prompts, Task
from training.data.example import Example, ReasoningTarget
from training.rewards.grounded import grounded
from training.rewards.paper import paper
from training.rewards.protocol import Rollout

CONVENTIONS = Conventions(
    box_space=BoxSpace.PROCESSOR,
    prompts=Prompts(
        findings="Write the FINDINGS of this chest radiograph.",
        impression="Write the IMPRESSION of this chest radiograph.",
        think_instruction="Think in steps with boxes [x_min, y_min, x_max, y_max].",
    ),
)
GRID = PixelGrid(min_pixels=28 * 28 * 16, max_pixels=448 * 448)
"""At which the gallery's film of 448 x 448 is read as it is."""

_REPORT = (
    "The heart is enlarged. There is a moderate left pleural effusion. There is a mass in the "
    "right upper zone. No pneumothorax."
)
_STEPS = (
    ReasoningTarget("The heart is enlarged", ((0, (130, 180, 330, 330)),)),
    ReasoningTarget("There is a mass in the right upper zone", ((0, (90, 90, 150, 150)),)),
    ReasoningTarget("There is a moderate left pleural effusion", ((0, (270, 260, 400, 380)),)),
)
FILM = Example(
    id="gallery",
    images=("film.png",),
    sizes=((448, 448),),
    task=Task.FINDINGS,
    mode=Mode.THINK,
    answer=_REPORT,
    steps=_STEPS,
    split="test",
    subject="none",
    view="PA",
    labels=("cardiomegaly", "left pleural effusion", "right mass"),
    regions=(
        ("cardiomegaly", (130, 180, 330, 330)),
        ("right mass", (90, 90, 150, 150)),
        ("left pleural effusion", (270, 260, 400, 380)),
    ),
)
NORMAL = Example(
    id="gallery-normal",
    images=("film.png",),
    sizes=((448, 448),),
    task=Task.FINDINGS,
    mode=Mode.THINK,
    answer="The heart is normal in size. The lungs are clear. No pleural effusion or pneumothorax.",
    steps=(
        ReasoningTarget("The heart is normal in size", ((0, (150, 180, 300, 330)),)),
        ReasoningTarget("The lungs are clear", ((0, (40, 40, 410, 380)),)),
    ),
    split="test",
    subject="none",
    view="PA",
)
DEVICE = replace(
    NORMAL, id="gallery-device", answer="Median sternotomy wires are intact.", steps=()
)

PRESENCE = replace(
    FILM,
    id="gallery-presence",
    task=Task.VQA,
    question="Is there a mass?",
    question_type="presence",
    answer="Yes",
    steps=(_STEPS[1],),
)
ABSENCE = replace(
    PRESENCE,
    id="gallery-absence",
    question="Is there a pneumothorax?",
    answer="No",
    steps=(ReasoningTarget("The lungs are clear"),),
)
SIDE = replace(
    PRESENCE,
    id="gallery-side",
    question="On which side is the pleural effusion?",
    question_type="side",
    answer="Left",
    steps=(_STEPS[2],),
)
KINDS = replace(
    PRESENCE,
    id="gallery-kinds",
    question="Which findings are present?",
    question_type="type",
    answer="Cardiomegaly | Mass | Pleural effusion",
    steps=_STEPS,
)

ONE_SIDE = replace(SIDE, question="Is there a left pleural effusion?", answer="Yes")

_HEART = "The heart is enlarged [130, 180, 330, 330]"
_MASS = "There is a mass in the right upper zone [90, 90, 150, 150]"
_FLUID = "There is a moderate left pleural effusion [270, 260, 400, 380]"
_EVERYTHING = " ".join(
    f"There is a {side} {kind}."
    for side in ("left", "right")
    for kind in ("pleural effusion", "pneumothorax", "consolidation", "nodule", "mass")
)
_NAMED = "An enlarged heart, a moderate left pleural effusion and a mass in the right upper zone"
_FULL_WIDTH = str.maketrans({str(digit): chr(0xFF10 + digit) for digit in range(10)})
_ABSENT = ("pneumothorax", "consolidation", "nodule", "edema", "fracture")


def _large_boxes(number: int) -> str:
    x = 20 * number
    return f"[{x}, 10, {x + 200}, 400] [{x}, 5, {x + 300}, 440]"


@dataclass(frozen=True)
class Exhibit:
    """A completion of the gallery.

    Attributes
    ----------
    name
        What it tries.
    completion
        The text.
    example
        What it answers.
    honest
        Whether it is a real reading, there to compare with.
    """

    name: str
    completion: str
    example: Example = FILM
    honest: bool = False


def _text(steps: Sequence[str], answer: str) -> str:
    return f"<think> {'; '.join(steps)} </think>. The answer is: \\boxed{{{answer}}}"


EXHIBITS = (
    Exhibit("a right reading", _text([_HEART, _MASS, _FLUID], _REPORT), honest=True),
    Exhibit(
        "a right reading, boxes some pixels off",
        _text(
            [
                "The heart is enlarged [138, 172, 338, 322]",
                "There is a mass in the right upper zone [84, 96, 144, 156]",
                "There is a moderate left pleural effusion [262, 270, 392, 390]",
            ],
            _REPORT,
        ),
        honest=True,
    ),
    Exhibit(
        "a right reading of a normal film",
        _text(
            [
                "The heart is normal in size [150, 180, 300, 330]",
                "The lungs are clear [40, 40, 410, 380]",
            ],
            "Heart size is normal. The lungs are clear. No effusion or pneumothorax.",
        ),
        NORMAL,
        honest=True,
    ),
    Exhibit(
        "a right reading that names no finding",
        _text(["The wires are intact"], "Median sternotomy wires are intact."),
        DEVICE,
        honest=True,
    ),
    Exhibit(
        "box spam",
        _text(
            [_HEART, _MASS, _FLUID]
            + [
                f"Here is a region [{x}, {y}, {x + 60}, {y + 60}]"
                for x in range(0, 360, 90)
                for y in range(0, 360, 90)
            ],
            _REPORT,
        ),
    ),
    Exhibit(
        "spam within the steps",
        _text(
            [
                step + "".join(f" [{x}, {x}, {x + 50}, {x + 50}]" for x in range(0, 390, 30))
                for step in (_HEART, _MASS, _FLUID)
            ],
            _REPORT,
        ),
    ),
    Exhibit(
        "whole-film boxes",
        _text(
            [
                "The heart is enlarged [0, 0, 448, 448]",
                "There is a mass in the right upper zone [0, 0, 448, 448]",
                "There is a moderate left pleural effusion [0, 0, 448, 448]",
            ],
            _REPORT,
        ),
    ),
    Exhibit(
        "one large box for every finding",
        _text(
            [
                "The heart is enlarged [60, 60, 400, 400]",
                "There is a mass in the right upper zone [60, 60, 400, 400]",
                "There is a moderate left pleural effusion [60, 60, 400, 400]",
            ],
            _REPORT,
        ),
    ),
    Exhibit(
        "inverted boxes",
        _text(
            [
                "The heart is enlarged [330, 330, 130, 180]",
                "There is a mass in the right upper zone [150, 150, 90, 90]",
                _FLUID,
            ],
            _REPORT,
        ),
    ),
    Exhibit(
        "out-of-range boxes",
        _text(
            [
                "The heart is enlarged [-130, -180, 330, 330]",
                "There is a mass in the right upper zone [90, 90, 150, 512]",
                _FLUID,
            ],
            _REPORT,
        ),
    ),
    Exhibit(
        "large boxes around what is denied",
        _text(
            [_HEART, _MASS, _FLUID]
            + [f"No {kind} {_large_boxes(n)}" for n, kind in enumerate(_ABSENT)],
            _REPORT,
        ),
    ),
    Exhibit(
        "large boxes around a structure, again and again",
        _text(
            [_HEART, _MASS, _FLUID]
            + [f"The trachea is midline, view {n} {_large_boxes(n)}" for n in range(5)],
            _REPORT,
        ),
    ),
    Exhibit("empty answer", _text([_HEART, _MASS, _FLUID], "")),
    Exhibit(
        "three boxes around nothing, empty answer",
        "<think> a [1, 1, 2, 2]; b [1, 1, 2, 2]; c [1, 1, 2, 2] </think> \\boxed{}",
    ),
    Exhibit("everything listed", _text([_EVERYTHING.replace(".", ";")], _EVERYTHING)),
    Exhibit(
        "everything listed in the steps, a right answer",
        _text([_HEART, _MASS, _FLUID, _EVERYTHING.replace(".", ",")], _REPORT),
    ),
    Exhibit("everything listed on a normal film", _text(["All is seen"], _EVERYTHING), NORMAL),
    Exhibit(
        "copied prompt",
        _text(
            ["First think in steps with boxes [10, 10, 60, 60]"],
            "Please act as an experienced radiologist and generate the FINDINGS section.",
        ),
    ),
    Exhibit(
        "copied prompt on a normal film",
        _text(
            ["First think in steps with boxes [10, 10, 60, 60]"],
            "Please act as an experienced radiologist and generate the FINDINGS section.",
        ),
        NORMAL,
    ),
    Exhibit("repeated sentence", _text([_FLUID], "There is a left pleural effusion. " * 12)),
    Exhibit(
        "a report given twice with other signs",
        _text([_HEART, _MASS, _FLUID], f"{_REPORT} {_REPORT.replace('.', '!')}"),
    ),
    Exhibit(
        "length padding",
        _text(
            [_HEART, _MASS, _FLUID],
            _REPORT + " The film was looked at with care and all regions were considered." * 6,
        ),
    ),
    Exhibit("length padding in stops", _text([_HEART, _MASS, _FLUID], _REPORT + "." * 2000)),
    Exhibit(
        "length padding in pictures", _text([_HEART, _MASS, _FLUID], _REPORT + " \U0001fac1" * 500)
    ),
    Exhibit(
        "length padding in line ends",
        _text([_HEART, _MASS, _FLUID], _REPORT).replace(" </think>", "\n" * 2000 + "</think>"),
    ),
    Exhibit(
        "length padding in words of a thousand letters",
        _text([f"{_HEART}, {'a' * 1000} {'b' * 1000}", _MASS, _FLUID], _REPORT),
    ),
    Exhibit(
        "a hundred idle words before a finding",
        _text([f"{'So one looks on and on ' * 20}and sees: {_HEART}", _MASS, _FLUID], _REPORT),
    ),
    Exhibit(
        "a step of a hundred idle words",
        _text([_HEART, _MASS, _FLUID, "So one looks on and on " * 20], _REPORT),
    ),
    Exhibit(
        "think-block stuffing",
        _text(
            [_HEART, _MASS, _FLUID]
            + [f"Next the region number {n} of the lung is considered in turn" for n in range(40)],
            _REPORT,
        ),
    ),
    Exhibit(
        "think-block stuffing within the steps allowed",
        _text(
            [_HEART, _MASS, _FLUID]
            + [f"Next one turns with care to area number {n} of the picture" for n in range(5)],
            _REPORT,
        ),
    ),
    Exhibit(
        "think-block stuffing where the reference has no steps",
        _text(
            ["The wires are intact"]
            + [f"Next one turns with care to area number {n} of the lung" for n in range(15)],
            "Median sternotomy wires are intact.",
        ),
        DEVICE,
    ),
    Exhibit("an empty think-block", _text([], _REPORT)),
    Exhibit("a think-block that says nothing", _text(["Let us look"], _REPORT)),
    Exhibit(
        "a look-alike of one letter in one word",
        _text([_HEART, _MASS, _FLUID], _REPORT.replace("The", "Th\u0435", 1)),
    ),
    Exhibit(
        "words with soft hyphens",
        _text([_HEART, _MASS, _FLUID], _REPORT.replace("effusion", "effu\u00adsion")),
    ),
    Exhibit(
        "words with accents",
        _text([_HEART, _MASS, _FLUID], _REPORT.replace("a", "a\u0301")),
    ),
    Exhibit(
        "unicode look-alikes",
        _text(
            [
                "The h\u0435art is \u0435nlarged [130, 180, 330, 330]",
                "There is a m\u0430ss [90, 90, 150, 150]",
            ],
            _REPORT.replace("e", "\u0435").replace("a", "\u0430").replace("o", "\u043e"),
        ),
    ),
    Exhibit(
        "two answers",
        _text([_HEART, _MASS, _FLUID], NORMAL.answer) + f" \\boxed{{{_REPORT}}}",
    ),
    Exhibit(
        "two answers in one",
        _text([_HEART, _MASS, _FLUID], f"{NORMAL.answer} {_REPORT}"),
    ),
    Exhibit(
        "two answers, one of them within the steps",
        _text([_HEART, _MASS, _FLUID, "\\boxed{Normal chest}"], _REPORT),
    ),
    Exhibit(
        "the film called normal beside its findings",
        _text([_HEART, _MASS, _FLUID], f"{_REPORT} Or: normal chest radiograph."),
    ),
    Exhibit(
        "a report taken back",
        _text([_HEART, _MASS, _FLUID], f"{_REPORT} The above is incorrect; disregard it."),
    ),
    Exhibit(
        "a report taken back in other words",
        _text([_HEART, _MASS, _FLUID], f"{_REPORT} None of this is true."),
    ),
    Exhibit(
        "a report taken back sentence by sentence",
        _text([_HEART, _MASS, _FLUID], _REPORT.replace(".", ": wrong.")),
    ),
    Exhibit(
        "a report that is another patient's",
        _text([_HEART, _MASS, _FLUID], f"{_REPORT} These findings belong to another patient."),
    ),
    Exhibit(
        "a report made up", _text([_HEART, _MASS, _FLUID], f"{_REPORT} I made all of this up.")
    ),
    Exhibit(
        "findings that would be abnormal",
        _text([_HEART, _MASS, _FLUID], f"{_NAMED} would be abnormal. No pneumothorax."),
    ),
    Exhibit(
        "findings to be looked for",
        _text([_HEART, _MASS, _FLUID], f"Look for {_NAMED.lower()}. No pneumothorax."),
    ),
    Exhibit(
        "somebody else's findings",
        _text([_HEART, _MASS, _FLUID], f"The patient's brother has {_NAMED.lower()}."),
    ),
    Exhibit(
        "findings of an earlier film",
        _text([_HEART, _MASS, _FLUID], f"On the prior film there was {_NAMED.lower()}."),
    ),
    Exhibit(
        "findings asked after",
        _text(
            [_HEART, _MASS, _FLUID],
            f"{_REPORT} Is there a nodule? Is there edema? Is there a fracture?",
        ),
    ),
    Exhibit(
        "boxes in digits of another script",
        _text([_HEART.translate(_FULL_WIDTH), _MASS, _FLUID], _REPORT),
    ),
    Exhibit(
        "a right report, all of it denied in the steps",
        _text(
            ["The heart is not enlarged", "There is no mass", "There is no left effusion"], _REPORT
        ),
        replace(FILM, regions=(), labels=()),
    ),
    Exhibit(
        "right steps, all of it denied in the report",
        _text(
            [_HEART, _MASS, _FLUID],
            "The heart is not enlarged. There is no left pleural effusion. There is no mass in "
            "the right upper zone. No pneumothorax.",
        ),
    ),
    Exhibit(
        "steps that contradict each other",
        _text(
            [
                *(_HEART, _MASS, _FLUID),
                *("The heart is not enlarged", "There is no mass", "There is no left effusion"),
            ],
            _REPORT,
        ),
    ),
    Exhibit(
        "a word in letters that only look Latin",
        _text([_HEART, _MASS, _FLUID], f"There is \u039d\u043e mass. {_REPORT}"),
    ),
    Exhibit(
        "the report's words in another order",
        _text(
            [_HEART, _MASS, _FLUID],
            "There enlarged heart is the. Left a is effusion moderate pleural there. Zone a is "
            "mass right the there in upper. No pneumothorax.",
        ),
    ),
    Exhibit(
        "a normal chest where nothing is said of it",
        _text(["The lungs are clear"], "The lungs are clear. Normal chest."),
        DEVICE,
    ),
    Exhibit("an unrelated sentence", _text(["Look"], "The weather is fine in the north today.")),
    Exhibit(
        "an unrelated sentence on a normal film",
        _text(["Look"], "The weather is fine in the north today."),
        NORMAL,
    ),
    Exhibit("a right answer", _text([_MASS], "Yes."), PRESENCE, honest=True),
    Exhibit(
        "a right denial",
        _text(["The lungs are clear"], "No pneumothorax is seen."),
        ABSENCE,
        honest=True,
    ),
    Exhibit("a right side", _text([_FLUID], "left side"), SIDE, honest=True),
    Exhibit(
        "a right list in another order",
        _text([_HEART, _MASS, _FLUID], "effusion, mass and cardiomegaly"),
        KINDS,
        honest=True,
    ),
    Exhibit("the other side for the one asked about", _text([_FLUID], "Right effusion"), ONE_SIDE),
    Exhibit(
        "steps that assert anything, where *no* is right",
        _text([f"There is a {kind}" for kind in _ABSENT[1:]], "No"),
        ABSENCE,
    ),
    Exhibit(
        "a step that affirms what the answer denies",
        _text(["There is a large right pneumothorax"], "No"),
        ABSENCE,
    ),
    Exhibit(
        "a step that denies what the answer affirms", _text(["There is no mass"], "Yes"), PRESENCE
    ),
    Exhibit("yes, the chest is normal", _text([_MASS], "Yes, the chest is normal"), PRESENCE),
    Exhibit("right boxes, a wrong answer", _text([_MASS], "No"), PRESENCE),
    *(
        Exhibit(said.lower(), _text([_MASS], said), PRESENCE)
        for said in ("Yes. No.", "Yes and no", "Yes or no", "Yes, absent", "Yes but actually no")
    ),
    Exhibit("yes, unlikely", _text([_MASS], "Yes, unlikely"), PRESENCE),
    *(
        Exhibit(
            f"{said.lower()}, where *no* is right", _text(["The lungs are clear"], said), ABSENCE
        )
        for said in ("I cannot tell", "Not sure", "No idea", "Not applicable", "It is not absent")
    ),
    Exhibit("both of two answers", _text([_FLUID], "Left | Right"), SIDE),
    Exhibit(
        "all answers of a list",
        _text(
            [_HEART, _MASS, _FLUID],
            "Cardiomegaly | Mass | Pleural effusion | Nodule | Pneumothorax | Consolidation",
        ),
        KINDS,
    ),
    Exhibit(
        "a short answer padded out",
        _text(
            [_MASS],
            "Yes, "
            + ", ".join(f"after looking at region {n} of the film with care" for n in range(12)),
        ),
        PRESENCE,
    ),
    Exhibit("a short answer padded out with signs", _text([_MASS], "Yes" + " -" * 500), PRESENCE),
    Exhibit("the question for an answer", _text(["Is there a mass"], "Is there a mass?"), PRESENCE),
)


def show_gallery() -> list[tuple[Exhibit, float, float]]:
    """Every exhibit with what ``paper`` pays for it (of 1.6) and ``grounded`` (of 1)."""
    rollouts = [Rollout(item.completion, item.example, CONVENTIONS, GRID) for item in EXHIBITS]
    return [
        (item, float(published["overall"]), float(ours["overall"]))
        for item, published, ours in zip(EXHIBITS, paper(rollouts), grounded(rollouts), strict=True)
    ]


def gallery_table() -> str:
    """The gallery in Markdown."""
    lines = ["| completion | `paper`, of 1.6 | `grounded`, of 1 |", "|---|---|---|"]
    for item, published, ours in show_gallery():
        name = f"**{item.name}**" if item.honest else item.name
        lines.append(f"| {name} | {published:.2f} | {ours:.2f} |")
    return "\n".join(lines) + "\n"
