"""Damaged files of every kind: refused or read, never a traceback, and what is read compiles."""

import random

import pytest
from importing import SAMPLES, run

FILES = {
    "nvidia-smi-535-l40s.xml": "nvidia-smi",
    "rocm-smi-mi300x.json": "rocm-smi",
    "amd-smi-7900xtx.json": "amd-smi",
    "gpustack-runtime-h100.json": "gpustack-runtime",
    "kubernetes-nodes.json": "kubernetes",
    "nomad-node.json": "nomad",
    "ansible-inventory.json": "ansible",
    "gpustack-workers.json": "gpustack-workers",
    "gpustack-models.json": "gpustack-models",
    "compose-vllm-llama.yaml": "compose",
    "llama-swap-config.yaml": "llama-swap",
}
PIECES = (
    "",
    "\0",
    "\n",
    '"',
    "'",
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "&a ",
    "*a",
    "<",
    ">",
    "&x;",
    "<!DOCTYPE x [",
    "null",
    "-1",
    "9" * 30,
    "é",
    "\u202e",
    "  ",
)


def damaged(text: str, dice: random.Random) -> str:
    """The text with up to eight of its pieces replaced, doubled, moved or cut."""
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(text) + 1)
        end = min(len(text), at + dice.choice((0, 1, 1, 3, 20, 200)))
        choice = dice.randrange(4)
        if choice == 0:
            text = text[:at] + dice.choice(PIECES) + text[end:]
        elif choice == 1:
            text = text[:at] + text[at:end] * 2 + text[end:]
        elif choice == 2:
            text = text[:at] + text[end:] + text[at:end]
        else:
            text = text[: max(at, 1)] if dice.random() < 0.1 else text[:at] + text[end:]
    return text


def trial(file: str, rounds: int) -> int:
    """How many of the damaged files could still be imported."""
    dice = random.Random(file)
    whole = (SAMPLES / file).read_text(encoding="utf-8")
    read = 0
    for _ in range(rounds):
        outcome = run(FILES[file], damaged(whole, dice), "atlas", "borea")
        assert outcome.value is not None or outcome.diagnostics
        read += outcome.value is not None and bool(outcome.value.text())
    return read


@pytest.mark.parametrize("file", FILES)
def test_damaged_files_are_refused_or_read(file: str) -> None:
    assert trial(file, 30) < 30


@pytest.mark.fuzz
@pytest.mark.parametrize("file", FILES)
def test_many_damaged_files_are_refused_or_read(file: str) -> None:
    assert trial(file, 50_000) < 50_000
