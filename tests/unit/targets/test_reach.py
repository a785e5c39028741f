"""Which addresses a replica over several hosts can do with, and which of its parts may listen to their own host alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.plans import make_cluster, make_host, make_instance, make_launch, make_plan, templates

from gslc.engines.addresses import is_ipv4, is_loopback
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.inputs import Host
from gslc.ir.plan import Instance
from gslc.targets.compose import ComposeTarget
from gslc.targets.nomad import NomadTarget
from gslc.targets.systemd import SystemdTarget

TARGETS = {
    "systemd": SystemdTarget(templates=templates),
    "compose": ComposeTarget(templates=templates),
    "nomad": NomadTarget(templates=templates),
}
LOOPBACK = [
    "127.0.0.1", "127.8.0.9", "::1", "::ffff:7f00:1", "::ffff:127.0.0.1", "localhost", "LocalHost.", "node.localhost",
    "localhost.localdomain", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback",
]  # fmt: skip
OTHERS = ["10.0.0.1", "fd00::1", "::ffff:a00:1", "12.7.0.1", "::127", "localhosts", "localhost-1.example.org", "atlas"]


def hosts(atlas: str = "10.0.0.1", borea: str = "10.0.0.2") -> tuple[Host, Host]:
    return make_host(address=atlas), make_host("borea", address=borea)


def nodes(name: str = "chat-0", *, listen: str = "10.0.0.1", by_ray: bool = False) -> Instance:
    """A leader on atlas and a worker on borea, as vLLM starts them."""
    leader = make_launch(name, listen=listen, group_restart=True)
    worker = make_launch(
        f"{name}-worker-1",
        role="worker",
        rank=1,
        host="borea",
        listen="10.0.0.2",
        port=0,
        health_path=None,
        group_restart=True,
        ends_with_leader=by_ray,
    )
    return make_instance((leader, worker))


def pooled(*, listen: str = "10.0.0.2") -> Instance:
    """A leader on atlas and an RPC server on borea."""
    rpc = make_launch("chat-0-rpc-1", role="rpc", rank=1, host="borea", listen=listen, health_path=None)
    return make_instance((make_launch(after=(rpc.name,)), rpc))


def review(*instances: Instance, given: tuple[Host, ...], target: str = "systemd") -> tuple[Diagnostic, ...]:
    plan = make_plan(*(replace(instance, target=target) for instance in instances))
    cluster = make_cluster(*(replace(host, target=target) for host in given), target=target)
    return TARGETS[target].review(plan, cluster)


def places(found: tuple[Diagnostic, ...]) -> list[tuple[str, str]]:
    return [(one.code, one.place.file) for one in found]


@pytest.mark.parametrize("address", LOOPBACK)
def test_an_address_that_means_each_host_itself_is_known(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", OTHERS)
def test_no_other_address_is_taken_for_one(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_leader_under_a_loopback_address_is_refused_at_the_address(target: str) -> None:
    found = review(nodes(), given=hosts(atlas="127.0.0.1"), target=target)
    [refusal] = [one for one in found if one.severity == "error"]
    assert places((refusal,)) == [("GS659", "hosts/atlas/address")]
    assert "borea must reach chat-0 on atlas, whose address 127.0.0.1" in refusal.message
    assert refusal.help == "set hosts.atlas.address to the address under which borea reaches it"


def test_a_worker_under_a_loopback_address_is_refused_since_ranks_connect_to_each_other() -> None:
    assert places(review(nodes(), given=hosts(borea="localhost"))) == [("GS659", "hosts/borea/address")]


def test_a_host_is_told_of_once_however_many_replicas_it_has_a_part_of() -> None:
    found = review(nodes(), nodes("chat-1", listen="127.0.0.1"), given=hosts(atlas="127.0.0.1"))
    assert places(found) == [("GS659", "hosts/atlas/address")]


def test_the_leader_of_rpc_servers_is_called_by_nobody() -> None:
    assert review(pooled(), given=hosts(atlas="127.0.0.1")) == ()
    assert places(review(pooled(listen="127.0.0.1"), given=hosts(borea="127.0.0.1"))) == [
        ("GS659", "hosts/borea/address")
    ]


def test_an_rpc_server_that_listens_to_its_own_host_is_refused_at_listen() -> None:
    [found] = review(pooled(listen="127.0.0.1"), given=hosts())
    assert places((found,)) == [("GS659", "hosts/borea/listen")]
    assert found.help == "set hosts.borea.listen to 10.0.0.2"


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize(
    ("address", "listen", "key", "help_line"),
    [
        ("fd00::2", "fd00::2", "address", "set hosts.borea.address to an IPv4 address, or to a name that has one"),
        ("n2.example", "n2.example", "address", "set hosts.borea.listen to its IPv4 address"),
        ("10.0.0.2", "n2.example", "listen", "set hosts.borea.listen to its IPv4 address"),
        ("10.0.0.2", "::", "listen", "set hosts.borea.listen to its IPv4 address"),
    ],
)
def test_an_rpc_server_needs_an_ipv4_address(target: str, address: str, listen: str, key: str, help_line: str) -> None:
    given = (make_host(address="fd00::1"), replace(make_host("borea", address=address), listen=listen))
    found = [one for one in review(pooled(listen=listen), given=given, target=target) if one.code == "GS664"]
    assert [(*places((one,))[0], one.help) for one in found] == [("GS664", f"hosts/borea/{key}", help_line)]


@pytest.mark.parametrize(
    ("address", "listen"), [("10.0.0.2", "10.0.0.2"), ("n2.example", "0.0.0.0"), ("n2.example", "10.0.0.2")]
)
def test_an_rpc_server_may_have_a_name_where_it_listens_on_numbers(address: str, listen: str) -> None:
    given = (make_host(address="n1.example"), replace(make_host("borea", address=address), listen=listen))
    assert [one for one in review(pooled(listen=listen), given=given) if one.code == "GS664"] == []
    assert review(nodes(), given=hosts("fd00::1", "fd00::2")) == ()


def test_four_numbers_are_an_ipv4_address() -> None:
    assert all(is_ipv4(text) for text in ("0.0.0.0", "255.255.255.255", "10.0.0.1"))
    assert not any(
        is_ipv4(text) for text in ("256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.", "::1", "a.b.c.d")
    )


def test_a_replica_on_one_host_may_have_any_address() -> None:
    instance = make_instance((make_launch(), make_launch("chat-0-worker-1", role="worker", rank=1, port=20001)))
    assert review(instance, given=(make_host(address="127.0.0.1"),)) == ()


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize(("atlas", "borea"), [("10.0.0.1", "10.0.0.1"), ("n1.example", "N1.example.")])
def test_two_hosts_of_a_replica_with_one_address_are_refused(target: str, atlas: str, borea: str) -> None:
    found = review(nodes(), pooled(), given=hosts(atlas, borea), target=target)
    [refusal] = [one for one in found if one.code == "GS663"]
    assert (refusal.severity, refusal.place.file) == ("error", "hosts/borea/address")
    assert [one.place.file for one in refusal.related] == ["hosts/atlas/address"]


def test_replicas_that_do_not_span_them_may_lie_on_two_hosts_of_one_address() -> None:
    found = review(
        make_instance(make_launch()),
        make_instance(make_launch("chat-1", host="borea")),
        given=hosts("10.0.0.1", "10.0.0.1"),
    )
    assert found == ()


@pytest.mark.parametrize("listen", ["127.0.0.1", "::1", "localhost"])
def test_systemd_says_that_workers_cannot_watch_a_leader_that_listens_to_its_own_host(listen: str) -> None:
    [found] = review(nodes(listen=listen), given=hosts())
    assert (found.severity, *places((found,))[0]) == ("warning", "GS660", "hosts/atlas/listen")
    assert "workers of chat-0 on borea are not restarted with its leader on atlas" in found.message
    assert found.message.endswith(f"it listens on {listen}")
    assert found.help == "set hosts.atlas.listen to 10.0.0.1, or restart the workers after the leader"


def test_systemd_has_nothing_to_say_where_the_watch_is_written_or_needless() -> None:
    assert review(nodes(), given=hosts()) == ()
    assert review(nodes(listen="127.0.0.1", by_ray=True), given=hosts()) == ()


@pytest.mark.parametrize("listen", ["10.0.0.1", "127.0.0.1"])
def test_a_worker_is_given_its_watch_or_the_build_warns(listen: str) -> None:
    instance = nodes(listen=listen)
    outcome = TARGETS["systemd"].render(make_plan(instance), make_cluster(*hosts()))
    written = any(file.path.endswith("-watch.service") for file in outcome.value or ())
    assert written != any(one.code == "GS660" for one in review(instance, given=hosts()))
