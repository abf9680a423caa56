"""What judges said, kept on disk as it comes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from training.arena.judge import Opinion
from training.arena.lines import lines_of
from training.arena.rubric import Choice, Verdict


class Verdicts:
    """Verdicts on disk: one JSON line each, found again by content.

    Kept are replies, those that could not be read among them. Of a question that failed only the
    tokens are, where it may have cost any: it is asked again.

    Attributes
    ----------
    spent, estimated
        Tokens of all lines that were there, whichever run wrote them; and those of them that no
        server counted.
    dearest
        Of each judge the tokens of its dearest verdict.
    """

    def __init__(self, path: Path) -> None:
        self._found: dict[str, Opinion] = {}
        self.spent = self.estimated = 0
        self.dearest: Counter[str] = Counter()
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = True
        if path.exists():
            for _, line in lines_of(path):
                self._remember(line)
            whole = path.read_bytes()[-1:] in (b"", b"\n")
        self._file = path.open("a", encoding="utf-8")
        if not whole:
            self._file.write("\n")

    def find(self, key: str) -> Opinion | None:
        """The opinion with that key."""
        return self._found.get(key)

    def keep(self, key: str, judge: str, opinion: Opinion) -> None:
        """Write an opinion down at once."""
        if opinion.failure and not opinion.tokens:
            return
        verdict = opinion.verdict
        line = {
            "key": key,
            "judge": judge,
            "verdict": verdict and str(verdict.choice),
            "reason": verdict.reason if verdict else "",
            "decided_by": verdict.decided_by if verdict else "",
            "tokens": opinion.tokens,
            "estimated": opinion.estimated,
            "failure": opinion.failure,
        }
        # ASCII alone: what a model wrote may hold what UTF-8 cannot.
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if not opinion.failure:
            self._found[key] = opinion

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _remember(self, line: str) -> None:
        try:
            said = json.loads(line)
            key, judge, tokens = said["key"], said["judge"], int(said["tokens"])
            estimated, failure = said.get("estimated", False), said.get("failure", "")
            verdict = None
            if said["verdict"] is not None:
                choice = Choice(said["verdict"])
                verdict = Verdict(choice, said["reason"], said["decided_by"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # the line that was being written
        self.spent += tokens
        self.estimated += tokens if estimated else 0
        # Neither verdict nor tokens: a failure, as they were kept once.
        if not failure and (verdict is not None or tokens):
            self.dearest[judge] = max(self.dearest[judge], tokens)
            self._found[key] = Opinion(verdict, tokens, estimated)
