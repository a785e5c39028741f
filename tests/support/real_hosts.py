"""Network namespaces that stand for hosts: each with an address of its own on one link, gone when the test is over."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A host: processes that are started in it see its own network alone."""

    name: str
    address: str

    def command(
        self, words: Sequence[str | Path], *, root: Path | None = None, binds: Sequence[Path] = ()
    ) -> list[str]:
        """The command that runs `words` here; with `root` in that tree, which sees `binds` at their own paths."""
        inside = ["ip", "netns", "exec", self.name]
        if root is not None:
            # `ip netns exec` gives a mount namespace of its own, so that nothing of this stays
            mounts = "".join(f'mkdir -p "$1{bind}"; mount --bind "{bind}" "$1{bind}"; ' for bind in binds)
            top = "".join(f'mount -t tmpfs tmpfs "$1/{part}"; ' for part in sorted({bind.parts[1] for bind in binds}))
            inside += ["sh", "-ec", f'{top}{mounts}root=$1; shift; exec chroot "$root" "$@"', "-", str(root)]
        return [*inside, *(str(word) for word in words)]


@contextmanager
def hosts_on_a_link(hosts: Mapping[str, str]) -> Iterator[dict[str, Namespace]]:
    """Two namespaces by host name, with the addresses given (each a /24), joined by a pair of virtual cards."""
    made = {host: Namespace(name=f"gslc-{os.getpid()}-{host}", address=address) for host, address in hosts.items()}
    first, second = made.values()
    try:
        for space in made.values():
            _ip("netns", "add", space.name)
        _ip(
            "link",
            "add",
            "name",
            "lan",
            "netns",
            first.name,
            "type",
            "veth",
            "peer",
            "name",
            "lan",
            "netns",
            second.name,
        )
        for space in made.values():
            _ip("-n", space.name, "address", "add", f"{space.address}/24", "dev", "lan")
            for card in ("lo", "lan"):
                _ip("-n", space.name, "link", "set", card, "up")
        yield made
    finally:
        for space in made.values():
            subprocess.run(["ip", "netns", "delete", space.name], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
