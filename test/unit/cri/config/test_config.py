from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from core.errdefs import InvalidArgument, NotFound
from cri.config.config import Config, Runtime
from cri.config.reading import load, parse
from cri.config.writing import default_toml, dump


def test_the_printed_defaults_are_the_defaults_and_each_has_a_meaning(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(default_toml())
    assert load(str(tmp_path / "config.toml")) == Config()
    keys = [line for line in default_toml().splitlines() if "=" in line and "default" not in line]
    assert [line for line in keys if not line.partition("  # ")[2]] == []


def test_a_dump_reads_back_as_the_same(tmp_path: Path) -> None:
    document = {
        "root": "/srv/crisp",
        "images": {"pinned": ["*/pause:*"]},
        "runtimes": {"default": "mine", "mine": {"ulimits": ["nofile=1:2"]}, "a.b": {"binary": "/x"}},
    }
    (tmp_path / "config.toml").write_text(dump(parse(document)))
    assert load(str(tmp_path / "config.toml")) == parse(document)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"rot": "/x"}, "did you mean 'root'"),
        ({"grpc": {"adress": "/x"}}, "key grpc.adress: did you mean 'address'"),
        ({"runtimes": {"crun": {"systemd_cgroups": True}}}, "did you mean 'systemd_cgroup'"),
        ({"log": {"zzz": 1}}, "known keys are"),
        ({"root": "relative"}, "root"),
        ({"root": 5}, "root"),
        ({"version": 2}, "version"),
        ({"streaming": {"port": 70000}}, "port"),
        ({"log": {"level": "loud"}}, "level"),
        ({"images": {"max_concurrent_downloads": 0}}, "max_concurrent_downloads"),
        ({"runtimes": {"default": "none"}}, r"'none' has no \[runtimes.none\]"),
        ({"runtimes": {"mine": {"ulimits": ["nofile=2:1"]}}}, "runtimes.mine: ulimit 'nofile=2:1'"),
    ],
)
def test_a_mistake_is_refused_with_its_place_and_the_nearest_key(document: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse(document, "/etc/crisp/config.toml")


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="crispd config default"):
        load(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("root = ")
    with pytest.raises(InvalidArgument, match=r"bad\.toml"):
        load(str(tmp_path / "bad.toml"))


@pytest.fixture
def runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which the OCI runtimes are that a test makes there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(directory: Path, name: str) -> str:
    (directory / name).touch(0o755)
    return str(directory / name)


def test_crun_comes_before_runc_where_nothing_is_configured(runtimes: Path) -> None:
    assert Config().default_handler() == "crun"
    runc = install(runtimes, "runc")
    assert (Config().default_handler(), Config().handlers()["runc"].binary) == ("runc", runc)
    crun = install(runtimes, "crun")
    assert (Config().default_handler(), Config().handlers()["crun"].binary) == ("crun", crun)


def test_what_is_configured_counts_more_than_what_is_found(runtimes: Path) -> None:
    install(runtimes, "crun")
    config = Config(runtimes={"default": "mine", "mine": Runtime(), "crun": Runtime(binary="/opt/crun")})
    assert config.default_handler() == "mine"
    handlers = config.handlers()
    assert (handlers["crun"].binary, handlers["mine"].binary) == ("/opt/crun", "/usr/bin/mine")


def test_the_defaults_are_those_of_the_documents() -> None:
    shipped = tomllib.loads(default_toml())
    assert (shipped["grpc"]["address"], shipped["streaming"]["address"]) == ("/run/crisp/crisp.sock", "127.0.0.1")
    assert shipped["cni"]["builtin"] is False


def test_a_shim_that_is_not_ours_needs_a_root_container() -> None:
    document = {"runtimes": {"x": {"type": "io.containerd.runc.v2"}}}
    with pytest.raises(InvalidArgument, match="set infra_image"):
        parse(document)
    handler = parse({"runtimes": {"x": {"type": "io.containerd.runc.v2", "infra_image": "pause"}}}).handlers()["x"]
    assert handler.shim.endswith("/containerd-shim-runc-v2")
    assert handler.binary.endswith("/runc")
    kata = parse({"runtimes": {"x": {"type": "io.containerd.kata.v2", "infra_image": "pause"}}}).handlers()["x"]
    assert (kata.shim, kata.binary) == ("/usr/bin/containerd-shim-kata-v2", "")
