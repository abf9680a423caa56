"""Films that are opened on a request's account: their pixels count against its place."""

from __future__ import annotations

from service.api.admission import Place
from service.interpretation import FilmDecoder
from service.radiograph import Radiograph


class HeldFilms:
    """A decoder for one request.

    A file of a hundred kilobytes can open to a hundred megabytes, which this process holds until
    the request ends.

    Parameters
    ----------
    decoder
        Opens the films.
    place
        The request's.
    """

    def __init__(self, decoder: FilmDecoder, place: Place) -> None:
        self._decoder = decoder
        self._place = place

    async def load(
        self, data: bytes, *, frame: int | None = None, allow_other_anatomy: bool = False
    ) -> Radiograph:
        """Decode and render one film.

        Raises
        ------
        Problem
            The decoder's, and those of :meth:`Place.hold_film`.
        """
        radiograph = await self._decoder.load(
            data, frame=frame, allow_other_anatomy=allow_other_anatomy
        )
        self._place.hold_film(radiograph.pixels.nbytes)
        return radiograph
