"""Writes the generated pages of the documentation: `python docs/generate.py [PAGE…]`, from the root of the repository.

With --check nothing is written; the exit status is 1 where a page is not current.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "compiler"))

Schema = dict[str, Any]
HEAD = "<!-- Written by docs/generate.py; edit {source} instead. -->\n\n"


# ------------------------------------------------------------------ cluster-file.md

CLUSTER_FILE = """\
# The cluster file

`cluster.yaml` says what there is (hosts and their GPUs) and what is wanted (models). `gslc init` writes a first one;
[editor.md](editor.md) tells how an editor completes and checks it. This page lists every key.

The YAML is the small part that everybody reads alike: plain strings stay strings (`no`, `on`, `22:22`, `1e3` are text
where text is wanted), and anchors, aliases, tags, merge keys, duplicate keys, second documents and nesting deeper than
32 levels are refused where they stand. All mistakes are reported at once, each with its place and what mends it.

**Sizes** are `24GiB`, `80GB`, `512MiB` or a bare number of bytes. A bare number from 1 to 1,048,575 is refused: 24 was
meant as 24GiB. **Names** have 1 to 63 characters of a-z, 0-9 and `-`, with no `-` at the ends. **Secrets** are named,
never written: `{secret: chat-key}`.

```yaml
version: 1
name: lab
hosts:
  atlas:
    address: 10.0.0.11
    memory: 128GiB
    gpus:
      - {model: NVIDIA GeForce RTX 4090, count: 2}
models:
  chat:
    source: hf://Qwen/Qwen2.5-7B-Instruct
    replicas: 2
```
"""

# Title, the schema's definition, and a sentence, in the order of the page.
SECTIONS = (
    ("Top level", "", "Keys of the cluster file itself."),
    ("A host", "host", "`hosts` is a map of names to hosts."),
    ("A GPU entry", "gpu", "An item of a host's `gpus`. Known names are listed in [gpus.md](gpus.md)."),
    ("An engine pin", "engine", "`engines`, of the cluster or of a host, is a map of engines to pins."),
    (
        "A model",
        "model",
        "`models` is a map of names to models; `defaults` takes the same keys, and a model's own key wins.",
    ),
    ("A requirement", "requirementPart", "An item of a model's `requirements`, or of the `parts` of one."),
    (
        "An included file",
        "part",
        "What a file named by `include` may hold. Maps are joined; what two files define is refused.",
    ),
)


def cluster_file() -> str:
    """The reference of cluster.yaml, from its schema."""
    schema: Schema = json.loads((ROOT / "schemas/cluster.schema.json").read_text(encoding="utf-8"))
    parts = [HEAD.format(source="schemas/cluster.schema.json"), CLUSTER_FILE]
    for title, name, sentence in SECTIONS:
        section = schema["$defs"][name] if name else schema
        parts.append(f"\n## {title}\n\n{sentence}\n\n{table(section, schema)}")
    return "".join(parts)


def table(section: Schema, schema: Schema) -> str:
    """The keys of an object schema as a table."""
    required = set(section.get("required", ()))
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    for key, raw in section["properties"].items():
        value = resolved(raw, schema)
        default = "needed" if key in required else shown(value["default"]) if "default" in value else ""
        lines.append(f"| `{key}` | {kind(value, schema)} | {default} | {described(value)} |")
    return "\n".join(lines) + "\n"


def resolved(value: Schema, schema: Schema) -> Schema:
    """A schema with what its $ref stands for; what it says itself wins."""
    if "$ref" not in value:
        return value
    target: Any = schema
    for step in value["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    name = value["$ref"].rpartition("/")[2]
    return {**resolved(target, schema), "name": name, **{key: own for key, own in value.items() if key != "$ref"}}


NAMED = {"size": "size", "positiveSize": "size", "name": "name", "secret": "`{secret: name}`", "source": "source"}


def kind(value: Schema, schema: Schema) -> str:
    """What is to be written, in a few words."""
    if value.get("name") in NAMED:
        return NAMED[value["name"]]
    if "const" in value:
        return shown(value["const"])
    if "enum" in value:
        return ", ".join(shown(word) for word in value["enum"])
    if "anyOf" in value and "type" not in value:
        return " or ".join(kind(resolved(choice, schema), schema) for choice in value["anyOf"])
    types = value.get("type", "object")
    if types == "array":
        return f"list of {plural(kind(resolved(value['items'], schema), schema))}"
    if types == "integer":
        return whole_number(value)
    if isinstance(types, list) or types == "string":
        return "text"
    return {"boolean": "`true`, `false`", "number": "number", "object": "map"}[types]


def whole_number(value: Schema) -> str:
    """A whole number and its range."""
    low, high = value.get("minimum"), value.get("maximum")
    return f"number, {low:,} to {high:,}" if low is not None and high is not None else "number"


def plural(words: str) -> str:
    """What a list holds."""
    if words.startswith("list of "):
        return f"lists of {words.removeprefix('list of ')}"
    return {"text": "text", "map": "maps"}.get(
        words, f"{words.split(',', maxsplit=1)[0]}s" if words.startswith("number") else words
    )


def shown(value: object) -> str:
    """A value as it is written in YAML."""
    return f"`{flow(value)}`"


def described(value: Schema) -> str:
    """The description and an example, safe in a table."""
    text: str = value.get("description", "")
    examples = [example for example in value.get("examples", ()) if example != value.get("default")]
    if examples and value.get("name") not in ("size", "positiveSize", "name", "secret"):
        text += " E.g. " + ", ".join(f"`{flow(example)}`" for example in examples) + "."
    return text.replace("|", "\\|").replace("\n", " ")


def flow(value: object) -> str:
    """A value in YAML's flow form."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(own)}" for key, own in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(own) for own in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) and value.startswith("{") else str(value)


# ------------------------------------------------------------------ pages with a script of their own


def printed(script: Path) -> str:
    """What a page's script prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "compiler"), "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, check=True, encoding="utf-8", env=environment
    )
    return run.stdout


def pages() -> dict[str, Callable[[], str]]:
    """The generated pages by name: the cluster file's, and one for each .ci/docs_*.py."""
    scripts = sorted((ROOT / ".ci").glob("docs_*.py"))
    own = {script.stem.removeprefix("docs_"): partial(printed, script) for script in scripts}
    return {"cluster-file": cluster_file, **own}


def main(arguments: list[str]) -> int:
    """Write the pages that are named (default: all), or with --check compare them."""
    check = "--check" in arguments
    known = pages()
    names = [name for name in arguments if name != "--check"] or list(known)
    unknown = sorted(set(names) - known.keys())
    if unknown:
        print(f"no page {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    stale = []
    for name in names:
        path = ROOT / "docs" / f"{name}.md"
        text = known[name]()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8", newline="\n")
    print(
        "\n".join(f"docs/{name}.md {'is not current' if check else 'written'}" for name in stale)
        or "all pages are current"
    )
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
