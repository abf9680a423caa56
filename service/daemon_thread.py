"""One thread whose work the program's end does not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")


class DaemonThread(Executor):
    """Does what it is given, one thing after the other, in a thread of its own.

    The interpreter waits at its exit for the threads of a ``ThreadPoolExecutor``: one that hangs
    in the kernel (for a disk, in a driver) would keep the process for ever. It does not wait for
    this one.

    Parameters
    ----------
    name
        Of the thread, which begins with the first work.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._given: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = False

    def submit(
        self, work: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[Result]:
        """Have something done after all that was given before.

        Raises
        ------
        RuntimeError
            After :meth:`shutdown`.
        """
        future: Future[Result] = Future()
        with self._lock:
            if self._ending:
                raise RuntimeError("the thread takes no further work")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._given.put((future, partial(work, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no further work, and end when what was given is done; ``wait``: return then."""
        with self._lock:
            self._ending = True
            self._given.put(None)
            thread = self._thread
        if wait and thread is not None:
            thread.join()

    def _work(self) -> None:
        while (given := self._given.get()) is not None:
            future, work = given
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # whoever waits for it sees it
                    future.set_exception(error)
            del given, future, work  # what they hold on to is not kept until the next comes
