"""The control API: an HTTP server on the loopback address for whoever holds tokens in tests."""
