"""Chunks of questions, as worker processes draw them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mathkernels import files
from mathkernels.data.mathematics import modules
from mathkernels.data.mathematics.modules import Difficulty, Sampler
from mathkernels.data.mathematics.questions import draw


@dataclass(frozen=True)
class Chunk:
    """Questions of one module that one seed decides.

    Args:
        folder, module, number: which; they and the seed decide the questions.
        count: of questions.
        path: of the file that gets them.
    """

    folder: str
    module: str
    number: int
    count: int
    path: Path

    @property
    def name(self) -> tuple[str, str, int]:
        return self.folder, self.module, self.number


@dataclass(frozen=True)
class Drawing:
    """What decides the questions of a chunk besides its name.

    Args:
        seed: of all chunks.
        limit: seconds of the processor for a question.
        difficulty: None for the authors' own.
        samplers: folder and difficulty -> callables by the module's name; for tests.
    """

    seed: int
    limit: float
    difficulty: Difficulty | None = None
    samplers: Callable[[str, Difficulty | None], dict[str, Sampler]] = modules.samplers

    @property
    def preload(self) -> str:
        return __name__

    def write(
        self, chunk: Chunk, skip: frozenset[int], begin: Callable[[int], None] = lambda number: None
    ) -> dict[str, int]:
        """Draw a chunk into its file, and return how many questions were dropped for which reason."""
        sampler = self.samplers(chunk.folder, self.difficulty)[chunk.module]
        pairs, dropped = draw(sampler, (self.seed, *chunk.name), chunk.count, self.limit, skip, begin)
        chunk.path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(chunk.path) as temporary:
            lines = (line + "\n" for pair in pairs for line in pair)
            temporary.write_text("".join(lines), encoding="utf-8", newline="\n")
        return dropped
