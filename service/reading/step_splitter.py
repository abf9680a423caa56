"""Split reasoning into steps as it comes: semicolons, line ends, numbered lines, sentences."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[^.!?;\r\n\[\]()]+")
"""Text in which nothing ends or opens."""
_SQUARE = re.compile(r"\[[^\[\]]{0,198}\]")
"""Square brackets that hold none: what :meth:`StepSplitter._take` puts together, at once."""

# Never the end of a sentence, whatever follows.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(/])(?:dr|drs|mr|mrs|ms|prof|st|vs|cf|viz|approx|ca|e\.g|i\.e|incl|resp|[a-z])\.$",
    re.IGNORECASE,
)
# No end of a sentence where a lower-case letter follows.
_SHORTENED = re.compile(
    r"(?:^|[\s(/])(?:etc|al|a\.m|p\.m|mm|cm|min|max|rt|lt|lat|ant|post|sup|inf|med|bilat|poss|prob"
    r"|susp|pt|temp|est|vol|seg|prev|hx|dx)\.$|\.\.$",
    re.IGNORECASE,
)
# No end of a sentence where a digit follows.
_NUMBERED = re.compile(
    r"(?:^|[\s(/])(?:no|nos|nr|figs?|pp?|ser|im|img|seg|vol|vert)\.$", re.IGNORECASE
)
_ENUMERATOR = re.compile(
    r"\s*(?:[-*\u2022\u2013]+(?=\s|\Z)|\(?\d{1,3}[.):](?=\s|\Z)"
    r"|step\s{1,3}\d{1,3}\s{0,3}[.:)])\s*",
    re.IGNORECASE,
)
_ONLY_ENUMERATOR = re.compile(
    r"\s*(?:\(?\d{1,3}[.)]|step\s{1,3}\d{1,3}\s{0,3}[.:)])", re.IGNORECASE
)
_SAYING = re.compile(r"[^\W_]|\[")
_BOXES = re.compile(r"(?:\[\s{0,3}-?[\d.][^\[\]]*[\s,;][^\[\]]*\][\s,&]*)+")
_LINE_ENDS = "\r\n"
_HARD = ";" + _LINE_ENDS
_STOPS = ".!?"
_CLOSERS = "\"')\u201d\u2019"
_LONGEST_BRACKET = 200
_LOOK_BACK = 24


class StepSplitter:
    """Feed text in any pieces; each step comes out once, the same however the text was cut.

    A semicolon or line end closes a step, and so does a full stop, question or exclamation mark
    that white space follows, unless it belongs to an abbreviation, an enumerator or an ellipsis.
    Nothing closes a step inside brackets: square ones of up to 200 characters, or round ones of
    up to 200 characters on one line.

    Square brackets that stand alone between a separator and the next step belong to the step
    before it, unless that step has its own already and the next one goes on from them. Where the
    text begins with boxes on a line of their own, boxes come first throughout: each line of them
    belongs to the line after it.
    """

    def __init__(self) -> None:
        self._steps: list[str] = []
        self._held: list[str] = []  # an open bracket and what has come since
        self._depth = 0
        self._current: list[str] = []
        self._boxed = False  # whether the current step has a square bracket
        self._separator: str | None = None  # "stop" or "hard", while what follows must decide
        self._after: list[str] = []  # what has come since the separator
        self._after_boxed = False
        self._begun = False  # whether a step has come out
        self._boxes_first = False

    def feed(self, text: str) -> list[str]:
        """Return the raw steps that are certain now."""
        position = 0
        while position < len(text):
            if not self._held and self._separator is None:
                plain = _PLAIN.match(text, position)
                if plain is not None:
                    self._current.append(plain.group())
                    position = plain.end()
                    continue
            if not self._held and text[position] == "[":
                square = _SQUARE.match(text, position)
                if square is not None:
                    self._atom(square.group())
                    position = square.end()
                    continue
            self._take(text[position])
            position += 1
        return self._drain()

    def finish(self) -> list[str]:
        """Return what is left; the splitter is empty afterwards."""
        while self._held:
            self._release()
        if self._after_boxed:
            self._begin_with_boxes() if self._boxes_first else self._attach()
        self._cut()
        self._begun = self._boxes_first = False
        return self._drain()

    def _drain(self) -> list[str]:
        steps, self._steps = self._steps, []
        return steps

    # Characters to atoms: characters, and brackets as a whole ------------------------------------

    def _take(self, character: str) -> None:
        if not self._held:
            if character in "[(":
                self._held, self._depth = [character], 1
            else:
                self._atom(character)
            return
        square = self._held[0] == "["
        # Only the innermost square brackets can be a box; round ones do not span lines.
        if (square and character == "[") or (not square and character in _LINE_ENDS):
            self._release()
            self._take(character)
            return
        self._held.append(character)
        if square:
            self._depth = 0 if character == "]" else 1
        else:
            self._depth += (character == "(") - (character == ")")
        if self._depth == 0:
            group, self._held = "".join(self._held), []
            self._atom(group)
        elif len(self._held) > _LONGEST_BRACKET:
            self._release()

    def _release(self) -> None:
        """Read what is held as plain text: its bracket does not close.

        Round brackets are not tried again, so that no character is read more than three times.
        """
        held, self._held = self._held, []
        self._atom(held[0])
        for character in held[1:]:
            if self._held or character == "[":
                self._take(character)
            else:
                self._atom(character)

    # Atoms to steps ------------------------------------------------------------------------------

    def _atom(self, atom: str) -> None:
        if self._separator is None or self._decide(atom):
            self._append(atom)

    def _append(self, atom: str) -> None:
        if atom in _HARD:
            if atom in _LINE_ENDS and self._are_boxes_first():
                self._boxes_first = True
                self._current.append(" ")
            elif self._boxed or _says_something(self._current):
                self._separator, self._after = "hard", [atom]
            else:
                self._current, self._boxed = [], False
            return
        self._current.append(atom)
        self._boxed = self._boxed or (len(atom) > 1 and "[" in atom)
        if atom in _STOPS and not self._goes_on(atom):
            self._separator, self._after = "stop", []

    def _decide(self, atom: str) -> bool:
        """Whether the separator is settled, so that the atom is read on its own."""
        square = len(atom) > 1 and atom[0] == "["
        if square or (self._after_boxed and atom in ",&"):
            self._after.append(atom)
            self._after_boxed = self._after_boxed or square
            return False
        if self._after_boxed:
            return self._decide_boxes(atom)
        if atom in _LINE_ENDS:
            self._separator = "hard"
        if atom.isspace():
            self._after.append(atom)
            return False
        if self._separator == "hard":
            self._cut()
        elif not self._after and atom in _CLOSERS:
            self._current.append(atom)
            return False
        elif self._after and self._starts_sentence(atom[0]):
            self._cut()
        else:
            self._attach()
        return True

    def _decide_boxes(self, atom: str) -> bool:
        """Say whose the square brackets after the separator are."""
        if self._boxes_first and atom in _LINE_ENDS:
            self._begin_with_boxes()
            self._current.append(" ")
        elif atom in _HARD or atom in _STOPS:
            self._attach()
        elif atom.isspace():
            self._after.append(atom)
            return False
        elif self._separator == "stop" and not (self._boxed or atom.islower() or atom in ":,"):
            self._attach()
            self._cut()
        else:
            self._begin_with_boxes()
        return True

    def _are_boxes_first(self) -> bool:
        """Whether the step so far is nothing but boxes, to which the next line belongs."""
        if not self._boxed or (self._begun and not self._boxes_first):
            return False
        return _BOXES.fullmatch(strip_enumerator("".join(self._current))) is not None

    def _begin_with_boxes(self) -> None:
        boxes = "".join(self._after).lstrip("; \r\n")
        self._cut()
        self._current, self._boxed = [boxes], True

    def _attach(self) -> None:
        self._boxed = self._boxed or self._after_boxed
        self._current += self._after
        self._separator, self._after, self._after_boxed = None, [], False

    def _cut(self) -> None:
        if _says_something(self._current):
            self._steps.append("".join(self._current))
            self._begun = True
        self._current, self._boxed = [], False
        self._separator, self._after, self._after_boxed = None, [], False

    def _goes_on(self, stop: str) -> bool:
        """Whether a stop is part of an abbreviation or an enumerator, whatever follows."""
        if stop != ".":
            return False
        tail = self._tail()
        whole = len(self._current) <= _LOOK_BACK and len(tail) <= _LOOK_BACK
        if whole and _ONLY_ENUMERATOR.fullmatch(tail):
            return True
        return ends_in_an_abbreviation(tail)

    def _starts_sentence(self, character: str) -> bool:
        if character in ",:;)]-\u2013\u2014":
            return False
        if character.islower():
            return _SHORTENED.search(self._tail()) is None
        return not (character.isdigit() and _NUMBERED.search(self._tail()))

    def _tail(self) -> str:
        """The end of the step, one character more than any pattern needs."""
        return "".join(atom[-_LOOK_BACK - 1 :] for atom in self._current[-_LOOK_BACK:])[
            -_LOOK_BACK - 1 :
        ]


def ends_in_an_abbreviation(text: str) -> bool:
    """Whether the full stop at the end of the text never ends a sentence ("vs.", an initial)."""
    return _ABBREVIATION.search(text) is not None


def strip_enumerator(raw: str) -> str:
    """The step without its number or bullet and surrounding white space."""
    enumerator = _ENUMERATOR.match(raw)
    return (raw[enumerator.end() :] if enumerator else raw).strip()


def _says_something(atoms: list[str]) -> bool:
    """Whether there is a word, a number or a bracket beyond an enumerator."""
    return _SAYING.search(strip_enumerator("".join(atoms))) is not None
