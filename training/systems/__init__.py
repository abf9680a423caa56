"""Systems under test: given an example, a prediction; whatever they are and wherever they run."""
