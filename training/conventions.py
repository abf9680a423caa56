"""How the embedded checkpoint wants to be asked and read."""

from __future__ import annotations

from service.reading import BoxSpace, Conventions, Prompts

EMBEDDED_CONVENTIONS = Conventions(
    box_space=BoxSpace.PROCESSOR,
    prompts=Prompts(
        findings="Write the FINDINGS of this chest radiograph.",
        impression="Write the IMPRESSION of this chest radiograph.",
        think_instruction=(
            "First think in steps with boxes [x_min, y_min, x_max, y_max] within <think> </think>, "
            "then put the answer in \\boxed{}."
        ),
    ),
)
