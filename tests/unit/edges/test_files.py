"""Publishing an output folder: what is owned, what is refused, and what a kill at any moment leaves behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gslc.documents.manifest import NAME
from gslc.edges.files import (
    JOURNAL,
    SUFFIX,
    Comparison,
    compare,
    ignored_by_git,
    open_folder,
    publish,
    read_input,
    write_whole,
)
from gslc.ir.output import OutputFile

OLD = {"plan.json": "old\n", "systemd/atlas/a.service": "a1\n", "systemd/atlas/b.service": "b1\n", "gone/c.txt": "c\n"}
NEW = {
    "plan.json": "new\n",
    "systemd/atlas/a.service": "a2\n",
    "systemd/atlas/b.service": "b1\n",
    "systemd/borea/d.service": "d\n",
}


def files(texts: dict[str, str]) -> tuple[OutputFile, ...]:
    return tuple(OutputFile(path=path, text=text) for path, text in sorted(texts.items()))


def build(root: Path, texts: dict[str, str], *, cluster: str = "lab", force: bool = False) -> Comparison:
    with open_folder(str(root), create=True) as folder:
        comparison = compare(folder, cluster, files(texts), force=force)
        if not comparison.obstacles:
            assert folder is not None
            publish(folder, cluster, files(texts), comparison)
    return comparison


def look(root: Path, texts: dict[str, str]) -> Comparison:
    with open_folder(str(root), create=False) as folder:
        return compare(folder, "lab", files(texts), force=False)


def content(root: Path) -> dict[str, str]:
    found = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}
    found.pop(NAME, None)
    return found


def test_a_first_build_creates_every_file_with_mode_0644_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        build(tmp_path / "build", OLD)
    finally:
        os.umask(before)
    assert content(tmp_path / "build") == OLD
    modes = {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "build").rglob("*") if path.is_file()}
    assert modes == {"0o644"}


def test_a_second_build_of_the_same_changes_nothing(tmp_path: Path) -> None:
    build(tmp_path, OLD)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert not build(tmp_path, OLD).differs
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_later_build_replaces_adds_and_prunes_what_it_owns_and_leaves_foreign_files(tmp_path: Path) -> None:
    build(tmp_path, OLD)
    (tmp_path / "notes.md").write_text("mine\n")
    changes = {change.path: change.change for change in build(tmp_path, NEW).changes}
    assert changes == {
        "plan.json": "changed",
        "systemd/atlas/a.service": "changed",
        "systemd/atlas/b.service": "unchanged",
        "systemd/borea/d.service": "created",
        "gone/c.txt": "removed",
    }
    assert content(tmp_path) == NEW | {"notes.md": "mine\n"}
    assert not (tmp_path / "gone").exists()


def test_an_owned_file_edited_by_hand_stops_the_build_unless_forced(tmp_path: Path) -> None:
    build(tmp_path, OLD)
    (tmp_path / "plan.json").write_text("edited\n")
    refused = build(tmp_path, NEW)
    assert [obstacle.code for obstacle in refused.obstacles] == ["GS601"]
    assert content(tmp_path) == OLD | {"plan.json": "edited\n"}
    build(tmp_path, NEW, force=True)
    assert content(tmp_path) == NEW


def test_an_edited_file_that_is_no_longer_wanted_is_not_removed_silently(tmp_path: Path) -> None:
    build(tmp_path, OLD)
    (tmp_path / "gone/c.txt").write_text("edited\n")
    assert [obstacle.code for obstacle in build(tmp_path, NEW).obstacles] == ["GS601"]
    assert (tmp_path / "gone/c.txt").read_text() == "edited\n"


def test_a_foreign_file_in_the_way_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("mine\n")
    assert [obstacle.code for obstacle in build(tmp_path, OLD).obstacles] == ["GS602"]
    assert content(tmp_path) == {"plan.json": "mine\n"}


def test_a_foreign_file_that_already_holds_the_right_bytes_is_adopted(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(OLD["plan.json"])
    assert not build(tmp_path, OLD).obstacles


@pytest.mark.parametrize("link", ["plan.json", "systemd", "systemd/atlas", "systemd/atlas/a.service"])
def test_a_link_anywhere_below_the_folder_is_refused_and_never_followed(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.service").write_text("precious\n")
    root = tmp_path / "build"
    (root / link).parent.mkdir(parents=True)
    os.symlink(outside, root / link)
    assert "GS603" in [obstacle.code for obstacle in build(root, OLD).obstacles]
    assert [path.name for path in outside.iterdir()] == ["a.service"]
    assert (outside / "a.service").read_text() == "precious\n"


def test_the_folder_itself_may_not_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "build")
    with pytest.raises(NotADirectoryError), open_folder(str(tmp_path / "build"), create=True):
        pass


def test_another_clusters_folder_is_refused(tmp_path: Path) -> None:
    build(tmp_path, OLD)
    assert "GS604" in [obstacle.code for obstacle in build(tmp_path, NEW, cluster="other").obstacles]
    assert content(tmp_path) == OLD


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', '{"version":1,"cluster":"lab","files":{"../x":"0"}}', "[" * 5000]
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    build(tmp_path, OLD)
    (tmp_path / NAME).write_text(text)
    assert "GS605" in [obstacle.code for obstacle in build(tmp_path, NEW).obstacles]


def conflict(ours: str, theirs: str, base: str | None = None) -> str:
    middle = "" if base is None else f"||||||| 1a2b3c4\n{base}"
    return f"<<<<<<< HEAD\n{ours}{middle}=======\n{theirs}>>>>>>> other\n"


def conflicting(root: Path, *, base: str | None = None) -> None:
    """A folder whose manifest holds both sides, OLD and NEW, outside of any repository."""
    build(root, NEW)
    theirs = (root / NAME).read_text()
    build(root, OLD)
    (root / NAME).write_text(conflict((root / NAME).read_text(), theirs, base))
    (root / "plan.json").write_text(conflict("old\n", "new\n", base))
    (root / "systemd/borea").mkdir()
    (root / "systemd/borea/d.service").write_text("d\n")


@pytest.mark.parametrize("base", [None, "", "{torn\n"])
def test_both_sides_of_a_manifest_own_their_files_and_their_conflicts_are_no_edits(
    tmp_path: Path, base: str | None
) -> None:
    conflicting(tmp_path, base=base)
    last = OLD | {"plan.json": "both\n"}
    assert not build(tmp_path, last).obstacles
    assert content(tmp_path) == last
    assert not look(tmp_path, last).differs


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (conflict("old\n", "edited\n"), "GS601"),
        (conflict("edited\n", "new\n"), "GS601"),
        (conflict("old\n", "new\n") + "edited\n", "GS601"),
        ("<<<<<<< HEAD\nold\n", "GS601"),
        (conflict("old\n", "\udcff\n"), "GS601"),
    ],
)
def test_a_conflict_with_a_side_that_no_build_wrote_is_refused(tmp_path: Path, text: str, code: str) -> None:
    conflicting(tmp_path)
    (tmp_path / "plan.json").write_text(text, errors="surrogateescape")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refused = build(tmp_path, NEW).obstacles
    assert [(obstacle.code, obstacle.place.file) for obstacle in refused] == [(code, str(tmp_path / "plan.json"))]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_conflict_of_a_manifest_with_a_side_that_is_damaged_or_another_cluster_s_is_refused(tmp_path: Path) -> None:
    build(tmp_path, OLD)
    whole = (tmp_path / NAME).read_text()
    for theirs, code in (("{\n", "GS605"), (whole.replace('"lab"', '"other"'), "GS604")):
        (tmp_path / NAME).write_text(conflict(whole, theirs))
        refused = [obstacle for obstacle in build(tmp_path, OLD).obstacles if obstacle.place.file.endswith(NAME)]
        assert [obstacle.code for obstacle in refused] == [code]
        assert code == "GS604" or "either side" in (refused[0].help or "")


class Killed(BaseException):
    """The process ends here."""


def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Make the Nth call that changes the file system the last one; returns a function that counts the calls made."""
    calls = 0

    def guarded(name: str) -> Callable[..., object]:
        original = getattr(os, name)

        def call(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == number:
                raise Killed
            return original(*args, **kwargs)

        return call

    for name in ("write", "replace", "unlink", "rmdir", "mkdir", "fsync", "fchmod"):
        monkeypatch.setattr(os, name, guarded(name))
    return lambda: calls


def test_after_a_kill_at_every_call_the_folder_is_old_new_or_incomplete_and_the_next_build_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, ended = 0, False
    while not ended:
        number += 1
        root = tmp_path / str(number)
        build(root, OLD)
        with monkeypatch.context() as patch:
            killed_at(number, patch)
            try:
                build(root, NEW)
                ended = True
            except Killed:
                pass
        if not ended and content(root) != NEW:
            seen = look(root, OLD)
            assert seen.incomplete or not seen.differs or content(root).keys() - {JOURNAL + SUFFIX} == OLD.keys()
        assert not build(root, NEW).obstacles, number
        assert content(root) == NEW, number
        assert not look(root, NEW).differs
    assert number > 20


def test_a_file_that_is_replaced_whole_keeps_its_old_text_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "gslc.lock"
    write_whole(str(target), "old\n")
    killed_at(1, monkeypatch)
    with pytest.raises(Killed):
        write_whole(str(target), "new\n")
    assert target.read_text() == "old\n"


def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(str(pipe), "a page\n")
        assert os.read(reader, 100) == b"a page\n"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    with pytest.raises(IsADirectoryError):
        write_whole(str(tmp_path), "a page\n")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_link_stays_a_link_when_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old\n", encoding="utf-8")
    (tmp_path / "link").symlink_to("real")
    write_whole(str(tmp_path / "link"), "new\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text(encoding="utf-8") == "new\n"


def test_reading_refuses_pipes_folders_and_missing_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    codes = [read_input(str(path)).diagnostics[0].code for path in (tmp_path / "pipe", tmp_path, tmp_path / "none")]
    assert codes == ["GS861", "GS861", "GS860"]


def test_an_ignored_folder_is_noticed(tmp_path: Path) -> None:
    import subprocess

    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert not ignored_by_git(str(tmp_path / "build"))
    (tmp_path / ".gitignore").write_text("build/\n")
    assert ignored_by_git(str(tmp_path / "build"))
