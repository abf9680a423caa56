"""What a stage says in words instead of failing."""

NOT_FINITE = (
    "The learner's log-probabilities of its own rollouts are not finite: its weights are not, "
    "either, or its precision overflows. Begin again in another output with a lower "
    "optimizer.learning_rate, or choose model.precision bf16-mixed or float32."
)
"""What stops a run whose model cannot say any more how likely a token is."""


class ConfigError(Exception):
    """A config that cannot be used; says which field, why, and what would do."""


class SilentFailureError(Exception):
    """A run that would teach nothing, or the wrong thing; says what is wrong and how to mend it."""
