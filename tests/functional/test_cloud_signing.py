"""What the provider signs can be checked by anybody, for good: whatever key signs today."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from moorage.cloud import events, signing
from moorage.cloud.events import SYSTEM
from moorage.cloud.signing import PublicKey, SignatureInvalid
from moorage.identity.keys import MasterKey, MasterKeyWrong
from tests.functional.cloud_api_world import Api
from tests.functional.cloud_world import MASTER, Platform

PAYLOAD = b'{"type":"test","of":"a head"}'


async def test_what_is_signed_is_checked_by_what_is_published_and_by_any_other_tool(platform: Platform):
    made = await signing.sign(platform.db, MASTER, PAYLOAD)
    keys = await signing.published(platform.db)

    signing.verify(keys, made.key_id, PAYLOAD, made.value)
    key = load_pem_public_key(next(one.pem for one in keys if one.id == made.key_id).encode())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(made.value, PAYLOAD)


@pytest.mark.parametrize("changed", ["payload", "signature", "key"])
async def test_whatever_was_altered_is_told(platform: Platform, changed: str):
    made = await signing.sign(platform.db, MASTER, PAYLOAD)
    keys = await signing.published(platform.db)
    payload, value = PAYLOAD, made.value
    if changed == "payload":
        payload += b" "
    elif changed == "signature":
        value = bytes([value[0] ^ 1]) + value[1:]
    else:
        # Another's key under the name of ours: the name is of the key, so it is none.
        keys = [dataclasses.replace(keys[0], id=made.key_id, public=bytes(32))]

    with pytest.raises(SignatureInvalid, match=made.key_id):
        signing.verify(keys, made.key_id, payload, value)


async def test_after_a_rotation_the_old_signatures_are_still_good(platform: Platform):
    before = await signing.sign(platform.db, MASTER, PAYLOAD)
    new = await signing.rotate(platform.db, MASTER, SYSTEM)
    after = await signing.sign(platform.db, MASTER, PAYLOAD)

    keys = await signing.published(platform.db)
    assert before.key_id != after.key_id == new
    assert next(one for one in keys if one.id == before.key_id).retired_at is not None
    for made in (before, after):
        signing.verify(keys, made.key_id, PAYLOAD, made.value)
    await events.drain(platform.db, {}, None)  # type: ignore[arg-type]
    (told,) = await events.listed(platform.db, new)
    assert told.kind == "signing-key.rotated"


async def test_many_who_rotate_and_sign_at_once_leave_one_row_of_keys(platform: Platform):
    known = {one.id for one in await signing.published(platform.db)}
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(signing.rotate(platform.db, MASTER, SYSTEM))
        signed = [group.create_task(signing.sign(platform.db, MASTER, PAYLOAD)) for _ in range(8)]

    keys = await signing.published(platform.db)
    assert len({one.id for one in keys} - known) == 4
    for one in signed:
        signing.verify(keys, one.result().key_id, PAYLOAD, one.result().value)


async def test_the_private_half_opens_with_the_master_key_alone(platform: Platform):
    await signing.sign(platform.db, MASTER, PAYLOAD)

    with pytest.raises(MasterKeyWrong):
        await signing.sign(platform.db, MasterKey.new(), PAYLOAD)


def test_a_key_of_another_length_is_none():
    with pytest.raises(SignatureInvalid, match="32 bytes, not 31"):
        PublicKey.parse(bytes(31))


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_anybody_is_told_the_public_keys(api: Api):
    made = await signing.sign(api.orders.platform, api.orders.world.parts.master, PAYLOAD)

    shown = (await api.owner.client.get("/1.0/cloud/signingKey", auth=None)).json()

    (ours,) = [one for one in shown if one["keyId"] == made.key_id]
    assert (ours["algorithm"], ours["retiredAt"]) == ("Ed25519", None)
    key = load_pem_public_key(ours["publicKey"].encode())
    assert signing.id_of(key.public_bytes_raw()) == made.key_id  # type: ignore[union-attr]
