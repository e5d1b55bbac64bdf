"""Durable work: what is promised in a transaction, and kept after it.

A change writes a row of the outbox in its own transaction; the relay (``registry.relay``) moves it to the record,
and starts a job for it if somebody waits for that kind of event. A job is done in rounds, each of which *ensures*
something: a round that a crash cut short is simply done again.
"""

from moorage.jobs.job import Awaited, CannotWork, Event, Handlers, Job, Rounds

__all__ = ["Awaited", "CannotWork", "Event", "Handlers", "Job", "Rounds"]
