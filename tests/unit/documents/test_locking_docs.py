"""What docs/locking.md shows works as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gslc.edges.hub import HubSettings

TEXT = (Path(__file__).parents[3] / "docs" / "locking.md").read_text(encoding="utf-8")


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[number]


def test_the_recipe_for_renovate_finds_owner_repository_and_commit() -> None:
    (manager,) = json.loads(block("json"))["customManagers"]
    pattern = manager["matchStrings"][0].replace("(?<", "(?P<")
    found = re.search(pattern, block("yaml"))
    assert found is not None
    assert found.groupdict() == {
        "depName": "Qwen/Qwen2.5-7B-Instruct",
        "currentDigest": "a09a35458c702b33eeacc393d103063234e8bc28",
    }
    assert re.search(pattern, "source: hf://o/r:Q4_K_M") is None
    for file, wanted in (
        ("cluster.yaml", True),
        ("prod/cluster.yml", True),
        ("models/chat.yaml", True),
        ("values.yaml", False),
    ):
        assert any(re.search(rule.strip("/"), file) for rule in manager["managerFilePatterns"]) == wanted


def test_the_limits_in_the_text_are_those_of_the_settings() -> None:
    settings = HubSettings()
    assert (
        f"{settings.timeout_seconds:.0f} s for one socket operation and {settings.request_seconds:.0f} s for one request"
        in TEXT
    )
    assert settings.attempts == 4
    assert "four attempts" in TEXT
    assert f"up to {settings.local_sha256_limit // 1024**3} GiB" in TEXT
    assert settings.retry_most_seconds == 60
