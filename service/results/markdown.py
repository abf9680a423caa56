"""A reply as a readable report in Markdown (CommonMark)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.results.reply import BoxReply, ReportReply, SectionName, StepReply, VqaReply

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&])")
# These only mean something where a line begins: list items and underlines of headings.
_OPENING = re.compile(r"^(\d*)([-+=.)])")


def to_markdown(reply: ReportReply | VqaReply) -> str:
    """Return a reply as a report to read.

    What the model said is escaped: it is text, never markup.

    Parameters
    ----------
    reply
        A report or an answer.
    """
    blocks = [
        *_heading(reply),
        *_reasoning(reply),
        *_warnings(reply),
        *_provenance(reply),
    ]
    return "\n\n".join(blocks) + "\n"


def _heading(reply: ReportReply | VqaReply) -> Iterator[str]:
    if isinstance(reply, VqaReply):
        yield "# Answer about a chest radiograph"
        yield f"> **AI output, unverified.** {reply.disclaimer}"
        yield _prose(reply.answer)
        return
    yield "# Chest radiograph report"
    yield f"> **AI output, unverified.** {reply.disclaimer}"
    for title, text in (
        ("Findings", reply.report.findings),
        ("Impression", reply.report.impression),
    ):
        if text is not None:
            yield f"## {title}"
            yield _prose(text)


def _reasoning(reply: ReportReply | VqaReply) -> Iterator[str]:
    if not reply.reasoning:
        return
    yield "## Reasoning"
    yield "Boxes are [x_min, y_min, x_max, y_max] in the film's own pixels, from its upper left."
    sections = list(dict.fromkeys(step.section for step in reply.reasoning))
    for section in sections:
        if len(sections) > 1:
            yield f"### {section.capitalize()}"
        yield "\n".join(_steps(reply, section))


def _steps(reply: ReportReply | VqaReply, section: SectionName) -> Iterator[str]:
    several = len(reply.images) > 1
    for step in reply.reasoning:
        if step.section == section:
            yield f"{step.step}. {_step(step, several)}"


def _step(step: StepReply, several_images: bool) -> str:
    text = _inline(step.text) or "(no text)"
    boxes = ", ".join(_box(box, several_images) for box in step.boxes)
    return f"{text} — {boxes}" if boxes else text


def _box(box: BoxReply, several_images: bool) -> str:
    numbers = ", ".join(f"{value:.0f}" for value in (box.x_min, box.y_min, box.x_max, box.y_max))
    return f"image {box.image + 1} `[{numbers}]`" if several_images else f"`[{numbers}]`"


def _warnings(reply: ReportReply | VqaReply) -> Iterator[str]:
    if reply.warnings:
        yield "## Warnings"
        yield "\n".join(f"- `{item.code}`: {_inline(item.detail)}" for item in reply.warnings)


def _provenance(reply: ReportReply | VqaReply) -> Iterator[str]:
    yield "## Provenance"
    model = reply.model
    lines = [
        f"- Model: {_inline(model.name)}, revision {_inline(model.revision)}, "
        f"stage {_inline(model.stage)}, manifest `{model.manifest_sha256[:12]}`"
    ]
    for image in reply.images:
        view = f", view {_inline(image.view_position)}" if image.view_position else ""
        lines.append(
            f"- Image {image.index + 1}: {image.width} x {image.height} pixels, "
            f"{image.media_type}{view}, rendered as {image.rendering}, "
            f"seen at {image.model_width} x {image.model_height}"
        )
    lines.append(
        f"- {reply.usage.prompt_tokens} tokens read, {reply.usage.completion_tokens} written, "
        f"{reply.timing.total_seconds:.1f} s"
    )
    lines.append(f"- Reply: `{reply.id}`")
    yield "\n".join(lines)


def _prose(text: str) -> str:
    paragraphs = [_inline(part) for part in re.split(r"\n\s*\n", text)]
    return "\n\n".join(part for part in paragraphs if part) or "(no text)"


def _inline(text: str) -> str:
    line = " ".join(text.split())
    return _OPENING.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line))
