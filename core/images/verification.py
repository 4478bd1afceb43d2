"""Which images may be here: a policy by repository, and programs that decide.

    accept    no questions
    reject    never
    verify    every program in the directory of verifiers must agree, and there must be one

A program is called as containerd's image verifiers are (containerd docs, image-verification.md):

    <bin_dir>/<program> -name <reference> -digest <digest> -stdin-media-type application/vnd.oci.descriptor.v1+json

with the descriptor as JSON on stdin. Code 0 accepts; with any other what it prints to stdout is the reason.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from core.errdefs import PermissionDenied
from core.images.images import Image
from core.process import execute
from core.remotes.reference import Reference
from core.types import Descriptor

MAX_VERIFIERS = 10  # programs; as containerd: each delays each pull
TIMEOUT = 10.0  # seconds for one program, as containerd's default
_MAX_REASON = 16 << 10  # bytes
_DESCRIPTOR_TYPE = "application/vnd.oci.descriptor.v1+json"


class Refused(PermissionDenied):
    """The policy or a verifier does not want the image."""


class Verdict(enum.StrEnum):
    ACCEPT = "accept"
    REJECT = "reject"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    repositories: Mapping[str, Verdict] = field(default_factory=dict)
    """By `host`, `host/path` or a path above: the longest that fits counts; "" fits all. Accepted when none fits."""
    bin_dir: str = ""

    def of(self, reference: Reference) -> Verdict:
        name = reference.name
        while name and name not in self.repositories:
            name = name.rpartition("/")[0]
        return self.repositories.get(name, Verdict.ACCEPT)


class ImageVerifier:
    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def check(self, reference: Reference, target: Descriptor) -> None:
        """Return when `target`, which `reference` means, may be used. Raises Refused with the reason."""
        verdict = self._policy.of(reference)
        if verdict is Verdict.REJECT:
            raise Refused(f"{reference}: the policy for {reference.name} is to reject")
        if verdict is Verdict.VERIFY:
            await self._ask_all(reference, target)

    async def check_again(self, image: Image) -> None:
        """Before the image is used: the policy may have changed since the pull. One of its names must be right."""
        refusals = []
        for name in image.names:
            try:
                await self.check(Reference.parse(name), image.target)
            except Refused as exc:
                refusals.append(exc)
            else:
                return
        if refusals:
            raise refusals[0]

    async def _ask_all(self, reference: Reference, target: Descriptor) -> None:
        programs = self._programs()
        if not programs:
            raise Refused(f"{reference}: to be verified, and {self._policy.bin_dir!r} has no verifier")
        for program in programs:
            await self._ask(program, reference, target)

    def _programs(self) -> list[str]:
        try:
            names = sorted(os.listdir(self._policy.bin_dir))
        except (FileNotFoundError, NotADirectoryError):
            return []
        if len(names) > MAX_VERIFIERS:
            raise Refused(f"{self._policy.bin_dir} has {len(names)} verifiers, more than {MAX_VERIFIERS}")
        return [os.path.join(self._policy.bin_dir, name) for name in names]

    async def _ask(self, program: str, reference: Reference, target: Descriptor) -> None:
        command = [program, "-name", str(reference), "-digest", target.digest, "-stdin-media-type", _DESCRIPTOR_TYPE]
        document = {"mediaType": target.media_type, "digest": target.digest, "size": target.size}
        stdin = msgspec.json.encode(document)
        try:
            done = await execute(command, os.environ, stdin, limit=_MAX_REASON, timeout=TIMEOUT)
        except TimeoutError:
            raise Refused(f"{reference}: verifier {program} did not decide in {TIMEOUT:.0f} s") from None
        except OSError as exc:
            raise Refused(f"{reference}: verifier {program} cannot be run: {exc.strerror}") from exc
        if done.code:
            reason = done.stdout.decode(errors="replace").strip() or f"code {done.code}"
            raise Refused(f"{reference}: verifier {program}: {reason}")
