"""What the understanding expert reads: fixed text, images, the state's place and the instruction, in the order of each layout.

One function per layout serves training and inference, so that both see the same tokens.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from agents.vla.backbone_config import BYTES, BackboneConfig
from dexhil_env.errors import ConfigError

STATE: Final = -1
"""Stands for the state token in a list of parts; a number from 0 on stands for the image of that camera."""
INTERNVL_SYSTEM: Final = "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"  # noqa: RUF001
"""System message that Being-H0.5 was trained with (the one of InternVL's conversation template)."""
BEINGH_INSTRUCTION: Final = "According to the instruction '{task}', what's the micro-step actions in the next {chunk} steps?"
"""Being-H0.5's instruction (its prompt template "long")."""

Part = str | int


class Tokenizer(Protocol):
    """Text to token ids."""

    def encode(self, text: str) -> list[int]:
        """Return ids; special tokens written in the text count as one token each."""
        ...

    def save(self, folder: str) -> None:
        """Write what ``read_tokenizer`` needs."""
        ...


class ByteTokenizer:
    """UTF-8 bytes as ids; needs no file."""

    def encode(self, text: str) -> list[int]:
        """Return one id per byte."""
        return list(text.encode())

    def save(self, folder: str) -> None:
        """Nothing to write."""


class HFTokenizer:
    """A tokenizer of ``transformers``."""

    def __init__(self, source: str) -> None:
        """Read it from a folder or the hub."""
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ConfigError(f"no tokenizer at {source!r} ({error}); give a folder with tokenizer.json or a hub id") from error

    def encode(self, text: str) -> list[int]:
        """Return ids without a begin or end token of the tokenizer's own."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def save(self, folder: str) -> None:
        """Write the tokenizer's files."""
        self._tokenizer.save_pretrained(folder)


def require_tokenizer(config: BackboneConfig) -> None:
    """Refuse a configuration that names neither tokenizer nor backbone."""
    if not config.tokenizer and not config.source:
        raise ConfigError("this preset takes tokenizer and weights from a backbone; add --backbone with a folder or a hub id")


def read_tokenizer(config: BackboneConfig) -> Tokenizer:
    """Return the tokenizer that a configuration names."""
    require_tokenizer(config)
    return ByteTokenizer() if config.tokenizer == BYTES else HFTokenizer(config.tokenizer or config.source)


@dataclass(frozen=True)
class Parts:
    """A prompt in pieces.

    Attributes:
        before: fixed text, camera numbers and ``STATE``, in order; the same for every sample.
        instruction: format of the instruction, with ``{task}`` and ``{chunk}``.
        after: text after the instruction.
    """

    before: tuple[Part, ...]
    instruction: str
    after: str


def parts(config: BackboneConfig, cameras: int) -> Parts:
    """Return the prompt of a layout."""
    if config.layout == "plain":
        return Parts(tuple(range(cameras)), "{task}", "")
    if config.layout == "beingh":
        images = [part for camera in range(cameras) for part in ("<img>", camera, "</img>")]
        start = f"<|im_start|>system\n{INTERNVL_SYSTEM}<|im_end|>\n<|im_start|>user\n"
        before = (start, *images, "<|state_start|>", STATE, "<|state_end|>")
        return Parts(before, BEINGH_INSTRUCTION, "<|im_end|>\n<|im_start|>assistant\n")
    if config.family == "internvl":
        images = [part for camera in range(cameras) for part in ("<img>", camera, "</img>\n")]
        return Parts(("<|im_start|>user\n", *images), "{task}", "<|im_end|>\n<|im_start|>assistant\n")
    around, whole = "<fake_token_around_image>", "<global-img>"
    images = [part for camera in range(cameras) for part in (around + whole, camera, around)]
    return Parts(("<|im_start|>User:", *images), "{task}", "<end_of_utterance>\nAssistant:")


class Prompt:
    """Tokens of a prompt; the fixed text is encoded once."""

    def __init__(self, config: BackboneConfig, tokenizer: Tokenizer, cameras: int, chunk: int) -> None:
        """Encode what does not change."""
        self._parts, self._tokenizer, self._limit, self._chunk = parts(config, cameras), tokenizer, config.text_tokens, chunk
        self.before: list[list[int] | int] = []
        for part in self._parts.before:
            self.before.append(tokenizer.encode(part) if isinstance(part, str) else part)
        self._after = tokenizer.encode(self._parts.after) if self._parts.after else []
        self._known: dict[str, list[int]] = {}

    def state_index(self, image_tokens: int) -> int | None:
        """Return how many tokens come before the state token, None where it is not part of the prompt."""
        if STATE not in self.before:
            return None
        first = self.before[: self.before.index(STATE)]
        return sum(len(part) if isinstance(part, list) else image_tokens for part in first)

    def instructions(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return ids (B, L) of instruction and what follows it, padded at the end, and their validity (B, L)."""
        rows = [self._row(text) for text in texts]
        length = max(map(len, rows))
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int64)
        valid = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in rows])
        return ids, valid

    def _row(self, text: str) -> list[int]:
        """Encode one instruction, cut to the limit; a few are remembered."""
        if text not in self._known:
            if len(self._known) > 1000:
                self._known.clear()
            words = self._tokenizer.encode(self._parts.instruction.format(task=text.strip() or " ", chunk=self._chunk))
            self._known[text] = words[: self._limit] + self._after
        return self._known[text]
