"""What a stage says in words instead of failing."""


class ConfigError(Exception):
    """A config that cannot be used; says which field, why, and what would do."""


class SilentFailureError(Exception):
    """A run that would teach nothing, or the wrong thing; says what is wrong and how to mend it."""
