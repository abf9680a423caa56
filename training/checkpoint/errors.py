"""What a command about checkpoints says in words instead of failing."""


class CheckpointError(Exception):
    """A folder, manifest or option that cannot be used; says why, and what would do."""
