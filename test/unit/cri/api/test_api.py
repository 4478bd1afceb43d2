"""The published runtime.v1, as facts: test/golden/cri-v1.json holds names, numbers, types (FieldDescriptorProto's) and
labels of every field, every enum value and every RPC."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto

from cri import api

ROOT = Path(__file__).resolve().parents[4]
PUBLISHED = json.loads((ROOT / "test/golden/cri-v1.json").read_text())


def facts(descriptor: Descriptor) -> dict[str, list[Any]]:
    proto = DescriptorProto()
    descriptor.CopyToProto(proto)
    return {
        field.name: [field.number, field.type, field.label, field.type_name.removeprefix(".runtime.v1.")]
        for field in proto.field
    }


def find(name: str) -> Any:
    found: Any = api
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_every_published_message_has_the_same_fields() -> None:
    entries = {name for name in PUBLISHED["messages"] if name.endswith("Entry")}  # of maps: checked through their field
    for name in PUBLISHED["messages"].keys() - entries:
        assert facts(find(name).DESCRIPTOR) == PUBLISHED["messages"][name], name


def test_every_published_enum_has_the_same_values() -> None:
    for name, values in PUBLISHED["enums"].items():
        assert dict(find(name).items()) == values, name


def test_every_published_rpc_has_the_same_signature() -> None:
    def signatures(service: ServiceDescriptor) -> dict[str, list[Any]]:
        return {
            method.name: [method.input_type.name, method.output_type.name, method.server_streaming]
            for method in service.methods
        }

    assert signatures(api.RUNTIME_SERVICE) == PUBLISHED["services"]["RuntimeService"]
    assert signatures(api.IMAGE_SERVICE) == PUBLISHED["services"]["ImageService"]
    assert len(api.RUNTIME_SERVICE.methods) + len(api.IMAGE_SERVICE.methods) == 43


def test_generating_the_code_again_changes_nothing() -> None:
    subprocess.run([sys.executable, str(ROOT / "tools/generate_api.py"), "--check"], check=True)
