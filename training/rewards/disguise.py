"""Words that look as they should and are written in other letters."""

from __future__ import annotations

import re
from collections.abc import Container
from unicodedata import category, combining, name, normalize

_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[A-Za-z]")
_OTHER = re.compile(
    # Letters with accents, ligatures, micro; scripts that are written without spaces; numbers.
    r"[^\W\d_A-Za-z\u00aa-\u024f\u03bc\u0e00-\u109f\u1780-\u17ff\u1e00-\u1eff\u2070-\u209f"
    r"\u2150-\u24ff\u2776-\u2793\u3005-\u30ff\u3131-\u3163\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff"
    r"\ufb00-\ufb06\U00020000-\U0003ffff]"
)
"""Letters of which none stands in a word beside a Latin one: Cyrillic, Greek, mathematical, ..."""
_LOOKS_LATIN = frozenset(
    # Cyrillic and Greek.
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u04ae"
    "\u0430\u0432\u0435\u0455\u0456\u0458\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0475\u04cf"
    "\u0501\u04bb\u051b\u051d\u050c\u04af\u0433\u043f\u0438"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u03b1\u03b3\u03b5\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03c9\u03f2\u03f3"
)
_ALIKE = ("LATIN", "MATHEMATICAL", "CHEROKEE", "CANADIAN", "LISU", "ARMENIAN", "COPTIC")
"""How the names of letters begin that look Latin, or may be taken for it, and are not."""
_IN_PLACE_OF_LATIN = 2
"""Signs in a row that stand for Latin letters from which they are no ordinal and no ligature."""
_LATIN_LETTER = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_NEVER = re.compile(
    "[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
    "|(?<=[A-Za-z])[\u0131\u0237\u017f\u2160-\u217f]|[\u0131\u0237\u017f\u2160-\u217f](?=[A-Za-z])"
)
"""Signs that turn what is read about or tag it unseen; letters without their dots, the long s and
numerals beside Latin letters."""
_PRIVATE = "Co"
_UNSEEN, _MARKS = "Cf", frozenset(("Mn", "Mc", "Me"))
"""Categories of format characters and of combining marks."""
_ACCENTED_BY_CHANCE = 2
"""Words that may be written with accents where the reference has none: names, loan words."""


def disguised(text: str, known: Container[str]) -> bool:
    """Whether words mix Latin with other scripts, or hold what is not seen or has no place there.

    A combining mark that composes (NFC) is an accent; words of the reference that are only written
    with accents are disguised from the third on. In a text that is mostly Latin, so is a word of
    two letters or more that only looks so: mathematical, encircled or small capital letters, or
    Cyrillic and Greek ones each of which has a Latin twin. Boxes and numbers are written in ASCII
    digits alone.

    Parameters
    ----------
    known
        Words of the reference, case folded.
    """
    if text.isascii():
        return False
    if _NEVER.search(text) or any(sign.isdecimal() and not sign.isascii() for sign in text):
        return True
    text = normalize("NFC", text)
    if _holds_what_is_no_letter(text):
        return True
    latin = sum(sign.isascii() and sign.isalpha() for sign in text)
    mostly_latin = 2 * latin > sum(sign.isalpha() for sign in text)
    if mostly_latin and _stands_for_latin(text):
        return True
    accented = set()
    for word in _WORD.findall(text):
        if word.isascii():
            continue
        if _OTHER.search(word) and _LATIN.search(word):
            return True
        if mostly_latin and len(word) > 1 and word.casefold() not in known and _looks_latin(word):
            return True
        folded = word.casefold()
        if folded not in known and _bare(folded) in known:
            accented.add(folded)
    return len(accented) > _ACCENTED_BY_CHANCE


def _stands_for_latin(text: str) -> bool:
    """Whether several signs in a row are Latin letters in another form, but for *2nd* raised."""
    row = 0
    before = ""
    for sign in text:
        folds = not sign.isascii() and normalize("NFKC", sign).isascii() and _is_letter(sign)
        row = row + 1 if folds and (row or not before.isdigit()) else 0
        if row >= _IN_PLACE_OF_LATIN:
            return True
        before = "" if folds and not row else sign
    return False


def _is_letter(sign: str) -> bool:
    return _LATIN.fullmatch(normalize("NFKC", sign)) is not None


def _looks_latin(word: str) -> bool:
    """Whether every letter of a word that holds none of Latin's own may be taken for one."""
    return all(
        sign in _LOOKS_LATIN or (_OTHER.match(sign) and name(sign, "").startswith(_ALIKE))
        for sign in word
    )


def _holds_what_is_no_letter(text: str) -> bool:
    """Whether a format character stands at a Latin letter, or a combining mark after one."""
    kinds = {sign: category(sign) for sign in set(text) if not sign.isascii()}
    if _PRIVATE in kinds.values():
        return True
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
