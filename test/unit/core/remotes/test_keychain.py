"""Which credentials of the node a host gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from yarl import URL

from core.errdefs import FailedPrecondition
from core.remotes.auth import Credentials
from core.remotes.hosts import Host
from core.remotes.keychain import Keychain

MIRROR = Host(base=URL("https://mirror.example:5000/v2"))
HUB = Host(base=URL("https://registry-1.docker.io/v2"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "auth.json"


def helper(path: Path, name: str, script: str) -> None:
    program = path.parent / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


async def find(path: Path, document: object, host: Host = MIRROR, repository: str = "team/app") -> Credentials | None:
    path.write_text(json.dumps(document))
    return await Keychain(str(path)).find(host, repository)


async def test_the_most_specific_key_wins(path: Path) -> None:
    auths = {
        "mirror.example:5000": {"auth": "host"},
        "mirror.example:5000/team": {"auth": "team"},
        "mirror.example:5000/team/app": {"auth": "app"},
    }
    found = {name: await find(path, {"auths": auths}, repository=name) for name in ("team/app", "team/x", "other")}
    assert {name: one.auth for name, one in found.items() if one} == {
        "team/app": "app",
        "team/x": "team",
        "other": "host",
    }


@pytest.mark.parametrize("key", ["mirror.example", "mirror.example:5001", "evil/mirror.example:5000", "example:5000"])
async def test_no_other_host_gets_them(path: Path, key: str) -> None:
    assert await find(path, {"auths": {key: {"auth": "x"}}}) is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
async def test_the_hub_is_found_under_all_its_names(path: Path, key: str) -> None:
    found = await find(path, {"auths": {key: {"auth": "hub"}}}, HUB)
    assert found
    assert found.auth == "hub"


async def test_a_helper_is_asked_for_its_host(path: Path) -> None:
    helper(path, "cloud", """read host; printf '{"ServerURL":"%s","Username":"u-%s","Secret":"s"}' $host $host""")
    found = await find(path, {"credHelpers": {"mirror.example:5000": "cloud"}})
    assert found == Credentials(username="u-mirror.example:5000", password="s")


async def test_a_helper_may_answer_with_an_identity_token(path: Path) -> None:
    helper(path, "cloud", 'echo \'{"Username":"<token>","Secret":"t"}\'')
    assert await find(path, {"credsStore": "cloud"}) == Credentials(identity_token="t")


async def test_what_a_helper_does_not_know_is_nothing(path: Path) -> None:
    helper(path, "cloud", "echo credentials not found in native keychain; exit 1")
    assert await find(path, {"credsStore": "cloud"}) is None


@pytest.mark.parametrize("script", ["echo s3cret; exit 1", "echo s3cret >&2; exit 3", "echo s3cret", "yes s3cret"])
async def test_a_helper_that_fails_is_an_error_without_what_it_printed(path: Path, script: str) -> None:
    helper(path, "cloud", script)
    with pytest.raises(FailedPrecondition, match="docker-credential-cloud") as failure:
        await find(path, {"credsStore": "cloud"})
    assert "s3cret" not in str(failure.value)


@pytest.mark.parametrize("name", ["absent", "../evil", "", "a b"])
async def test_only_a_helper_on_the_path_is_run(path: Path, name: str) -> None:
    with pytest.raises(FailedPrecondition, match="not on PATH"):
        await find(path, {"credHelpers": {"mirror.example:5000": name}})


async def test_a_file_that_makes_no_sense_is_named(path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"auth\.json"):
        await find(path, {"auths": ["x"]})


async def test_a_file_that_is_not_there_yet_is_nothing(path: Path) -> None:
    assert await Keychain(str(path)).find(MIRROR, "team/app") is None
