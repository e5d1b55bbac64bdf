"""A disk that forgets, at a loss of power, all that was not synced: killing a process cannot."""

import os
import shutil
from pathlib import Path

from moorage.storage.disk import Disk


class ForgetfulDisk(Disk):
    """A real file system that remembers what was synced, and can lose the rest."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sizes: dict[int, int] = {}
        self._names: dict[Path, set[str]] = {}
        self.file_syncs = 0

    def sync(self, descriptor: int) -> None:
        """Remember the file's size."""
        super().sync(descriptor)
        state = os.fstat(descriptor)
        self._sizes[state.st_ino] = state.st_size
        self.file_syncs += 1

    def sync_folder(self, folder: Path) -> None:
        """Remember the folder's names."""
        super().sync_folder(folder)
        self._names[folder] = {entry.name for entry in folder.iterdir()}

    def lose_power(self) -> None:
        """Drop every name and every byte that was not synced."""
        self._forget(self._root.parent, {self._root.name})

    def _forget(self, folder: Path, among: set[str]) -> None:
        kept = self._names.get(folder, set())
        for name in among:
            path = folder / name
            if name not in kept:
                _destroy(path)
            elif path.is_dir():
                self._forget(path, {entry.name for entry in path.iterdir()})
            else:
                path.chmod(0o600)
                os.truncate(path, self._sizes.get(path.stat().st_ino, 0))


def _destroy(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
