"""What a rollout is worth: the published rule, ours, and anyone's own."""
