"""Three hosts imported from three generations of nvidia-smi, included and built."""

import json
from pathlib import Path

from ci_repository import make_repository

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "import"
CLUSTER = """\
version: 1
name: lab
include: [hosts/*.yaml]
models:
  big:
    backend: custom
    command: [/usr/local/bin/serve, --port, "{port}"]
    requirements:
      - {gpus: 1, gpu_memory: 90GiB, memory: 1GiB}
  small:
    backend: custom
    replicas: 3
    anti_affinity: host
    command: [/usr/local/bin/serve, --port, "{port}"]
    requirements:
      - {gpus: 1, gpu_memory: 10GiB, memory: 1GiB}
"""


def test_three_imported_hosts_build(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    (repository.path / "hosts").mkdir()
    for number, name in enumerate(("450-gtx1080ti", "535-l40s", "580-rtx5090-pro6000"), 1):
        done = repository.gslc(
            "import",
            "nvidia-smi",
            str(SAMPLES / f"nvidia-smi-{name}.xml"),
            "--host",
            f"gpu{number}",
            "--address",
            f"10.0.0.{number}",
            "--memory",
            "128GiB",
        )
        assert done.stderr == ""
        (repository.path / "hosts" / f"gpu{number}.yaml").write_text(done.stdout)
    (repository.path / "cluster.yaml").write_text(CLUSTER)
    repository.run("rm", "-r", "build", "gslc.lock")
    repository.gslc("build", "cluster.yaml", "--offline")
    plan = json.loads((repository.path / "build" / "plan.json").read_text())
    places = {row["name"]: (row["shards"][0]["host"], row["shards"][0]["gpus"]) for row in plan["instances"]}
    assert places["big-0"] == ("gpu3", [2])
    assert {host for name, (host, _) in places.items() if name.startswith("small")} == {"gpu1", "gpu2", "gpu3"}
    assert repository.gslc("build", "cluster.yaml", "--offline", "--check").returncode == 0
