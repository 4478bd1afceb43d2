"""Which images may be here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.images import verification
from core.images.images import Image
from core.images.verification import ImageVerifier, Policy, Refused, Verdict
from core.remotes.reference import Reference
from core.types import Descriptor, Digest

DIGEST = Digest("sha256:" + "a" * 64)
TARGET = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=DIGEST, size=7)
APP = Reference.parse("quay.io/team/app:1")


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    made = tmp_path / "bin"
    made.mkdir()
    return made


def program(bin_dir: Path, name: str, script: str) -> None:
    (bin_dir / name).write_text(f"#!/bin/sh\n{script}\n")
    (bin_dir / name).chmod(0o755)


async def check(bin_dir: Path, verdict: Verdict = Verdict.VERIFY) -> None:
    await ImageVerifier(Policy(repositories={"": verdict}, bin_dir=str(bin_dir))).check(APP, TARGET)


def test_the_longest_repository_that_fits_decides() -> None:
    policy = Policy(
        repositories={
            "": Verdict.REJECT,
            "quay.io": Verdict.VERIFY,
            "quay.io/team": Verdict.ACCEPT,
            "quay.io/te": Verdict.REJECT,
        },
    )
    names = ("quay.io/team/app", "quay.io/team", "quay.io/other/app", "quay.io/teams/app", "docker.io/team/app")
    found = [policy.of(Reference.parse(name)) for name in names]
    assert found == [Verdict.ACCEPT, Verdict.ACCEPT, Verdict.VERIFY, Verdict.VERIFY, Verdict.REJECT]


async def test_by_default_every_image_may_be_here() -> None:
    await ImageVerifier(Policy()).check(APP, TARGET)


async def test_a_rejected_repository_is_named(bin_dir: Path) -> None:
    with pytest.raises(Refused, match=r"quay\.io/team/app"):
        await check(bin_dir, Verdict.REJECT)


async def test_a_verifier_gets_name_digest_and_descriptor(bin_dir: Path) -> None:
    program(bin_dir, "a", f'echo "$@" > {bin_dir.parent}/arguments; cat > {bin_dir.parent}/stdin')
    await check(bin_dir)
    said = (bin_dir.parent / "arguments").read_text()
    assert said == f"-name {APP} -digest {DIGEST} -stdin-media-type application/vnd.oci.descriptor.v1+json\n"
    assert f'"digest":"{DIGEST}"' in (bin_dir.parent / "stdin").read_text()


async def test_all_verifiers_must_agree_and_the_first_no_is_the_reason(bin_dir: Path) -> None:
    program(bin_dir, "a", "exit 0")
    program(bin_dir, "b", "echo unsigned; exit 1")
    with pytest.raises(Refused, match=r"bin/b: unsigned$"):
        await check(bin_dir)


async def test_nobody_to_verify_is_a_refusal(bin_dir: Path) -> None:
    with pytest.raises(Refused, match="has no verifier"):
        await check(bin_dir)
    with pytest.raises(Refused, match="has no verifier"):
        await check(bin_dir / "absent")


async def test_a_verifier_that_cannot_be_run_is_a_refusal(bin_dir: Path) -> None:
    (bin_dir / "a").write_text("not a program")
    with pytest.raises(Refused, match="cannot be run"):
        await check(bin_dir)


async def test_a_verifier_that_hangs_is_a_refusal(bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "TIMEOUT", 0.1)
    program(bin_dir, "a", "sleep 60")
    with pytest.raises(Refused, match="did not decide"):
        await check(bin_dir)


async def test_too_many_verifiers_are_a_refusal(bin_dir: Path) -> None:
    for number in range(verification.MAX_VERIFIERS + 1):
        program(bin_dir, str(number), "exit 0")
    with pytest.raises(Refused, match="more than"):
        await check(bin_dir)


async def test_an_image_may_be_used_while_one_of_its_names_is_right() -> None:
    verifier = ImageVerifier(Policy(repositories={"quay.io": Verdict.REJECT}))
    image = Image(
        id=DIGEST,
        target=TARGET,
        names=(str(APP), "docker.io/library/app:1"),
        layers=(),
        chain_ids=(),
        config=b"{}",
        size=7,
        created_at=0,
    )
    await verifier.check_again(image)
    with pytest.raises(Refused):
        await verifier.check_again(replace(image, names=(str(APP),)))
