"""Words that look as they should and are written in other letters."""

from __future__ import annotations

import re
from collections.abc import Container
from unicodedata import category, combining, normalize

_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[A-Za-z]")
_OTHER = re.compile(
    # Letters with accents, ligatures, micro; scripts that are written without spaces; numbers.
    r"[^\W\d_A-Za-z\u00aa-\u024f\u03bc\u0e00-\u109f\u1780-\u17ff\u1e00-\u1eff\u2070-\u209f"
    r"\u2150-\u24ff\u2776-\u2793\u3005-\u30ff\u3131-\u3163\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff"
    r"\ufb00-\ufb06\U00020000-\U0003ffff]"
)
"""Letters of which none stands in a word beside a Latin one: Cyrillic, Greek, mathematical, ..."""
_LATIN_LETTER = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_UNSEEN, _MARKS = "Cf", frozenset(("Mn", "Mc", "Me"))
"""Categories of format characters and of combining marks."""
_ACCENTED_BY_CHANCE = 2
"""Words that may be written with accents where the reference has none: names, loan words."""


def disguised(text: str, known: Container[str]) -> bool:
    """Whether words mix Latin with other scripts, or hold what is not seen or has no place there.

    A combining mark that composes (NFC) is an accent; words of the reference that are only written
    with accents are disguised from the third on.

    Parameters
    ----------
    known
        Words of the reference, case folded.
    """
    if text.isascii():
        return False
    text = normalize("NFC", text)
    if _holds_what_is_no_letter(text):
        return True
    accented = set()
    for word in _WORD.findall(text):
        if word.isascii():
            continue
        if _OTHER.search(word) and _LATIN.search(word):
            return True
        folded = word.casefold()
        if folded not in known and _bare(folded) in known:
            accented.add(folded)
    return len(accented) > _ACCENTED_BY_CHANCE


def _holds_what_is_no_letter(text: str) -> bool:
    """Whether a format character stands at a Latin letter, or a combining mark after one."""
    kinds = {sign: category(sign) for sign in set(text) if not sign.isascii()}
    if not (_MARKS | {_UNSEEN}) & set(kinds.values()):
        return False
    for place, sign in enumerate(text):
        kind = kinds.get(sign)
        if kind == _UNSEEN and _LATIN_LETTER.search(text[max(0, place - 1) : place + 2]):
            return True
        if kind in _MARKS and _LATIN_LETTER.match(text[max(0, place - 1)]):
            return True
    return False


def _bare(word: str) -> str:
    return "".join(sign for sign in normalize("NFD", word) if not combining(sign))
