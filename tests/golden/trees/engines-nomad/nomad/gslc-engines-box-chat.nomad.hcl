# Model box-chat of cluster engines.
# Written by gslc: change the cluster file and build again.

locals {
  # fetches pinned model files, and waits for ports; runs before the server
  host_program = <<GSLC_HOST_PROGRAM
"""Fetches pinned model files, and waits for or watches ports, on a host that runs what gslc built.

    gslc_host.py fetch LIST.json [--token-file FILE]
    gslc_host.py wait [--seconds N] [--pid PID] TARGET...      http://host:port/path or tcp://host:port
    gslc_host.py watch URL

Python 3.8 or later, standard library only. `fetch` opens no socket for a file that is there and was verified: what was
verified stands in MODEL_DIR/.gslc. A download goes to a .part file beside its place, is continued where it stopped,
and gets its name only when size and sha256 are right. `wait` ends with 1 when the time is over or process PID is gone.
`watch` waits for URL, then ends with 1 as soon as it no longer answers.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

CHUNK_BYTES = 1 << 20
STALL_SECONDS = 60
ATTEMPTS = 8  # with pauses of 2, 4, 8 ... 60 s: about five minutes without any progress
LOST_AFTER = 3  # answers that fail in a row, 2 s apart, before a watched server counts as gone


class Refused(Exception):
    """Another attempt would end the same way."""


def say(text: str) -> None:
    """Prints a line at once."""
    print(text, flush=True)


# ------------------------------------------------------------------ fetch


def marker_path(model_dir: str, entry: dict) -> str:
    """Where it stands that a file was verified."""
    name = hashlib.sha256(entry["path"].encode()).hexdigest()
    return os.path.join(model_dir, ".gslc", name + ".json")


def fingerprint(path: str, entry: dict) -> dict:
    """What a verified file looks like without reading it."""
    found = os.stat(path)
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": entry["sha256"]}


def is_marked(model_dir: str, entry: dict) -> bool:
    """True where a file is there as it was when it was verified."""
    try:
        with open(marker_path(model_dir, entry), encoding="utf-8") as file:
            known = json.load(file)
        return known == fingerprint(entry["path"], entry) and known["size"] == entry["size"]
    except (OSError, ValueError):
        return False


def mark(model_dir: str, entry: dict) -> None:
    """Notes that a file was verified; a folder that can't be written costs another reading next time."""
    path = marker_path(model_dir, entry)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(fingerprint(entry["path"], entry), file)
        os.replace(path + ".new", path)
    except OSError as error:
        say(f"note: {entry['path']} is verified again next time: {error}")


def differs(path: str, entry: dict) -> str:
    """What is wrong with a file, or an empty string."""
    size = os.path.getsize(path)
    if size != entry["size"]:
        return f"has {size} bytes where {entry['size']} are pinned"
    if entry["sha256"] is None:
        return ""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            if not chunk:
                break
            digest.update(chunk)
    if digest.hexdigest() != entry["sha256"]:
        return f"has sha256 {digest.hexdigest()} where {entry['sha256']} is pinned"
    return ""


class Redirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects; a token goes back to the host it was meant for only, and never from https to http."""

    def redirect_request(self, request, response, code, message, headers, url):  # noqa: ANN001, ANN201
        """The request that follows a redirect."""
        old, new = urllib.parse.urlsplit(request.full_url), urllib.parse.urlsplit(url)
        if old.scheme == "https" and new.scheme != "https":
            raise Refused(f"{request.full_url} leads from https to {new.scheme}")
        following = super().redirect_request(request, response, code, message, headers, url)
        if following is not None:
            following.remove_header("Authorization")
            token = request.unredirected_hdrs.get("Authorization")
            if token and (old.scheme, old.netloc) == (new.scheme, new.netloc):
                following.add_unredirected_header("Authorization", token)
        return following


def open_from(entry: dict, start: int, token: str) -> tuple:
    """The rest of a file from byte `start`, and the byte from which it really comes."""
    scheme = urllib.parse.urlsplit(entry["url"]).scheme
    if scheme == "file":
        stream = open(  # noqa: SIM115 - the caller closes it
            urllib.request.url2pathname(urllib.parse.urlsplit(entry["url"]).path), "rb"
        )
        stream.seek(start)
        return stream, start
    if scheme not in ("http", "https"):
        raise Refused(f"{entry['url']}: files are fetched over http, https or from a folder")
    headers = {"User-Agent": "gslc", "Accept-Encoding": "identity"}
    request = urllib.request.Request(entry["url"], headers=headers)  # noqa: S310 - the scheme was looked at above
    if start:
        request.add_header("Range", f"bytes={start}-")
    if token and entry["token"]:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    response = urllib.request.build_opener(Redirect()).open(request, timeout=STALL_SECONDS)
    if start and response.status == 206:
        wanted = f"bytes {start}-"
        if not response.headers.get("Content-Range", "").startswith(wanted):
            raise Refused(f"{entry['url']} answers with another part than was asked for")
        return response, start
    return response, 0


def download(entry: dict, part: str, token: str) -> None:
    """Brings `part` to its full size, from where it stands."""
    start = os.path.getsize(part) if os.path.exists(part) else 0
    if start > entry["size"]:
        os.unlink(part)
        start = 0
    if start == entry["size"] and start:
        return
    stream, start = open_from(entry, start, token)
    with stream, open(part, "r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        done, shown = start, time.monotonic()
        while True:
            chunk = stream.read(CHUNK_BYTES)
            if not chunk:
                break
            done += len(chunk)
            if done > entry["size"]:
                break
            file.write(chunk)
            if time.monotonic() - shown > 15:
                shown = time.monotonic()
                say(f"{entry['path']}: {done} of {entry['size']} bytes")
        file.flush()
        os.fsync(file.fileno())
    if done > entry["size"]:
        os.unlink(part)
        raise Refused(f"{entry['url']} is larger than the {entry['size']} bytes that are pinned")
    if done < entry["size"]:
        if entry["url"].startswith("file:"):
            raise Refused(f"{entry['url']} has {done} bytes where {entry['size']} are pinned")
        raise ConnectionError(f"the connection ended after {done} of {entry['size']} bytes")


def refusal(entry: dict, error: urllib.error.HTTPError, token: str) -> str:
    """Why an HTTP answer is final; an empty string where another attempt may do better."""
    if error.code in (408, 416, 425, 429) or error.code >= 500:
        return ""
    text = f"{entry['url']} answers {error.code} {error.reason}"
    if error.code in (401, 403):
        text += "; " + ("the token is not allowed to read it" if token and entry["token"] else "it wants a token")
    return text


def need_room(entry: dict, part: str) -> None:
    """Refuses a file that the disk has no room for."""
    have = os.path.getsize(part) if os.path.exists(part) else 0
    free = shutil.disk_usage(os.path.dirname(part)).free
    if entry["size"] - have > free:
        raise Refused(f"{entry['path']} needs {entry['size'] - have} more bytes, and {free} are free")


def claim(model_dir: str, entry: dict) -> object:
    """A lock on one file, so that two clusters on a host don't write it at once; None where the system has none."""
    try:
        import fcntl
    except ImportError:
        return None
    path = marker_path(model_dir, entry) + ".lock"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    lock = open(path, "w")  # noqa: SIM115 - held until the file is there
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def fetch_file(model_dir: str, entry: dict, token: str) -> None:
    """Makes sure that one file is there and is what was pinned."""
    path = entry["path"]
    if is_marked(model_dir, entry):
        say(f"{path}: there, verified before")
        return
    wrong = differs(path, entry) if os.path.exists(path) else "is not there"
    if not wrong:
        mark(model_dir, entry)
        say(f"{path}: there, verified")
        return
    if entry["url"] is None:
        raise Refused(f"{path} {wrong}, and nothing says where to fetch it: put it there")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = path + ".part"
    lock = claim(model_dir, entry)
    try:
        # another run may have brought the file while this one waited for the lock
        if not os.path.exists(path) or differs(path, entry):
            fetch_part(entry, part, token)
            os.chmod(part, 0o644)
            os.replace(part, path)
    finally:
        if lock is not None:
            lock.close()
    mark(model_dir, entry)
    say(f"{path}: fetched, {entry['size']} bytes, verified")


def fetch_part(entry: dict, part: str, token: str) -> None:
    """A complete and verified part file, over interruptions and one wrong download."""
    failures = spoilt = reached = 0
    while True:
        try:
            need_room(entry, part)
            download(entry, part, token)
        except (OSError, http.client.HTTPException) as error:
            final = refusal(entry, error, token) if isinstance(error, urllib.error.HTTPError) else ""
            if isinstance(error, urllib.error.HTTPError) and error.code == 416 and os.path.exists(part):
                os.unlink(part)
            have = os.path.getsize(part) if os.path.exists(part) else 0
            failures = 1 if have > reached else failures + 1
            reached = max(have, reached)
            if final or failures >= ATTEMPTS:
                raise Refused(final or f"{entry['url']}: {error}") from error
            pause = min(60, 2**failures)
            say(f"{entry['url']}: {error}; again in {pause} s from byte {have}")
            time.sleep(pause)
            continue
        wrong = differs(part, entry)
        if not wrong:
            return
        os.unlink(part)
        spoilt += 1
        say(f"{entry['url']} {wrong}")
        if spoilt == 2:
            raise Refused(f"{entry['url']} {wrong}: it is not the file that was locked")


def fetch(list_path: str, token_file: str) -> int:
    """Fetches all files of a list; 1 where one is missing in the end."""
    with open(list_path, encoding="utf-8") as file:
        document = json.load(file)
    token = ""
    if token_file and os.path.exists(token_file):
        with open(token_file, encoding="utf-8") as file:
            token = file.read().strip()
    failed = 0
    for entry in document["files"]:
        try:
            fetch_file(document["model_dir"], entry, token)
        except (Refused, OSError) as error:
            say(f"error: {error}")
            failed = 1
    return failed


# ------------------------------------------------------------------ wait and watch


def answers(target: str) -> bool:
    """True where a port is open (tcp) or an HTTP request is answered with success."""
    parts = urllib.parse.urlsplit(target)
    if parts.scheme == "tcp":
        try:
            with socket.create_connection((parts.hostname, parts.port), timeout=5):
                return True
        except OSError:
            return False
    # a proxy of the environment has no business between a host and itself
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(target, timeout=10) as response:
            return 200 <= response.status < 300
    except (OSError, http.client.HTTPException):
        return False


def lives(pid: int) -> bool:
    """True while a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def wait(targets: list, seconds: int, pid: int) -> int:
    """0 when all targets answer; 1 when the time is over or the process is gone."""
    # a service that is stopped while it starts must not be called failed: systemd takes a signal here for a failure
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    deadline = time.monotonic() + seconds
    for target in targets:
        while not answers(target):
            if pid and not lives(pid):
                say(f"error: the process has ended before {target} answered")
                return 1
            if time.monotonic() > deadline:
                say(f"error: {target} does not answer after {seconds} s")
                return 1
            time.sleep(1)
        say(f"{target} answers")
    return 0


def watch(url: str) -> int:
    """1 when a server that answered no longer does."""
    while not answers(url):
        time.sleep(2)
    say(f"{url} answers")
    lost = 0
    while lost < LOST_AFTER:
        time.sleep(2)
        lost = 0 if answers(url) else lost + 1
    say(f"{url} no longer answers")
    return 1


def main() -> int:
    """The exit status of the verb that was asked for."""
    parser = argparse.ArgumentParser(prog="gslc_host.py")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("fetch")
    verb.add_argument("list")
    verb.add_argument("--token-file", default="")
    verb = verbs.add_parser("wait")
    verb.add_argument("targets", nargs="+")
    verb.add_argument("--seconds", type=int, default=600)
    verb.add_argument("--pid", type=int, default=0)
    verb = verbs.add_parser("watch")
    verb.add_argument("url")
    given = parser.parse_args()
    if given.verb == "fetch":
        return fetch(given.list, given.token_file)
    if given.verb == "wait":
        return wait(given.targets, given.seconds, given.pid)
    return watch(given.url)


if __name__ == "__main__":
    sys.exit(main())
GSLC_HOST_PROGRAM

  files_0 = <<GSLC_FILES
{
  "version": 1,
  "model": "box-chat",
  "model_dir": "/var/lib/gslc/models",
  "files": [
    {"path": "/var/lib/gslc/models/hf/makers/tiny-llama-GGUF/7a8ef9f8a884fb905f47e97c823b5133aca89bab/tiny-llama-Q4_K_M.gguf", "size": 835936, "sha256": "a0094bc99e3eac6b5d82e4d73e8c8962c5d03b4c455adf2b2eb614347fff3b80", "url": "https://huggingface.co/makers/tiny-llama-GGUF/resolve/7a8ef9f8a884fb905f47e97c823b5133aca89bab/tiny-llama-Q4_K_M.gguf", "token": "HF_TOKEN"}
  ]
}
GSLC_FILES
}

job "gslc-engines-box-chat" {
  type        = "service"
  datacenters = ["*"]

  meta = {
    "gslc.backend" = "llama-box v0.0.171"
    "gslc.cluster" = "engines"
    "gslc.model"   = "box-chat"
  }

  group "box-chat-0" {
    count = 1

    constraint {
      attribute = "${node.unique.name}"
      value     = "atlas"
    }

    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }

    constraint {
      attribute = "${attr.cpu.arch}"
      value     = "amd64"
    }

    # the plan names the node, so a failed server is tried again there and nowhere else
    restart {
      attempts = 5
      interval = "30m"
      delay    = "15s"
      mode     = "delay"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "10s"
      healthy_deadline  = "1501s"
      progress_deadline = "1801s"
    }

    ephemeral_disk {
      sticky = true
    }

    network {
      mode = "host"

      port "http" {
        static = 20001
      }
    }

    service {
      provider = "nomad"
      name     = "box-chat"
      port     = "http"
      address  = "10.0.0.11"
      tags     = ["cluster=engines", "replica=0"]

      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "5s"

        check_restart {
          limit = 3
          grace = "1500s"
        }
      }
    }

    task "fetch" {
      driver = "docker"

      lifecycle {
        hook    = "prestart"
        sidecar = false
      }

      template {
        destination     = "${NOMAD_TASK_DIR}/gslc_host.py"
        data            = local.host_program
        left_delimiter  = "<@"
        right_delimiter = "@>"
      }

      template {
        destination     = "${NOMAD_TASK_DIR}/fetch.json"
        data            = local.files_0
        left_delimiter  = "<@"
        right_delimiter = "@>"
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/hub_token"
        data        = "{{ if nomadVarExists \"nomad/jobs/gslc-engines-box-chat\" }}{{ with nomadVar \"nomad/jobs/gslc-engines-box-chat\" }}{{ with .hf_token }}{{ . }}{{ end }}{{ end }}{{ end }}"
      }

      config {
        image        = "docker.io/library/python:3.13-slim"
        network_mode = "host"
        entrypoint   = ["python3"]
        args = [
          "${NOMAD_TASK_DIR}/gslc_host.py",
          "fetch",
          "${NOMAD_TASK_DIR}/fetch.json",
          "--token-file",
          "${NOMAD_SECRETS_DIR}/hub_token",
        ]

        mount {
          type     = "bind"
          source   = "/var/lib/gslc/models"
          target   = "/var/lib/gslc/models"
          readonly = false
        }
      }

      resources {
        cpu    = 100
        memory = 256
      }
    }

    task "wait" {
      driver = "docker"

      lifecycle {
        hook    = "prestart"
        sidecar = false
      }

      template {
        destination     = "${NOMAD_TASK_DIR}/gslc_host.py"
        data            = local.host_program
        left_delimiter  = "<@"
        right_delimiter = "@>"
      }

      config {
        image        = "docker.io/library/python:3.13-slim"
        network_mode = "host"
        entrypoint   = ["python3"]
        args = [
          "${NOMAD_TASK_DIR}/gslc_host.py",
          "wait",
          "--seconds",
          "600",
          "tcp://10.0.0.11:20000",
        ]
      }

      resources {
        cpu    = 100
        memory = 256
      }
    }

    task "server" {
      driver       = "docker"
      kill_timeout = "30s"

      config {
        image        = "example.org/llama-box:v0.0.171"
        network_mode = "host"
        runtime      = "nvidia"
        args = [
          "-m",
          "/var/lib/gslc/models/hf/makers/tiny-llama-GGUF/7a8ef9f8a884fb905f47e97c823b5133aca89bab/tiny-llama-Q4_K_M.gguf",
          "--host",
          "10.0.0.11",
          "--port",
          "20001",
          "--alias",
          "box-chat",
          "-c",
          "8192",
          "-np",
          "2",
          "-ngl",
          "3",
          "--metrics",
        ]

        mount {
          type     = "bind"
          source   = "/var/lib/gslc/models"
          target   = "/var/lib/gslc/models"
          readonly = true
        }
      }

      env = {
        "CUDA_DEVICE_ORDER"      = "PCI_BUS_ID"
        "CUDA_VISIBLE_DEVICES"   = "0"
        "NVIDIA_VISIBLE_DEVICES" = "GPU-33333333-3333-4333-8333-333333333333"
      }

      resources {
        cpu        = 1000
        memory     = 512
        memory_max = 262144

        # cards are named by variables: this node shares them, or its inventory has no UUIDs (GS656)
      }
    }
  }
}
