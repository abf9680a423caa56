"""Reasoning that betrays a known answer or an earlier film is told from plain radiology."""

import pytest

from tests.training.teacher.conftest import example
from training.data.teacher.checks import needs_prior
from training.data.teacher.telltales import find_change, find_leak

LEAKS = """\
as requested we arrive at yes
to reach yes, we look at the base
since yes is to be concluded, fluid lies there
the text given above says effusion
per the report there is fluid
according to the provided data fluid is there
this is consistent with the ground truth
the ground truths agree
the gold standard shows fluid
the reports agree
it was reported that fluid is there
the description states fluid
the dictation says fluid
the clinical note states effusion
the label says effusion
labels indicate effusion
the labels show effusion
the given finding is effusion
the stated conclusion is effusion
the desired conclusion is yes
so I must answer yes
this supports the required answer
hence yes, as desired
as the hint suggests fluid
the references agree
this confirms the diagnosis we were told
in line with the answer key
I was asked to justify yes
as the caption says
the metadata lists effusion
the bounding boxes outline fluid
the bbox outlines fluid
the coordinates show fluid
box 2 shows fluid
the supplied regions include the left lung
in the listed region fluid is seen
this aligns with the final diagnosis provided
the intended answer is yes
we should say yes
the prompt's answer is yes
the documentation says effusion
the radiology read says effusion
radiology read: effusion
the radiologist's impression is effusion
the radiologist\u2019s read is effusion
the reader reported fluid
the chart states an effusion
as documented, there is fluid
as mentioned, there is fluid
as described, there is fluid
as noted above there is fluid
as previously stated, fluid
ground truth says so
GT: yes
consistent with what the radiologist reported
therefore the answer should be yes
we must conclude yes
per the label, fluid""".splitlines()

NO_LEAKS = """\
the heart has a box-like shape
the lungs are expanded as expected
as shown by the meniscus, fluid lies there
no fluid is noted
as indicated by the blunted angle, fluid is there
according to the cardiothoracic ratio the heart is large
based on its sharp margin it is a nodule
a reading of the left apex shows lines
known causes of haze are fluid and collapse
the side marker is on the left
the conclusion is that fluid is there
the opacity outlines the heart border
this matches the expected course of the tube
the tip lies in the expected region of the right atrium
the finding requires a closer look
the heart is described by a smooth border
the right base can be described as hazy
a key finding is the meniscus
the vessels give the impression of congestion
this section of the lung shows haze
the mass is read against the rib""".splitlines()

CHANGES = """\
the effusion has grown
effusions have increased
larger now
now larger
no change
no significant changes
since yesterday larger
redemonstrated
re-demonstrated effusion
increasing effusion
worsening edema
the effusion is increasing
the effusion is getting larger
decreased effusion
recurrent effusion
residual effusion
once again
still present
more pronounced today
in the meantime the tube was removed
the tube has been advanced
the effusion is bigger than on the last exam
compared with the earlier film it is bigger
compared to the radiograph of March it is bigger
as before
since 2 days larger
larger since 3/4
compared to 2019""".splitlines()

NEEDING_A_PRIOR = """\
No significant change in moderate pulmonary edema.
Compared to ___, effusion larger.
As compared to ___, edema is more severe.
AP chest compared to ___:
Comparison is made with ___; edema.
In comparison with the study of ___, edema.
Decreasing right pneumothorax.
Redemonstrated right apical scarring.
Right chest tube has been removed.
Slight increase in left effusion.
Effusion is smaller.
No relevant change.
Little overall change.
There has been placement of a PICC line.
Evolving pneumonia.
Interval removal.
Pulmonary edema has cleared.""".splitlines()

NO_CHANGES = """\
increased interstitial markings
decreased lung volumes
increased opacity at the base
increased retrocardiac opacity
the heart is increased in size
the left hilum is larger than the right
the effusion is larger on the right
the heart is larger than half of the chest
larger than normal
the density increases towards the base
increasing opacity toward the base
an increase in density at the base
no acute bony change
no fibrotic changes
degenerative changes of the spine
the right base is denser compared to the left
compared to the right lung it is hazy
compared with the rest of the film it is dense
we now turn to the heart
since the angle is blunted, fluid is there
still within normal limits
the vessels are still visible through it
more severe on the right
the vessels decrease in caliber
since 10 posterior ribs are visible, inspiration is adequate
the cardiothoracic ratio is compared to 0.5
compared with 50 percent of the chest width the heart is large
the retrocardiac opacity is better appreciated on the lateral view
the effusion is better appreciated at the left angle
the vessels become smaller towards the periphery
increasing opacity from the mid zone to the base
compared with a normal film the vessels are indistinct
the lungs have increased in lucency
no evidence of residual pneumothorax
the right breast was removed
fluid tracks along the wall as described by the meniscus sign""".splitlines()


@pytest.mark.parametrize("said", LEAKS)
def test_what_betrays_a_known_answer_is_found(said: str) -> None:
    assert find_leak(said)


@pytest.mark.parametrize("said", NO_LEAKS + NO_CHANGES)
def test_plain_words_betray_no_known_answer(said: str) -> None:
    assert find_leak(said) is None


@pytest.mark.parametrize("said", CHANGES + NEEDING_A_PRIOR)
def test_what_speaks_of_an_earlier_film_is_found(said: str) -> None:
    assert find_change(said)


@pytest.mark.parametrize("said", NO_CHANGES + NO_LEAKS)
def test_plain_words_speak_of_no_earlier_film(said: str) -> None:
    assert find_change(said) is None


@pytest.mark.parametrize("answer", NEEDING_A_PRIOR)
def test_a_known_answer_that_speaks_of_a_change_needs_an_earlier_film(answer: str) -> None:
    assert needs_prior(example(answer=answer))
    assert not needs_prior(example(answer=answer, prior_report="An effusion."))


@pytest.mark.parametrize("said", ["the history mentions a fall", "the history given is of a fall"])
def test_a_history_that_is_in_the_question_is_no_secret(said: str) -> None:
    assert find_leak(said)
    assert find_leak(said, history=True) is None
    assert find_leak(f"{said}, and the report mentions fluid", history=True)
