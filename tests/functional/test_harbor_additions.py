"""Additions of artifacts through Harbor's API: read from blobs that strangers have pushed."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from typing import Any

import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.registry import archives, kinds
from tests.functional.harbor_artifacts import path_of, push, put, upload
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

APP = "library/web/app"
AT = f"{path_of(APP)}/artifacts"
CHART = "application/vnd.cncf.helm.config.v1+json"
MODEL = "application/vnd.cncf.model.config.v1+json"
PNG = b"\x89PNG\r\n\x1a\n and a picture"


def tar(files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w", format=kind) as made:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    return into.getvalue()


async def chart(world: World, tag: str, content: bytes) -> None:
    config: dict[str, Any] = {
        "name": "web",
        "dependencies": [{"name": "db", "version": "1", "repository": "r"}],
    }
    await push(world.client, APP, tag, config, content, config_type=CHART, layer_type=kinds.CHART_CONTENT)


async def test_a_charts_files_and_an_images_history_are_shown(world: World):
    long_ = f"web/{'a' * 150}.txt"
    files = {
        long_: b"long",
        "web/charts/db/values.yaml": b"other",
        "web/values.yaml": b"a: 1",
        "web/README.md": b"# Web",
    }
    await chart(world, "chart", gzip.compress(tar(files)))
    await chart(world, "gnu", gzip.compress(tar(files, tarfile.GNU_FORMAT)))
    await chart(world, "bare", gzip.compress(tar({"web/Chart.yaml": b""})))
    history = [{"created_by": "RUN it"}]
    await push(world.client, APP, "image", {"history": history, "os": "linux"})
    seen = {}
    for one in ("chart/additions/values.yaml", "chart/additions/readme.md", "gnu/additions/readme.md",
                "bare/additions/readme.md", "chart/additions/dependencies", "image/additions/build_history",
                "image/additions/vulnerabilities"):  # fmt: skip
        answer = await world.client.get(f"{AT}/{one}")
        assert (answer.status_code, answer.headers["x-content-type-options"]) == (200, "nosniff"), one
        seen[one] = answer

    assert [seen[f"{one}/additions/readme.md"].text for one in ("chart", "gnu", "bare")] == [
        "# Web",
        "# Web",
        "",
    ]
    assert seen["chart/additions/values.yaml"].text == "a: 1"
    assert seen["chart/additions/dependencies"].json()[0]["name"] == "db"
    assert seen["image/additions/build_history"].json() == history
    assert seen["image/additions/vulnerabilities"].json() == {}
    statuses = {"image/additions/readme.md": 400, "image/additions/sbom": 400, "chart/additions/build_history": 400,
                "image/additions/nothing": 422, "nothing/additions/readme.md": 404}  # fmt: skip
    for one, status in statuses.items():
        assert (await world.client.get(f"{AT}/{one}")).status_code == status, one


async def test_an_archive_that_grows_too_much_is_refused_and_says_why(world: World):
    bombs = {
        "grows": gzip.compress(bytes(archives.LARGEST_EXPANDED + 1)),
        "entries": gzip.compress(
            tar({f"web/{n}": b"" for n in range(archives.MOST_ENTRIES + 1)}, tarfile.USTAR_FORMAT)
        ),
        "parts": gzip.compress(b"") * (archives.MOST_MEMBERS + 1),
        "cut": gzip.compress(tar({"web/values.yaml": bytes(2000)})[:1000]),
        "early": gzip.compress(tar({"web/other": b"a"}))[:-9],
        "rubbish": b"\x1f\x8b rubbish",
        "large": gzip.compress(tar({"web/values.yaml": bytes(archives.LARGEST_FILE + 1)})),
    }
    words = {"grows": "grows to more than", "entries": "entries", "parts": "parts", "cut": "ends within a file",
             "early": "too early", "rubbish": "damaged", "large": "are shown"}  # fmt: skip

    for name, content in bombs.items():
        await chart(world, name, content)
        refused = await world.client.get(f"{AT}/{name}/additions/values.yaml")
        assert refused.status_code == 412, name
        assert words[name] in refused.text, refused.text


async def test_a_models_files_are_drawn_and_its_readme_shown(world: World):
    config = await upload(world.client, APP, b'{"descriptor":{"name":"m"},"config":{"format":"gguf"}}', MODEL)
    layers = []
    for path, kind, data in (("weights/a.bin", "weight.v1.raw", b"w"), ("README.md", "doc.v1.raw", b"# Model"),
                             ("LICENSE.txt", "doc.v1.tar", tar({"LICENSE.txt": b"free"}))):  # fmt: skip
        described = await upload(world.client, APP, data, f"application/vnd.cncf.model.{kind}")
        layers.append({**described, "annotations": {"org.cncf.model.filepath": path}})
    await put(world.client, APP, "model", {"config": config, "layers": layers})

    async def addition(name: str) -> Any:
        return await world.client.get(f"{AT}/model/additions/{name}")

    assert [(await addition(one)).text for one in ("readme.md", "license")] == ["# Model", "free"]
    drawn = (await addition("files")).json()
    assert drawn[0] == {"name": "weights", "type": "directory", "children": [
        {"name": "a.bin", "type": "file", "size": 1}]}  # fmt: skip
    shown = (await world.client.get(f"{AT}/model")).json()
    assert (shown["type"], shown["extra_attrs"]) == ("CNAI", {"format": "gguf", "name": "m"})


async def test_an_icon_is_shown_to_whoever_may_read_its_artifact(world: World):
    config = await upload(world.client, APP, b"{}", "application/vnd.acme.rocket.config.v1+json")
    icon = await upload(world.client, APP, PNG, "image/png")
    text = await upload(world.client, APP, b"<svg>", "image/svg+xml")
    noted = {**icon, "annotations": {"io.goharbor.artifact.v1alpha1.icon": ""}}
    await put(world.client, APP, "rocket", {"config": config, "layers": [noted, text]})
    shown = (await world.client.get(f"{AT}/rocket")).json()

    found = await world.client.get(f"{PREFIX}/icons/{shown['icon']}")
    assert (shown["type"], shown["icon"]) == ("ROCKET", icon["digest"])
    assert found.json() == {"content-type": "image/png", "content": base64.b64encode(PNG).decode()}
    assert (await world.client.get(f"{PREFIX}/icons/{text['digest']}")).status_code == 404
    assert (await (await world.as_(None)).get(f"{PREFIX}/icons/{icon['digest']}")).status_code == 404
    assert (await world.client.get(f"{PREFIX}/icons/nothing")).status_code == 400
