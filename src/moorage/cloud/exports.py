"""A chain as a file: JSON lines of the keys that sign, the entries and the signed heads, which anybody can check alone."""

from __future__ import annotations

import base64
import binascii
import functools
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from moorage.cloud import chains, heads, ledger, signing
from moorage.cloud.chains import Checked
from moorage.cloud.signing import PublicKey, SignatureInvalid
from moorage.db import Reader


async def lines(
    reader: Reader, chain: str, *, after: int = 0, most: int | None = None
) -> AsyncIterator[dict[str, object]]:
    """Give the lines of a chain's entries past one, *most* of them or all, with what is needed to check them."""
    for key in await signing.published(reader):
        yield {"type": "key", "keyId": key.id, "publicKey": base64.b64encode(key.public).decode()}
    seq, left = after, most
    while left is None or left > 0:
        page = await ledger.listed(reader, chain, after=seq, most=ledger.MOST if left is None else left)
        if not page:
            break
        for one in page:
            yield one.told
        seq = page[-1].entry.seq
        left = None if left is None else left - len(page)
    signed = after
    while found := await heads.listed(reader, chain, after=signed, most=ledger.MOST):
        for head in found:
            # Those of entries that are not in this file would be said to miss them.
            if head.seq <= seq:
                yield heads.told(head)
        signed = found[-1].seq


def check(text: Iterable[str], trusted: Sequence[PublicKey] = ()) -> tuple[Checked, list[PublicKey]]:
    """Check the lines of a file, and give the keys that its heads were checked by.

    They are those that are *trusted*, or else those that the file itself has, which prove something only to who compares
    their ids with those that the provider publishes.
    """
    told = list(text)
    keys = list(trusted) or keys_in(told)
    return chains.check(told, functools.partial(signing.verify, keys)), keys


def keys_in(text: Iterable[str]) -> list[PublicKey]:
    """Read the keys of a file; what is none is left out, and whatever it signed is told then."""
    found: dict[str, PublicKey] = {}
    for line in text:
        if _is_key(line):
            try:
                key = PublicKey.parse(base64.b64decode(_loaded(line)["publicKey"], validate=True))
            except (SignatureInvalid, binascii.Error, KeyError, TypeError):
                continue
            found[key.id] = key
    return list(found.values())


def _is_key(line: str) -> bool:
    told = _loaded(line)
    return isinstance(told, dict) and told.get("type") == "key"


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
