"""One blank film through the whole walk, so that the first caller does not pay for it."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from service.engine import Engine
from service.interpretation import FilmDecoder, StudyRequest, interpret
from service.reading import Task

_SIDE = 256
_MAX_TOKENS = 4


async def warm_up(engine: Engine, decoder: FilmDecoder) -> None:
    """Read a blank film, freely and (by the retry that its cut-off causes) under the grammar.

    Raises
    ------
    Problem
        When decoder or engine cannot do it; the service is then not fit to serve.
    """
    buffer = BytesIO()
    Image.new("L", (_SIDE, _SIDE)).save(buffer, format="PNG")
    request = StudyRequest(
        films=(buffer.getvalue(),),
        tasks=(Task.FINDINGS,),
        mode=engine.manifest.report_modes[0],
        temperature=0,
        max_tokens=_MAX_TOKENS,
    )
    await interpret(request, decoder=decoder, engine=engine)
