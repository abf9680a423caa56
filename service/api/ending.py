"""What ends a request from outside: its deadline, or the service's own stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import TypeVar

from service.problem import Problem

Result = TypeVar("Result")


class Ending:
    """A problem that may come over a request at any time and ends what it is at.

    Works as ``asyncio.timeout`` does: the task that is in :meth:`watch` is cancelled, and the
    cancellation becomes the problem where it leaves the block. The cancellation reaches the
    engine, which aborts the generation.
    """

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    def end(self, problem: Problem) -> None:
        """End the request with a problem; the first one counts."""
        if self.problem is None:
            self.problem = problem
            for task in self._tasks:
                task.cancel()

    @contextmanager
    def after(self, seconds: float, problem: Problem) -> Iterator[None]:
        """End the request when so many seconds pass within this block."""
        timer = asyncio.get_running_loop().call_later(seconds, self.end, problem)
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Run a block of the current task that the request's end interrupts.

        Raises
        ------
        Problem
            With which the request was ended, also where that was before the block began.
        """
        if self.problem is not None:
            raise copy(self.problem)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("watch() needs a task")
        cancelled_before = task.cancelling()
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError as cancelled:
            # Whoever cancelled the task besides us is to have their cancellation.
            if self.problem is not None and task.uncancel() <= cancelled_before:
                # The frames it came through hold films, and would lead back to themselves by the
                # problem that is kept here: only a full collection would free them.
                cancelled.__traceback__ = None
                raise copy(self.problem) from None
            raise
        finally:
            self._tasks.discard(task)

    async def within(self, work: Awaitable[Result]) -> Result:
        """Await some work, watched."""
        try:
            with self.watch():
                return await work
        finally:
            if asyncio.iscoroutine(work):
                work.close()  # not begun where the request had ended before
