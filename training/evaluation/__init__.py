"""Judging what a checkpoint says."""
