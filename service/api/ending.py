"""What ends a request from outside: its deadline, or the service's own stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from types import TracebackType
from typing import TypeVar

from service.problem import Problem

Result = TypeVar("Result")


class Ending:
    """A problem that may come over a request at any time and ends what it is at.

    Works as ``asyncio.timeout`` does: the task that is in :meth:`watch` is cancelled, and the
    cancellation becomes the problem where it leaves the block. The cancellation reaches the
    engine, which aborts the generation.

    Attributes
    ----------
    problem
        With which the request was ended, if it was.
    watched
        The tasks that are in :meth:`watch`.
    """

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self.watched: set[asyncio.Task[object]] = set()

    def end(self, problem: Problem) -> None:
        """End the request with a problem; the first one counts."""
        if self.problem is None:
            self.problem = problem
            for task in self.watched:
                task.cancel()

    @contextmanager
    def after(self, seconds: float, problem: Problem) -> Iterator[None]:
        """End the request when so many seconds pass within this block."""
        timer = asyncio.get_running_loop().call_later(seconds, self.end, problem)
        try:
            yield
        finally:
            timer.cancel()

    def watch(self) -> AbstractContextManager[None]:
        """Run a block of the current task that the request's end interrupts.

        Raises
        ------
        Problem
            With which the request was ended, also where that was before the block began.
        """
        return _Watch(self)

    async def within(self, work: Awaitable[Result]) -> Result:
        """Await some work, watched."""
        try:
            with self.watch():
                return await work
        finally:
            if asyncio.iscoroutine(work):
                work.close()  # not begun where the request had ended before


class _Watch:
    """One block of a task.

    What is interrupted holds films in its frames. They must not lead back to themselves: only a
    full collection would free them, and those are rare in a large process. So the problem goes out
    as a copy, the cancellation without its traceback, and no frame here keeps either.
    """

    def __init__(self, ending: Ending) -> None:
        self._ending = ending
        self._task: asyncio.Task[object] | None = None
        self._cancelled_before = 0

    def __enter__(self) -> None:
        if self._ending.problem is not None:
            raise copy(self._ending.problem)
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("watch() needs a task")
        self._cancelled_before = self._task.cancelling()
        self._ending.watched.add(self._task)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del trace
        task, self._task = self._task, None
        assert task is not None  # it was entered
        self._ending.watched.discard(task)
        problem = self._ending.problem
        if not isinstance(error, asyncio.CancelledError) or problem is None:
            return
        # Whoever cancelled the task besides us is to have their cancellation.
        ours = task.uncancel() <= self._cancelled_before
        del task
        if ours:
            error.__traceback__ = None
            del error
            raise copy(problem) from None
