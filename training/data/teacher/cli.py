"""``deepmedix data teach``: cold-start data from a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.reading import Conventions
    from training.data.example import Example

KEY = "DEEPMEDIX_TEACHER_KEY"
"""Environment variable that holds the teacher's key, where it asks for one."""


def teach(
    data: Annotated[Path, typer.Option(help="Store of examples (deepmedix data prepare).")],
    teacher: Annotated[
        str, typer.Option(help="OpenAI-compatible server, such as http://127.0.0.1:8000/v1.")
    ],
    model: Annotated[str, typer.Option(help="The teacher's name on that server.")],
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted run goes on in it.")],
    split: Annotated[str, typer.Option(help="Split to teach on.")] = "train",
    limit: Annotated[
        int | None, typer.Option(help="Examples to ask about, drawn at random.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the examples.")] = 0,
    attempts: Annotated[
        int, typer.Option(help="Times to ask about an example until a reply is kept.", min=1)
    ] = 2,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="Requests a minute; no limit where not given.", min=0.01)
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at once.", min=1)] = 8,
    timeout: Annotated[float, typer.Option(help="Seconds that one answer may take.", min=1)] = 600,
    temperature: Annotated[float, typer.Option(min=0, max=2)] = 0.7,
    max_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.", min=16)] = 1024,
    picture_pixels: Annotated[
        int, typer.Option(help="Largest area of a picture that the teacher is shown.", min=3136)
    ] = 1024 * 1024,
    pictures: Annotated[
        bool, typer.Option(help="Whether to show the films, or ask over the regions alone.")
    ] = True,
    prompt: Annotated[
        Path | None, typer.Option(help="File with another prompt (docs/cold-start-data.md).")
    ] = None,
    manifest: Annotated[
        str, typer.Option(help="Whose questions to ask: `embedded`, a hub id, or a folder.")
    ] = "Qika/DeepMedix-R1",
    fit: Annotated[
        float, typer.Option(help="Least IoU of a cited box with a supplied one.", min=0.1, max=1)
    ] = 0.9,
    near_duplicates: Annotated[
        float, typer.Option(help="Similarity of two replies that count as one.", min=0.2, max=1)
    ] = 0.85,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Send images and text to a public address. PhysioNet's terms forbid it.",
        ),
    ] = False,
) -> None:
    """Write cold-start data with a teacher's reasoning; keep what holds up, count what does not.

    Answers are kept as they come: run the same command again after an interruption.
    """
    from training.chat.errors import ChatError
    from training.checkpoint.errors import CheckpointError
    from training.data.store import DataError

    try:
        import asyncio
        import os

        from training.chat.address import endpoint_of
        from training.chat.client import ChatServer, Patience
        from training.chat.pace import Pace
        from training.data.store import images_folder
        from training.data.teacher import teach as lessons
        from training.data.teacher.checks import Bounds
        from training.data.teacher.errors import TeacherError
        from training.data.teacher.request import PROMPT, Asking

        endpoint = endpoint_of(teacher, option="--teacher", allow_remote=allow_remote)
        asking = Asking(
            model=model,
            conventions=_conventions(manifest),
            prompt=_template(prompt) if prompt else PROMPT,
            picture_pixels=picture_pixels,
            pictures=pictures,
            temperature=temperature,
            max_tokens=max_tokens,
        )
        lesson = lessons.Lesson(
            asking,
            images_folder(data),
            out,
            bounds=Bounds(fit=fit),
            attempts=attempts,
            concurrency=concurrency,
            near_duplicates=near_duplicates,
        )
        if split == "test":
            raise TeacherError("--split test: what is tested on must not be taught.")
        if out.resolve() == data.resolve():
            raise TeacherError("--out must be another folder than --data.")
        lessons.refuse_other_store(out)
        asked = ChatServer(
            endpoint,
            Pace(requests_per_minute),
            Patience(timeout=timeout),
            key=os.environ.get(KEY),
            remote=allow_remote,
            role="teacher",
            option="--teacher and --model",
            key_variable=KEY,
        )
        tally = asyncio.run(lessons.teach(_examples(data, split, limit, seed), asked, lesson))
    except (ChatError, DataError, CheckpointError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        typer.echo(f"{error.filename or out}: {error.strerror or error}.", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        typer.echo("Interrupted. Answers so far are kept: run the same command again.", err=True)
        raise typer.Exit(130) from error
    from rich.console import Console

    Console().print(tally.table())
    if refusals := tally.told_of_refusals():
        typer.echo(refusals)
    typer.echo(f"wrote {out}")


def _examples(data: Path, split: str, limit: int | None, seed: int) -> list[Example]:
    import random

    from training.data.store import read_examples

    examples = list(read_examples(data, split))
    if limit is not None and limit < len(examples):
        drawn = sorted(random.Random(seed).sample(range(len(examples)), limit))
        return [examples[i] for i in drawn]
    return examples


def _conventions(manifest: str) -> Conventions:
    if manifest == "embedded":
        from training.conventions import EMBEDDED_CONVENTIONS

        return EMBEDDED_CONVENTIONS
    from training.checkpoint.identity import named_manifest

    return named_manifest(manifest).conventions


def _template(file: Path) -> str:
    from training.data.teacher.errors import TeacherError

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TeacherError(f"--prompt: {file} cannot be read as text.") from error
