"""Harbor's API, version 2.0, as Harbor 2.15 has it: the registry plane's management."""
