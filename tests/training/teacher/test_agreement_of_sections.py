"""A report section agrees with the known one in what it finds, however it is worded."""

import pytest

from service.reading import Task
from tests.training.teacher.conftest import example
from training.data.teacher.agreement import answers_agree

NORMAL = "The lungs are clear. Heart size is normal."
NONE_ACUTE = "No acute cardiopulmonary process."
DOBHOFF = "Dobhoff tube ends in the stomach."
COILED = "Dobhoff tube is coiled in the right main bronchus."
SIDES = "Small left and large right pleural effusions."


def agree(known: str, said: str) -> bool:
    section = {"task": Task.FINDINGS, "question": None, "question_type": None}
    return answers_agree(example(answer=known, labels=(), regions=(), **section), said)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (NORMAL, "Normal chest."),
        (NORMAL, NONE_ACUTE),
        (NORMAL, "Heart and lungs are normal."),
        (NORMAL, "The cardiac silhouette is unremarkable and both lungs are clear."),
        (NONE_ACUTE, NORMAL),
        (NONE_ACUTE, "No acute disease."),
        ("No radiographic evidence of acute pulmonary disease.", "Normal chest."),
        ("No evidence of acute pathology in the chest.", NORMAL),
        ("No pneumothorax.", "There is no pneumothorax."),
        ("The mediastinum is unremarkable.", "Mediastinum within normal limits."),
        ("Frontal and lateral views were obtained. The lungs are clear.", "Lungs are clear."),
        ("Right upper lobe mass.", "RUL mass."),
        ("Right upper lobe mass.", "A mass is seen in the upper lobe of the right lung."),
        ("Right basilar opacity.", "Opacity in the right lower lobe."),
        ("Small left pleural effusion.", "There is a tiny effusion on the left."),
        ("Small left pleural effusion.", "Left pleural effusion, small in size."),
        ("Small left pleural effusion.", "A left pleural effusion is present."),
        (SIDES, "There is a large right effusion and a small left effusion."),
        ("Moderate cardiomegaly. Mild edema.", "Mild edema and moderate cardiomegaly."),
        ("Moderate cardiomegaly. Mild edema.", "The heart is moderately enlarged with mild edema."),
        ("Tracheostomy tube in place.", "A tracheostomy tube is in place."),
        (DOBHOFF, "The tip of the Dobhoff tube lies in the stomach."),
        ("Endotracheal tube ends 4 cm above the carina.", "ETT tip is 4 cm above the carina."),
        (f"Left pleural effusion. {DOBHOFF}", "Left pleural effusion."),
        ("Pneumonia cannot be excluded.", "We cannot exclude pneumonia."),
        ("Nodule in the left lung. No nodule.", "No nodule. Nodule in the left lung."),
    ],
)
def test_other_words_for_the_same_findings_agree(known: str, said: str) -> None:
    assert agree(known, said)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        *(
            (NORMAL, said)
            for said in (
                *("I cannot help with this request.", "banana", "N/A", "See above."),
                *("I'm sorry, the lungs are clear, but I can't help.", "Marked scoliosis."),
            )
        ),
        (NONE_ACUTE, "I see."),
        ("No pneumothorax.", "No effusion."),
        ("No pneumothorax.", "Possible pneumothorax."),
        ("The lungs are clear. Free air under the diaphragm.", "The lungs are clear."),
        ("Right upper lobe mass.", "Right lower lobe mass."),
        ("RUL mass.", "RLL mass."),
        (
            "Small left pleural effusion.",
            "Massive left pleural effusion with mediastinal shift.",
        ),
        (SIDES, "Large left and small right pleural effusions."),
        ("Severe cardiomegaly.", "The heart is mildly enlarged."),
        ("Tracheostomy tube in place.", "No tubes."),
        ("Tracheostomy tube in place.", "No tracheostomy tube in place."),
        (DOBHOFF, COILED),
        (f"{DOBHOFF} No pneumothorax.", f"{COILED} No pneumothorax."),
        (f"Left pleural effusion. {DOBHOFF}", f"Left pleural effusion. {COILED}"),
        ("Scoliosis.", "banana"),
    ],
)
def test_what_is_not_the_known_section_disagrees(known: str, said: str) -> None:
    assert not agree(known, said)
