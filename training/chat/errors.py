"""What goes wrong with a server, in words."""


class ChatError(Exception):
    """The server cannot be asked, or must not be; says why, and what would do."""


class AwayError(ChatError):
    """The server does not answer, or not for long; another time it may."""


class SilentError(AwayError):
    """Neither this request nor any other was answered meanwhile: the server, or this request."""


class RefusedError(Exception):
    """The server refuses this one request; asking it again would change nothing."""


class GarbledReplyError(RefusedError):
    """The server answered with what is no chat completion, which may have been paid for."""


class UnansweredError(RefusedError):
    """The server answers others, but not this request; another time it may."""
