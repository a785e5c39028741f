"""A backend and a target from another package are used without a change in gslc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from model_files import llama_gguf

PLUGIN = """
from gslc.ir.diagnostic import Outcome
from gslc.ir.inputs import EnginePin
from gslc.ir.output import OutputFile
from gslc.ir.plan import Launch
from gslc.memory.stated import stated_options

class Sglang:
    name = "sglang"
    default_pin = EnginePin(version="0.5")
    def review(self, request):
        return ()
    def excludes(self, request, host_class):
        return ()
    def options(self, request, host_class):
        return stated_options(request.model, host_class)
    def engine_version(self, request, host_class):
        return "0.5"
    def launches(self, request, assignment, hosts):
        seat = assignment.seats[0]
        return (Launch(name=f"{assignment.model}-{assignment.replica}", role="leader", rank=0, host=seat.host,
                       program="/usr/local/bin/sglang", argv=("--port", str(seat.ports[0])), image=None, port=seat.ports[0]),)

class Quadlet:
    name = "quadlet"
    def __init__(self, templates):
        self.templates = templates
    def excludes(self, host_class):
        return None
    def review(self, plan, cluster):
        return ()
    def render(self, plan, cluster):
        text = "".join(f"{i.name} {' '.join(s.launch.argv)}\\n" for i in plan.instances for s in i.shards)
        return Outcome(value=(OutputFile(path="quadlet/all.txt", text=text),))
"""
CLUSTER = """\
version: 1
name: lab
target: quadlet
hosts: {a: {memory: 8GiB}}
models:
  one:
    backend: sglang
    source: file://MODEL
    requirements: [{memory: 1GiB}]
"""


def test_a_plug_in_backend_and_target_build(tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "gslc_more-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "gslc_more.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gslc-more\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gslc.backends]\nsglang = gslc_more:Sglang\n[gslc.targets]\nquadlet = gslc_more:Quadlet\n"
    )
    model = tmp_path / "model.gguf"
    model.write_bytes(llama_gguf().part(0, llama_gguf().size))
    (tmp_path / "cluster.yaml").write_text(CLUSTER.replace("MODEL", str(model)))
    code = f"import sys; sys.path.insert(0, {str(site)!r}); from gslc.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "build", str(tmp_path / "cluster.yaml"), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build" / "quadlet" / "all.txt").read_text() == "one-0 --port 20000\n"


def test_without_the_plug_in_the_names_are_located_errors(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    command = [sys.executable, "-m", "gslc", "build", str(tmp_path / "cluster.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cluster.yaml:3:" in done.stderr
    assert "cluster.yaml:7:" in done.stderr
