"""The command line: the server's commands and a client of the public APIs."""
