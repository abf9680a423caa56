"""Examples, and what makes them."""
