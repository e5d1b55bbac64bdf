"""Images as folders (image-spec, image-layout.md), made without a network, and compared byte for byte."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moorage.oci.manifests import OCI_INDEX, OCI_MANIFEST

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

Descriptor = dict[str, Any]


@dataclass(slots=True)
class Layout:
    """An image layout that is being written."""

    path: Path
    names: list[Descriptor] = field(default_factory=list)
    # skopeo and podman remember for a whole machine which blobs hold the same files, and push one for another.
    salt: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        """Make the folder."""
        (self.path / "blobs" / "sha256").mkdir(parents=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def add(self, media_type: str, content: bytes) -> Descriptor:
        """Write a blob, and give its descriptor."""
        hex_ = hashlib.sha256(content).hexdigest()
        (self.path / "blobs" / "sha256" / hex_).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{hex_}", "size": len(content)}

    def name(self, tag: str, what: Descriptor) -> Descriptor:
        """Give a manifest a name in the layout."""
        annotations = {"org.opencontainers.image.ref.name": tag}
        self.names.append({**what, "annotations": annotations})
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.names}
        (self.path / "index.json").write_text(json.dumps(index))
        return what

    def image(self, text: str, architecture: str = "amd64") -> Descriptor:
        """Write an image with two layers that hold *text*."""
        files = ({"file": text.encode() * 50}, {"of": architecture.encode()})
        tars = [tar({**several, "salt": self.salt.encode()}) for several in files]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in tars],
            },
            "history": [
                {"created": "2026-01-01T00:00:00Z", "created_by": "a test"},
                {"created": "2026-01-01T00:00:00Z", "created_by": "a test"},
            ],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.add(CONFIG, json.dumps(config).encode()),
            "layers": [self.add(LAYER, gzip.compress(one, mtime=0)) for one in tars],
        }
        return self.add(OCI_MANIFEST, json.dumps(manifest, indent=1).encode())

    def index(self, text: str) -> Descriptor:
        """Write an index of images for two architectures."""
        children = [
            {**self.image(text, architecture), "platform": {"os": "linux", "architecture": architecture}}
            for architecture in ("amd64", "arm64")
        ]
        whole = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
        return self.add(OCI_INDEX, json.dumps(whole, indent=1).encode())


def blobs(layout: Path) -> dict[str, bytes]:
    """Give every blob of a layout by its hex digest."""
    return {blob.name: blob.read_bytes() for blob in (layout / "blobs" / "sha256").iterdir()}


def tar(files: dict[str, bytes]) -> bytes:
    """Pack files, always into the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
