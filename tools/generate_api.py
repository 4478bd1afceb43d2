"""Generate `*_pb2.py` and `*_pb2.pyi` beside every .proto of ours; `--check` fails when that would change a file.

Run with the grpcio-tools version pinned in pyproject.toml. Services need no generated code: servers and clients are
built from the service descriptors.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cri/api", "core/api")


def generate(into: Path) -> list[Path]:
    """Write the generated files of all protos below `into`; return their paths relative to it."""
    protos = sorted(str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", f"--python_out={into}", f"--pyi_out={into}", *protos]):
        raise SystemExit("protoc failed")
    return sorted(path.relative_to(into) for path in into.rglob("*_pb2.py*"))


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        made = generate(Path(scratch))
        stale = [str(path) for path in made if not same(Path(scratch) / path, ROOT / path)]
        if "--check" in sys.argv:
            raise SystemExit(f"run `make proto`; stale: {', '.join(stale)}" if stale else 0)
        for path in stale:
            (ROOT / path).write_bytes((Path(scratch) / path).read_bytes())
            print("wrote", path)


def same(left: Path, right: Path) -> bool:
    return right.exists() and left.read_bytes() == right.read_bytes()


if __name__ == "__main__":
    main()
