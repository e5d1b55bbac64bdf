"""The servers that tests may ask for."""

pytest_plugins = ("tests.servers.postgres", "tests.servers.seaweedfs")
