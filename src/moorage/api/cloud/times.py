"""Times as the provider's API writes them: as notifications do."""

from moorage.cloud.times import written, written_or_none

__all__ = ["written", "written_or_none"]
