"""The memory that bodies are received into."""

_SPARE = 16


class Buffers:
    """A process's buffers for bodies: so many large ones, and small ones for those who come later.

    This is what keeps memory flat whatever the number of uploads.
    """

    def __init__(self, size: int, count: int) -> None:
        self.size = size
        self.count = count
        self.given = 0
        self._spare: list[bytearray] = []

    def take(self) -> bytearray:
        """Give a buffer: a spare one, a new one, or a small one if too many are out."""
        self.given += 1
        if self._spare:
            return self._spare.pop()
        return bytearray(self.size if self.given <= self.count else self.size // 8)

    def give(self, buffer: bytearray) -> None:
        """Take a buffer back."""
        self.given -= 1
        if len(buffer) == self.size and len(self._spare) < min(_SPARE, self.count):
            self._spare.append(buffer)
