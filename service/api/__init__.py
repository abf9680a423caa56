"""HTTP in, HTTP out: routes, negotiation, problems, admission, streaming, cancellation."""
