"""The server's HTTP/1.1: protocol, bodies and limits."""
