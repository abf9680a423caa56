"""A study's identity as the audit trail knows it: a keyed hash, never the UID itself.

Study Instance UIDs can be listed or guessed, and a plain hash of one undone by trying; without the
site's key an HMAC-SHA-256 (RFC 2104) cannot.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from service.radiograph import Radiograph

UID_SYSTEM = "urn:deepmedix:study-instance-uid:hmac-sha256"
PIXELS_SYSTEM = "urn:deepmedix:pixels:hmac-sha256"

MIN_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class StudyIdentity:
    """What stands for a study.

    Attributes
    ----------
    system
        ``UID_SYSTEM``, or ``PIXELS_SYSTEM`` for a film without a study's UID.
    value
        64 hexadecimal digits.
    """

    system: str
    value: str


class StudyHasher:
    """Turns studies into their identities.

    Parameters
    ----------
    site_key
        Secret of the site, at least 16 bytes; with another key no identity is the same.

    Raises
    ------
    ValueError
        When the key is too short.
    """

    def __init__(self, site_key: bytes) -> None:
        if len(site_key) < MIN_KEY_BYTES:
            raise ValueError(f"the site key must have at least {MIN_KEY_BYTES} bytes")
        self._key = site_key

    def of_uid(self, study_instance_uid: str) -> StudyIdentity:
        """Return the identity of a study by its Study Instance UID (0020,000D)."""
        return StudyIdentity(UID_SYSTEM, self._hash(b"uid", study_instance_uid.encode()))

    def of_films(self, films: Iterable[Radiograph]) -> tuple[StudyIdentity, ...]:
        """Return the identities of the studies that films belong to, each once.

        A film without a Study Instance UID is known by its rendered pixels.
        """
        found = (
            self.of_uid(film.study_instance_uid)
            if film.study_instance_uid
            else StudyIdentity(PIXELS_SYSTEM, self._of_pixels(film))
            for film in films
        )
        return tuple(dict.fromkeys(found))

    def _of_pixels(self, film: Radiograph) -> str:
        return self._hash(b"pixels", repr(film.pixels.shape).encode(), film.pixels.tobytes())

    def _hash(self, kind: bytes, *parts: bytes) -> str:
        code = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (kind, *parts):
            code.update(len(part).to_bytes(8, "big") + part)
        return code.hexdigest()
