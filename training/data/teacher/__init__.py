"""Cold-start data from a teacher: any OpenAI-compatible endpoint, asked for grounded reasoning.

For every example the teacher gets the films, the question, the known answer and named regions with
their boxes, and writes the steps that lead from what is seen to the answer. ``checks`` says what is
kept; every rejection is counted with its reason. ``docs/cold-start-data.md`` shows it at work.
"""
