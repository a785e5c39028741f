"""What goes in comes out: every quoting function against a reader of its language that shares no code with it."""

from __future__ import annotations

import io
import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import systemd_reader
from tests.support.hcl_reader import read_string
from tests.support.hostile import CLIENT_REFERENCES, HOSTILE

from gslc.targets import quoting_hcl, quoting_systemd, quoting_yaml

KNOWN = {"C": "/var/cache", "S": "/var/lib", "d": "/run/credentials/x", "n": "unit"}
ENVIRONMENT = {"HOME": "/root", "P1": "a b"}
anything = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
calm = settings(deadline=None)  # the machine may be busy with other things
nasty = st.text(st.sampled_from("$%{}\"\\'; \n\t#-@!+:~x24né😀")) | anything


@calm
@given(st.lists(nasty, max_size=5))
def test_systemd_gives_a_process_the_same_arguments(arguments: list[str]) -> None:
    raw = systemd_reader.values(
        f"[Service]\nExecStart={quoting_systemd.command_line('/bin/x', tuple(arguments))}\n", "ExecStart"
    )
    assert [systemd_reader.command(one, KNOWN, ENVIRONMENT) for one in raw] == [["/bin/x", *arguments]]


@calm
@given(nasty)
def test_systemd_gives_a_process_the_same_variable(value: str) -> None:
    unit = f"[Service]\nEnvironment={quoting_systemd.environment('NAME', value)}\n"
    assert systemd_reader.environment(unit, KNOWN) == {"NAME": value}


@pytest.mark.parametrize("text", HOSTILE)
def test_systemd_takes_every_hostile_string(text: str) -> None:
    unit = (
        f"[Service]\nExecStart={quoting_systemd.command_line('/bin/x', (text, '--flag', text))}\n"
        f"Environment={quoting_systemd.environment('A', text)}\nKillMode=mixed\n"
    )
    assert systemd_reader.command(systemd_reader.values(unit, "ExecStart")[0], KNOWN, ENVIRONMENT)[1:] == [
        text,
        "--flag",
        text,
    ]
    assert systemd_reader.environment(unit, KNOWN) == {"A": text}
    assert [key for _, key, _ in systemd_reader.directives(unit)] == ["ExecStart", "Environment", "KillMode"]


@calm
@given(nasty)
def test_a_description_stays_on_its_line_and_loses_no_directive(text: str) -> None:
    unit = f"[Unit]\nDescription={quoting_systemd.text_value(text)}\nRequires=x.service\n"
    assert [key for _, key, _ in systemd_reader.directives(unit)] == ["Description", "Requires"]


@calm
@given(nasty)
def test_a_comment_ends_with_its_line_in_every_language(text: str) -> None:
    for comment in (quoting_systemd.comment, quoting_yaml.comment, quoting_hcl.comment):
        line = comment(text)
        assert len(f"# {line}\n".splitlines()) == 1
        assert not line.endswith("\\") or comment is not quoting_systemd.comment


@pytest.mark.parametrize("path", ["relative", "-/bin/x", "@/bin/x", ""])
def test_a_program_that_a_prefix_could_start_is_a_bug(path: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        quoting_systemd.exec_program(path)


@pytest.mark.parametrize("name", ["a/b.service", "a b.service", "x.timer", "a\n.service", ".service"])
def test_a_name_that_is_no_unit_name_is_a_bug(name: str) -> None:
    with pytest.raises(ValueError, match="unit name"):
        quoting_systemd.unit_name(name)


def test_a_nul_is_a_bug_in_every_language() -> None:
    for quote in (quoting_systemd.exec_argument, quoting_yaml.value, quoting_yaml.key, quoting_hcl.string):
        with pytest.raises(ValueError, match="process"):
            quote("a\0b")


@calm
@given(nasty)
def test_yaml_reads_the_same_string_and_compose_undoes_the_dollars(text: str) -> None:
    value = quoting_yaml.value(text)
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        read = yaml.load(io.StringIO(f"key: {value}\n"), Loader=loader)["key"]
        assert read.replace("$$", "$") == text
    assert "\n" not in value


@calm
@given(nasty)
def test_a_yaml_key_is_the_same_string(text: str) -> None:
    read = yaml.load(f"{quoting_yaml.key(text)}: 1\n", Loader=yaml.CSafeLoader)
    assert read == {text: 1}


@pytest.mark.parametrize("text", HOSTILE)
def test_yaml_strings_are_json_strings_too_where_nothing_is_escaped_by_number(text: str) -> None:
    quoted = quoting_yaml.key(text)
    if "\\x" not in quoted:
        assert json.loads(quoted) == text


@calm
@given(nasty)
def test_hcl_reads_the_same_string(text: str) -> None:
    assert read_string(quoting_hcl.string(text)) == text


@pytest.mark.parametrize("text", CLIENT_REFERENCES)
def test_what_the_nomad_client_would_replace_is_found(text: str) -> None:
    assert quoting_hcl.client_reference(text)


@pytest.mark.parametrize("text", ["$HOME", "${", "${a b}", "$(x)", "{{ x }}", "%{x}"])
def test_what_the_nomad_client_leaves_alone_is_not_found(text: str) -> None:
    assert quoting_hcl.client_reference(text) is None


def test_a_heredoc_that_would_end_early_is_a_bug() -> None:
    with pytest.raises(ValueError, match="stand before"):
        quoting_hcl.heredoc("a\n  MARK\n", "MARK")
