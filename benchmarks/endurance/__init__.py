"""What soak and chaos share: a served service, requests with known right answers, measurements."""
