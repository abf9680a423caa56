"""Signals that come before the server runs, which handles its own."""

from __future__ import annotations

import signal
from types import FrameType


class StoppedWhileStarting(SystemExit):
    """SIGTERM or SIGINT came before anything was served."""


class StartUp:
    """From ``begin`` to ``end``, SIGTERM and SIGINT stop the start and SIGHUP is remembered.

    The digests of a large checkpoint take minutes, in which the default of SIGHUP would kill.

    Attributes
    ----------
    hung_up
        Whether SIGHUP came; what it asks for is due once there is a service.
    """

    def __init__(self) -> None:
        self.hung_up = False
        self._stopped = False
        self._ended = False

    def begin(self) -> None:
        """Take the signals over."""
        for received in (signal.SIGINT, signal.SIGTERM):
            signal.signal(received, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)

    def end(self) -> None:
        """Leave stopping to the server, which has taken both signals over by now.

        After its graceful stop it hands them back, and then they mean nothing: the process ends by
        itself and with its own exit status.

        Raises
        ------
        StoppedWhileStarting
            Where a signal came and its exception was lost on the way, in a destructor for one.
        """
        if self._stopped:
            raise StoppedWhileStarting(0)
        self._ended = True

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        if not self._ended:
            self._stopped = True
            raise StoppedWhileStarting(0)

    def _hang_up(self, sig: int, frame: FrameType | None) -> None:
        self.hung_up = True
