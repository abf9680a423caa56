"""``deepmedix report``, ``vqa`` and ``render``: one study, from files to a result."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from service.api.negotiation import JSON, MARKDOWN, PNG
from service.cli.client import ServiceError, connect, post
from service.cli.output import check_output, write_output
from service.reading import Decoding, Mode


class Format(StrEnum):
    """Format of a result."""

    JSON = "json"
    MARKDOWN = "markdown"
    PNG = "png"


_MEDIA_TYPES = {Format.JSON: JSON, Format.MARKDOWN: MARKDOWN, Format.PNG: PNG}
_SUFFIXES = {".json": Format.JSON, ".md": Format.MARKDOWN, ".png": Format.PNG}

Files = Annotated[
    list[Path],
    typer.Argument(exists=True, dir_okay=False, readable=True, help="DICOM, PNG or JPEG; 1 to 4."),
]
File = Annotated[
    Path,
    typer.Argument(exists=True, dir_okay=False, readable=True, help="DICOM, PNG or JPEG."),
]
Url = Annotated[
    str | None,
    typer.Option(
        help="A running service, http://127.0.0.1:8000 for one; DEEPMEDIX_API_KEY holds the key or "
        "token where it wants one. Default: start here."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write: .json, .md or .png names the format."),
]
FormatOption = Annotated[Format | None, typer.Option("--format", "-f", help="Format.")]
ModeOption = Annotated[Mode | None, typer.Option(help="Reason before the answer, or not.")]
DecodingOption = Annotated[Decoding | None, typer.Option(help="Hold the model to the grammar?")]
Indication = Annotated[str | None, typer.Option(help="Why the film was taken.")]
Technique = Annotated[str | None, typer.Option(help="How the film was taken.")]
Comparison = Annotated[str | None, typer.Option(help="What it is compared with.")]
PriorReport = Annotated[str | None, typer.Option(help="Report of an earlier film.")]
Temperature = Annotated[float | None, typer.Option(help="0 gives the same reading every time.")]
MaxTokens = Annotated[int | None, typer.Option(help="Most tokens of each text.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the sampling.")]
Frame = Annotated[int | None, typer.Option(help="Frame of a multi-frame DICOM, from 1.")]
OtherAnatomy = Annotated[
    bool, typer.Option("--allow-other-anatomy", help="Read it even if not a chest film.")
]
Include = Annotated[
    list[str] | None, typer.Option(help="raw_text, timings; may be repeated (JSON only).")
]


def report(
    files: Files,
    url: Url = None,
    output: Output = None,
    format_: FormatOption = None,
    section: Annotated[
        list[str] | None, typer.Option(help="findings, impression; may be repeated.")
    ] = None,
    mode: ModeOption = None,
    decoding: DecodingOption = None,
    indication: Indication = None,
    technique: Technique = None,
    comparison: Comparison = None,
    prior_report: PriorReport = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    frame: Frame = None,
    allow_other_anatomy: OtherAnatomy = False,
    include: Include = None,
) -> None:
    """Write a grounded report of one study's films."""
    fields = _fields(
        sections=section,
        mode=mode,
        decoding=decoding,
        indication=indication,
        technique=technique,
        comparison=comparison,
        prior_report=prior_report,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        frame=frame,
        allow_other_anatomy=allow_other_anatomy or None,
        include=include,
    )
    _run("/report", files, fields, url, output, _format_of(format_, output))


def vqa(
    files: Files,
    question: Annotated[str, typer.Argument(help="The question about the films.")],
    url: Url = None,
    output: Output = None,
    format_: FormatOption = None,
    mode: ModeOption = None,
    decoding: DecodingOption = None,
    indication: Indication = None,
    technique: Technique = None,
    comparison: Comparison = None,
    prior_report: PriorReport = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    frame: Frame = None,
    allow_other_anatomy: OtherAnatomy = False,
    include: Include = None,
) -> None:
    """Answer a question about one study's films."""
    fields = _fields(
        question=question,
        mode=mode,
        decoding=decoding,
        indication=indication,
        technique=technique,
        comparison=comparison,
        prior_report=prior_report,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        frame=frame,
        allow_other_anatomy=allow_other_anatomy or None,
        include=include,
    )
    _run("/vqa", files, fields, url, output, _format_of(format_, output))


def render(
    file: File,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="PNG file to write. Default: standard output."),
    ] = None,
    url: Url = None,
    frame: Frame = None,
    allow_other_anatomy: OtherAnatomy = False,
) -> None:
    """Write the PNG that the model sees of a film."""
    fields = _fields(frame=frame, allow_other_anatomy=allow_other_anatomy or None)
    _check_picture(output)
    _run("/render", [file], fields, url, output, Format.PNG)


def _fields(**given: object) -> dict[str, str | list[str]]:
    fields: dict[str, str | list[str]] = {}
    for name, value in given.items():
        if isinstance(value, list):
            fields[name] = [str(item) for item in value]
        elif value is not None:
            fields[name] = str(value)
    return fields


def _format_of(named: Format | None, output: Path | None) -> Format:
    suffix = None if output is None else _SUFFIXES.get(output.suffix.lower())
    if output is not None and named is None and suffix is None:
        raise typer.BadParameter("name the file .json, .md or .png, or give --format")
    chosen = named or suffix or Format.MARKDOWN
    if chosen is Format.PNG:
        _check_picture(output)
    return chosen


def _check_picture(output: Path | None) -> None:
    """Keep a picture's bytes off a terminal; a pipe or a file takes them."""
    if output is None and _on_a_terminal():
        raise typer.BadParameter("a PNG needs --output, or a pipe to go into")


def _on_a_terminal() -> bool:
    return sys.stdout.isatty()


def _run(
    path: str,
    files: list[Path],
    fields: dict[str, str | list[str]],
    url: str | None,
    output: Path | None,
    format_: Format,
) -> None:
    console = Console(stderr=True)
    check_output(output)
    films = [file.read_bytes() for file in files]

    async def exchange() -> httpx.Response:
        async with connect(url, console, with_engine=path != "/render") as client:
            with console.status("Reading the film."):
                return await post(
                    client, path, films=films, fields=fields, accept=_MEDIA_TYPES[format_]
                )

    try:
        response = asyncio.run(exchange())
    except ServiceError as failure:
        typer.echo(str(failure), err=True)
        raise typer.Exit(1) from failure
    if output is None and format_ is Format.PNG:
        sys.stdout.buffer.write(response.content)
    elif output is None:
        typer.echo(response.text.rstrip("\n"))
    else:
        write_output(output, response.content)
        console.print(f"Wrote {output}", highlight=False)
