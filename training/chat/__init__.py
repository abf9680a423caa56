"""OpenAI-compatible servers: where they may be, how they are asked, how patiently.

Teachers, judges and systems under test are asked through this room; what they are asked, and what
their replies mean, is theirs.
"""
