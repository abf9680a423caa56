"""What ends a run of the teacher, in words."""

from training.chat.errors import ChatError


class TeacherError(ChatError):
    """The teacher cannot be asked, or must not be; says why, and what would do."""


class FilmError(Exception):
    """A film that cannot be shown to the teacher."""
