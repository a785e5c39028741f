"""A small git repository with a cluster, and CI steps that really run in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from copies import copy_of

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = """\
version: 1
name: lab
hosts:
  atlas:
    memory: 64GiB
    gpus:
      - {model: NVIDIA L4, count: 2}
  borea:
    memory: 64GiB
    gpus:
      - {model: Tesla T4}
models:
  embed:
    backend: custom
    gpus: ["atlas/1"]
    command: [/usr/local/bin/embed, --port, "{port}"]
    requirements:
      - {gpus: 1, gpu_memory: 4GiB, memory: 1GiB}
  rerank:
    backend: custom
    gpus: ["borea/0"]
    command: [/usr/local/bin/rerank, --port, "{port}"]
    requirements:
      - {gpus: 1, gpu_memory: 3GiB, memory: 1GiB}
"""
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass(slots=True)
class Repository:
    """A repository whose first commit holds the cluster and its build."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True, check=check)

    def gslc(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("gslc", *args, check=check)

    def commit(self, message: str) -> str:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", message)
        return self.run("git", "rev-parse", "HEAD").stdout.strip()

    def change(self, old: str, new: str, file: str = "cluster.yaml") -> None:
        text = (self.path / file).read_text()
        assert old in text
        (self.path / file).write_text(text.replace(old, new))


def make_repository(folder: Path, subfolder: str = "") -> Repository:
    """A repository with a built cluster; `gslc` on its PATH is this checkout."""
    programs = folder / "programs"
    programs.mkdir(parents=True)
    (programs / "gslc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gslc "$@"\n')
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    path = folder / "repository"
    path.mkdir()
    repository = Repository(path=path)
    repository.environment = {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "compiler"),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    for name in ("AUTHOR", "COMMITTER"):
        repository.environment |= {f"GIT_{name}_NAME": "tester", f"GIT_{name}_EMAIL": "tester@example.org"}

    def first_commit(folder: Path) -> None:
        made = Repository(path=folder, environment=repository.environment)
        made.run("git", "init", "-q", "-b", "main", ".")
        (folder / subfolder).mkdir(exist_ok=True)
        cluster = os.path.join(subfolder, "cluster.yaml")
        (folder / cluster).write_text(CLUSTER)
        made.gslc("build", cluster, "--offline")
        made.commit("one")

    copy_of(("repository with a built cluster", subfolder), first_commit, path)
    return repository


@dataclass(slots=True)
class ActionRun:
    """What a run of the action's steps left behind."""

    statuses: dict[str, int]
    log: dict[str, str]
    outputs: dict[str, dict[str, str]]
    summary: str


def run_action(
    repository: Repository, folder: Path, context: Mapping[str, str], inputs: Mapping[str, str]
) -> ActionRun:
    """Run the shell steps of action.yml in order, as a runner does: each with its own bash, env, and output file.

    `context` gives github.*; "Install gslc" runs only with the input `really_install`, uses: steps are noted and passed over.
    """
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    folder.mkdir()
    values = dict(context)
    for name, about in action["inputs"].items():
        values[f"inputs.{name}"] = inputs.get(name, evaluate(str(about["default"]), values))
    result = ActionRun(statuses={}, log={}, outputs={}, summary="")
    summary = folder / "summary.md"
    summary.touch()
    failed = False
    for number, step in enumerate(action["runs"]["steps"]):
        name = step["name"]
        if failed or ("if" in step and not condition(step["if"], values)):
            continue
        if "uses" in step:
            result.statuses[name] = 0
            continue
        if step.get("id") == "install" and "really_install" not in inputs:
            continue
        output, path = folder / f"output-{number}", folder / f"path-{number}"
        output.touch()
        path.touch()
        environment = {
            **repository.environment,
            "GITHUB_OUTPUT": str(output),
            "GITHUB_PATH": str(path),
            "GITHUB_STEP_SUMMARY": str(summary),
            "RUNNER_TEMP": str(folder),
            **{key: evaluate(str(value), values) for key, value in step.get("env", {}).items()},
        }
        assert not EXPRESSION.search(step["run"]), "an expression in a script would be pasted as code"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=repository.path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        result.statuses[name] = done.returncode
        result.log[name] = done.stdout + done.stderr
        failed = done.returncode != 0
        result.outputs[step.get("id", name)] = dict(line.split("=", 1) for line in output.read_text().splitlines())
        for key, value in result.outputs[step.get("id", name)].items():
            values[f"steps.{step['id']}.outputs.{key}"] = value
        for added in path.read_text().splitlines():
            repository.environment["PATH"] = f"{added}:{repository.environment['PATH']}"
    result.summary = summary.read_text()
    return result


def evaluate(text: str, values: Mapping[str, str]) -> str:
    """The text with its expressions replaced: names, and `a || b`."""

    def one(match: re.Match[str]) -> str:
        names = [part.strip() for part in match.group(1).split("||")]
        return next((values[name] for name in names if values.get(name)), "")

    return EXPRESSION.sub(one, text)


def condition(text: str, values: Mapping[str, str]) -> bool:
    """The value of `a == 'b' && …`."""
    parts = [part.split("==") for part in text.split("&&")]
    return all(values.get(name.strip(), "") == wanted.strip().strip("'") for name, wanted in parts)
