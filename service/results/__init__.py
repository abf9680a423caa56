"""One interpretation, in the representation that the caller asked for."""

from service.results.disclaimer import DISCLAIMER, FOOTER
from service.results.events import EVENT_NAMES, EventReply, to_event
from service.results.markdown import to_markdown
from service.results.overlay import overlay_png
from service.results.reply import ReportReply, StudyReply, VqaReply
from service.results.to_reply import numbered_steps, to_reply

__all__ = [
    "DISCLAIMER",
    "EVENT_NAMES",
    "FOOTER",
    "EventReply",
    "ReportReply",
    "StudyReply",
    "VqaReply",
    "numbered_steps",
    "overlay_png",
    "to_event",
    "to_markdown",
    "to_reply",
]
