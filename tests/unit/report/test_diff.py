"""What changes between two plans, and how it is printed."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_plans import GIB, host, instance, plan, shard

from gslc.documents.plan import plan_document
from gslc.edges.plan_source import PlanSource
from gslc.ir.diagnostic import Decision
from gslc.ir.plan import HostSummary, Instance, Layout, Plan, Unplaced
from gslc.report.diff import diff_plans
from gslc.report.diff_json import diff_json
from gslc.report.diff_markdown import LIMIT, diff_markdown
from gslc.report.diff_model import PlanDiff
from gslc.report.diff_text import diff_text
from gslc.report.diff_units import unit_texts
from gslc.report.diff_words import flag_values


def source(of: Plan, files: dict[str, str] | None = None, name: str = "build") -> PlanSource:
    return PlanSource(name=name, document=plan_document(of), files=files)


def compared(old: Plan, new: Plan) -> PlanDiff:
    return diff_plans(source(old, name="HEAD~1:build"), source(new))


def names(diff: PlanDiff) -> dict[str, str]:
    return {model.model: model.change for model in diff.models}


CHAT, CODER, EMBED = instance("chat"), instance("coder", gpus=(1,), port=20001), instance("embed", where="borealis")


def test_one_changed_model_is_named_and_no_other() -> None:
    longer = instance("coder", gpus=(1,), port=20001, context=16384, gib=20)
    diff = compared(plan(CHAT, CODER, EMBED), plan(CHAT, longer, EMBED))
    assert names(diff) == {"coder": "changed"}
    assert [one.name for one in diff.restarts] == ["coder-0"]
    assert diff.unchanged == 2
    for printed in (diff_text(diff), diff_markdown(diff), json.dumps(diff_json(diff))):
        assert "coder-0" in printed
        assert "chat" not in printed
        assert "embed" not in printed


def test_context_memory_and_flag_are_told_before_and_after() -> None:
    diff = compared(plan(CHAT), plan(instance("chat", context=16384, gib=20.5)))
    text = diff_text(diff)
    assert re.search(r"context +8192 -> 16384", text)
    assert re.search(r"--max-model-len +8192 -> 16384", text)
    assert re.search(r"atlas GPU 0 +18\.0 GiB -> 20\.5 GiB  \(\+2\.5 GiB\)", text)
    (one,) = diff.models[0].instances
    (gpu,) = [change for change in one.memory if change.gpu == 0]
    assert gpu.before is not None
    assert gpu.after is not None
    assert (gpu.before.total, gpu.after.total) == (18 * GIB, 20 * GIB + GIB // 2)


def test_added_and_removed_models_and_freed_gpus() -> None:
    diff = compared(plan(CHAT, CODER), plan(CHAT, EMBED))
    assert names(diff) == {"coder": "removed", "embed": "added"}
    assert diff.gpus_freed == (("atlas", 1),)
    assert diff.gpus_taken == (("borealis", 0),)
    assert diff.hosts_taken == ("borealis",)
    assert diff.restarts == ()


def test_one_replica_less_is_a_change_of_its_model() -> None:
    diff = compared(plan(CHAT, instance("chat", 1, gpus=(1,))), plan(CHAT))
    assert names(diff) == {"chat": "changed"}
    assert [(one.name, one.change) for one in diff.models[0].instances] == [("chat-1", "removed")]


def test_a_move_says_from_where_to_where_and_why() -> None:
    why = Decision(subject="coder-0", topic="seat", chosen="borealis/0", rule="r", because="atlas lost its second card")
    moved = instance("coder", where="borealis", port=20001, decisions=(why,))
    diff = compared(plan(CHAT, replace(CODER, decisions=())), plan(CHAT, moved))
    (one,) = diff.models[0].instances
    assert one.moved
    text = diff_text(diff)
    assert re.search(r"moved +atlas GPU 1 -> borealis GPU 0", text)
    assert "atlas lost its second card" in text
    assert one.restart is not None
    assert "moves" in one.restart.because


L40S = "NVIDIA L40S"
WAS = replace(instance("chat", where="atlas", gpus=(1,), gib=20), decisions=())
NOW = replace(instance("chat", where="borealis", gib=20), decisions=())
BOREALIS = host("borealis", L40S, gib=45)


@pytest.mark.parametrize(
    ("atlas", "others", "now", "words"),
    [
        ((), (), NOW, "atlas is no longer in the inventory"),
        ((host("atlas", "X"),), (), NOW, "atlas no longer has GPU 1"),
        ((host("atlas", "X", "X", labels={"os": "darwin"}),), (), NOW, "atlas has os=darwin, and it wants os=linux"),
        (
            (host("atlas", "X", "X"),),
            (),
            replace(NOW, selector={"rack": "r1"}),
            "atlas has no label rack, and it wants rack=r1",
        ),
        (
            (host("atlas", "X", "X"),),
            (instance("coder", gpus=(1,), gib=10),),
            NOW,
            "it needs 20.0 GiB on a GPU, and atlas GPU 1 has 14.0 GiB beside coder-0: 6,442,450,944 bytes short",
        ),
        (
            (host("atlas", "X", "X"),),
            (),
            replace(instance("chat", where="borealis", gpus=(0, 1), gib=10), decisions=()),
            "its layout changed from 1 GPU to 2 GPUs",
        ),
        ((host("atlas", "X", "X"),), (), NOW, "its old place would still do"),
    ],
)
def test_a_move_is_explained_by_what_the_plans_say(
    atlas: tuple[HostSummary, ...], others: tuple[Instance, ...], now: Instance, words: str
) -> None:
    new = plan(now, *others, hosts=(*atlas, BOREALIS))
    (model, *_) = [model for model in compared(plan(WAS, *others), new).models if model.model == "chat"]
    (reason, *_) = model.instances[0].reasons
    assert reason.topic == "move"
    assert words in reason.because


def test_replicas_that_differ_in_reasons_only_are_counted_apart() -> None:
    other = replace(CHAT, decisions=(replace(CHAT.decisions[0], because="otherwise"),))
    diff = compared(plan(CHAT), plan(other))
    assert diff.models == ()
    assert diff.reasons_only == ("chat-0",)
    assert diff.different
    assert "nothing happens to them" in diff_text(diff)


def test_a_group_restarts_as_a_whole() -> None:
    def pair(flag: str) -> Instance:
        lead = shard("atlas", name="big-0", group_restart=True)
        follower = shard(
            "borealis", name="big-0-worker-1", role="worker", rank=1, argv=("serve", flag), group_restart=True
        )
        return instance("big", 0, lead, follower)

    diff = compared(plan(pair("--a")), plan(pair("--b")))
    (one,) = diff.restarts
    assert one.restart is not None
    assert one.restart.whole
    assert one.restart.processes == ("big-0", "big-0-worker-1")


def test_only_the_changed_process_of_a_loose_group_restarts() -> None:
    def pair(flag: str) -> Instance:
        lead = shard("atlas", name="big-0")
        return instance("big", 0, lead, shard("borealis", name="big-0-rpc-0", role="rpc", argv=(flag,)))

    (one,) = compared(plan(pair("--a")), plan(pair("--b"))).restarts
    assert one.restart is not None
    assert one.restart.processes == ("big-0-rpc-0",)


def test_a_changed_unit_restarts_its_instance_even_when_the_launch_is_the_same() -> None:
    path = "systemd/atlas/gslc-lab-chat-0.service"
    other = "systemd/borealis/gslc-lab-embed-0.service"
    same = plan(CHAT, EMBED)
    old = source(same, {path: "[Service]\nRestartSec=5\n", other: "[Service]\n"})
    new = source(same, {path: "[Service]\nRestartSec=9\n", other: "# other comment\n[Service]\n"})
    diff = diff_plans(old, new)
    assert [(one.name, one.restart.because) for one in diff.restarts if one.restart] == [("chat-0", "its unit changes")]
    assert [(file.path, file.change) for file in diff.files or ()] == [(path, "changed"), (other, "changed")]


def test_one_service_of_a_compose_file_is_charged_alone() -> None:
    def compose(limit: str) -> str:
        return (
            "# made by gslc\nname: lab\nservices:\n"
            f"  chat-0:\n    image: a\n    mem_limit: {limit}\n  coder-0:\n    image: b\nvolumes:\n  models: {{}}\n"
        )

    def found(limit: str) -> PlanSource:
        return source(plan(CHAT, CODER), {"compose/atlas/compose.yaml": compose(limit)})

    assert [one.name for one in diff_plans(found("1g"), found("2g")).restarts] == ["chat-0"]


def test_service_names_may_be_quoted() -> None:
    text = 'services:\n  "chat-0":\n    image: "a"\nvolumes:\n  "chat-0-cache": {}\n'
    assert unit_texts({"compose/atlas/compose.yaml": text}, "lab") == {
        ("atlas", "chat-0"): '  "chat-0":\n    image: "a"'
    }


def test_an_image_counts_only_where_containers_run() -> None:
    def at(target: str, image: str) -> Instance:
        part = shard("atlas")
        return instance("chat", 0, replace(part, launch=replace(part.launch, image=image)), target=target)

    assert not compared(plan(at("systemd", "a:1")), plan(at("systemd", "a:2"))).models
    (one,) = compared(plan(at("compose", "a:1")), plan(at("compose", "a:2"))).restarts
    assert [(it.field, it.before, it.after) for it in one.fields] == [("program", "a:1", "a:2")]


def test_one_group_of_a_nomad_job_is_charged_alone_and_the_job_itself_to_all() -> None:
    def job(first: str, driver: str) -> dict[str, str]:
        groups = "".join(
            f'  group "{name}" {{\n    task "x" {{\n      driver = "{value}"\n    }}\n  }}\n'
            for name, value in (("chat-0", first), ("chat-1", "docker"))
        )
        return {"nomad/gslc-lab-chat.nomad.hcl": f'job "chat" {{\n  type = "{driver}"\n{groups}}}\n'}

    assert unit_texts(job("a", "service"), "lab").keys() == {("", "chat-0"), ("", "chat-1")}
    both = plan(CHAT, instance("chat", 1, gpus=(1,)))
    one_group = diff_plans(source(both, job("docker", "service")), source(both, job("raw_exec", "service")))
    assert [one.name for one in one_group.restarts] == ["chat-0"]
    whole_job = diff_plans(source(both, job("docker", "service")), source(both, job("docker", "system")))
    assert [one.name for one in whole_job.restarts] == ["chat-0", "chat-1"]


def test_unplaced_replicas_and_inventory_changes_are_told() -> None:
    old = plan(CHAT, hosts=(host("atlas", "L4"),))
    new = replace(
        plan(CHAT, hosts=(host("atlas", "L4", "L4"),)), unplaced=(Unplaced(model="x", replica=0, code="GS402"),)
    )
    diff = compared(old, new)
    assert diff.hosts == (("atlas", "changed"),)
    assert "x-0 (GS402)" in diff_text(diff)
    assert "x-0" in diff_markdown(diff)


def test_secrets_show_their_name_only() -> None:
    old = instance("chat", 0, shard("atlas", env=(("KEY", "1"),)))
    new = instance("chat", 0, shard("atlas", secret_env=(("KEY", "chat-key"),)))
    text = diff_text(compared(plan(old), plan(new)))
    assert "1 -> (secret chat-key)" in text


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (("serve", "m"), {"arguments": ("serve", "m")}),
        (("--a", "1", "--b"), {"--a": ("1",), "--b": ()}),
        (("--a=1", "--a", "2"), {"--a": ("1", "2")}),
        (("-ts", "1,2", "-1", "-0.5"), {"-ts": ("1,2", "-1", "-0.5")}),
        (("--t", '{"a": "--b c"}'), {"--t": ('{"a": "--b c"}',)}),
        (("--x y",), {"arguments": ("--x y",)}),
    ],
)
def test_flags_and_their_values(argv: tuple[str, ...], found: dict[str, tuple[str, ...]]) -> None:
    assert flag_values(argv) == found


def test_the_comment_tells_moves_and_what_is_freed() -> None:
    new = plan(replace(instance("coder", where="borealis", port=20001, gib=18), decisions=()), EMBED)
    text = diff_markdown(compared(plan(CHAT, CODER, EMBED), new))
    assert "atlas GPU 1 → borealis GPU 0" in text
    assert "| moved | atlas GPU 1 | borealis GPU 0 |" in text
    assert "| GPU memory | atlas GPU 1 18.0 GiB | borealis GPU 0 18.0 GiB |" in text
    assert "hosts freed: atlas" in text
    assert "GPUs freed: atlas 0, atlas 1" in text


def test_a_comment_without_differences_is_one_line() -> None:
    assert diff_markdown(compared(plan(CHAT), plan(CHAT))) == "### gslc: no differences\n"


def test_another_target_restarts_and_says_so() -> None:
    (one,) = compared(plan(CHAT), plan(instance("chat", target="compose"))).restarts
    assert one.restart is not None
    assert one.restart.because == "the target is compose now"


def test_a_follower_that_is_gone_restarts_the_rest_of_a_group() -> None:
    lead = shard("atlas", name="big-0", group_restart=True)
    follower = shard("borealis", name="big-0-worker-1", role="worker", rank=1, group_restart=True)
    second = shard("borealis", name="big-0-worker-2", role="worker", rank=2, group_restart=True)
    old, new = instance("big", 0, lead, follower, second), instance("big", 0, lead, follower)
    (one,) = compared(plan(old), plan(new)).restarts
    assert one.restart is not None
    assert one.restart.because == "it is gone"
    assert one.restart.processes == ("big-0", "big-0-worker-1")
    assert "all of its processes together" in diff_text(compared(plan(old), plan(new)))


def test_layers_are_told_with_how_many_there_are() -> None:
    old = replace(CHAT, layout=replace(CHAT.layout, gpu_layers=24, layers=33))
    new = replace(CHAT, layout=replace(CHAT.layout, gpu_layers=33, layers=33))
    assert re.search(r"GPU layers +24 of 33 -> 33 of 33", diff_text(compared(plan(old), plan(new))))


def test_an_inventory_that_only_one_plan_has_is_no_difference() -> None:
    assert not compared(plan(CHAT, hosts=()), plan(CHAT)).different


def test_another_order_of_flags_restarts_and_says_so() -> None:
    old = instance("chat", argv=("--a", "1", "--b", "2"))
    new = instance("chat", argv=("--b", "2", "--a", "1"))
    (one,) = compared(plan(old), plan(new)).restarts
    assert [word.name for word in one.flags] == ["order of arguments"]


instances = st.builds(
    lambda model, replica, where, gpus, gib, context, port: instance(
        model, replica, where=where, gpus=gpus, gib=gib, context=context, port=port
    ),
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 2),
    st.sampled_from(["atlas", "borealis"]),
    st.sampled_from([(), (0,), (1,), (0, 1)]),
    st.integers(1, 9),
    st.sampled_from([None, 4096, 8192]),
    st.integers(20000, 20003),
)
plans = st.builds(
    lambda many: plan(*sorted({one.name: one for one in many}.values(), key=lambda one: one.name)), st.lists(instances)
)


@given(plans)
def test_a_plan_does_not_differ_from_itself(one: Plan) -> None:
    diff = compared(one, one)
    assert not diff.different
    assert diff.models == ()
    assert "no differences" in diff_text(diff)
    assert diff_json(diff)["different"] is False


@given(plans, plans)
def test_back_is_the_mirror_of_forth(old: Plan, new: Plan) -> None:
    forth, back = compared(old, new), compared(new, old)
    mirrored = {"added": "removed", "removed": "added", "changed": "changed"}
    assert names(back) == {model: mirrored[change] for model, change in names(forth).items()}
    assert back.gpus_freed == forth.gpus_taken
    assert forth.unchanged == back.unchanged
    assert {one.name for one in forth.restarts} == {one.name for one in back.restarts}


@given(plans, plans)
def test_exactly_the_instances_that_differ_are_named(old: Plan, new: Plan) -> None:
    before, after = ({one.name: one for one in side.instances} for side in (old, new))
    differing = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {one.name for model in compared(old, new).models for one in model.instances} == differing


hostile = st.text(alphabet=st.sampled_from(list("ab|`<>&@#*_[]\\\n\r\t\u202e\x1b\ufeff\u2028é中")), max_size=400)


@given(hostile, hostile, st.integers(1, 60))
def test_a_comment_is_never_over_the_limit_and_never_markup(value: str, name: str, replicas: int) -> None:
    old = plan(*(instance("m", number) for number in range(replicas)))
    new = plan(
        *(
            replace(
                instance("m", number, argv=("--template", value * 20, f"--{name}")),
                served_name=name,
                layout=Layout(context=number),
            )
            for number in range(replicas)
        )
    )
    text = diff_markdown(compared(old, new))
    assert len(text) < LIMIT
    assert "\x1b" not in text
    assert "\u202e" not in text
    tags = set(re.findall(r"<[^>]*>", text))
    assert tags <= {
        "<details>", "</details>", "<summary>", "</summary>", "<b>", "</b>", "<code>", "</code>", "<br>", "<!-- -->",
    }  # fmt: skip
    assert text.count("<details>") == text.count("</details>")


def test_a_diff_that_is_too_long_for_a_comment_says_so() -> None:
    old = plan(*(instance(f"model-{number}") for number in range(500)))
    new = plan(*(instance(f"model-{number}", context=1) for number in range(500)))
    text = diff_markdown(compared(old, new))
    assert len(text) < LIMIT
    assert "Cut short" in text
    assert "gslc diff" in text
    assert text.count("<details>") == text.count("</details>")


def test_terminal_escapes_do_not_reach_the_terminal() -> None:
    new = instance("chat", argv=("--x", "\x1b[2J\u202e"))
    assert "\x1b" not in diff_text(compared(plan(CHAT), plan(new)))
