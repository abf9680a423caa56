"""What a stream tells."""

from __future__ import annotations

from service.interpretation import StudyRequest, stream
from service.results import EVENT_NAMES, EventReply, to_event, to_reply
from service.results.events import AnswerEvent, RetryEvent, SectionEvent, StepEvent
from tests.service.interpretation.films import InProcessDecoder, png
from tests.service.scripted_engine import Script, ScriptedEngine


async def told(engine: ScriptedEngine) -> list[tuple[str, EventReply]]:
    walk = stream(StudyRequest(films=(png(448, 448),)), decoder=InProcessDecoder(), engine=engine)
    return [to_event(event) async for event in walk]


async def test_every_event_has_a_documented_name() -> None:
    engine = ScriptedEngine().say(Script("<think> On", finish_reason="length"), constrained=False)
    events = await told(engine)
    assert {name for name, _ in events} == set(EVENT_NAMES)
    assert events[0][0] == "images"
    assert events[-1][0] == "reply"


async def test_the_pieces_add_up_to_the_section_and_the_sections_to_the_reply(read_study) -> None:
    events = [event for _, event in await told(ScriptedEngine())]
    reply = to_reply(await read_study())
    sections = {event.section: event for event in events if isinstance(event, SectionEvent)}
    assert set(sections) == {"findings", "impression"}
    for name, section in sections.items():
        steps = [e for e in events if isinstance(e, StepEvent) and e.section == name]
        answer = [e.text for e in events if isinstance(e, AnswerEvent) and e.section == name]
        assert tuple(steps) == section.steps
        assert "".join(answer) == section.answer
        assert [(s.text, s.boxes) for s in section.steps] == [
            (s.text, s.boxes) for s in reply.reasoning if s.section == name
        ]


async def test_a_retry_says_of_which_section_and_why() -> None:
    engine = ScriptedEngine().say(
        Script("<think> On", finish_reason="length"), containing="FINDINGS", constrained=False
    )
    retries = [event for _, event in await told(engine) if isinstance(event, RetryEvent)]
    assert retries == [RetryEvent(section="findings", reason="length")]
