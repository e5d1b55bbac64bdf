"""What a password costs in tests: next to nothing, but where its price is what is tried."""

from __future__ import annotations

from argon2 import PasswordHasher, Type

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, type=Type.ID)
