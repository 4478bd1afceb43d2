from typing import Any

import pytest

from core.api import nri_types_pb2 as types
from core.errdefs import FailedPrecondition
from core.nri.adjustments import Adjustments
from core.nri.owners import Owners

KeyValue, Mount = types.KeyValue, types.Mount


def merged(*asked: dict[str, Any], container: dict[str, Any] | None = None) -> Adjustments:
    """Of plugins a, b, … in their order."""
    adjustments = Adjustments(types.Container(id="new", **(container or {})), Owners())
    for name, one in zip("abcdef", asked):
        adjustments.add(types.ContainerAdjustment(**one), name)
    return adjustments


def memory(limit: int) -> dict[str, Any]:
    resources = types.LinuxResources(memory=types.LinuxMemory(limit=types.OptionalInt64(value=limit)))
    return {"linux": types.LinuxContainerAdjustment(resources=resources)}


def env(**values: str) -> dict[str, Any]:
    return {"env": [KeyValue(key=key, value=value) for key, value in values.items()]}


TWICE = [
    (env(A="1"), "Env A"),
    ({"annotations": {"x": "1"}}, "Annotations x"),
    ({"args": ["sh"]}, "Args"),
    ({"mounts": [Mount(destination="/x", source="/y")]}, "Mounts /x"),
    ({"rlimits": [types.POSIXRlimit(type="RLIMIT_CORE")]}, "Rlimits RLIMIT_CORE"),
    ({"CDI_devices": [types.CDIDevice(name="v/c=d")]}, "CdiDevices v/c=d"),
    (memory(5), "MemLimit"),
    ({"linux": types.LinuxContainerAdjustment(oom_score_adj=types.OptionalInt(value=0))}, "OomScoreAdj"),
    ({"linux": types.LinuxContainerAdjustment(sysctl={"a.b": "c"})}, "Sysctl a.b"),
    ({"linux": types.LinuxContainerAdjustment(namespaces=[types.LinuxNamespace(type="ipc")])}, "Namespace ipc"),
    ({"linux": types.LinuxContainerAdjustment(devices=[types.LinuxDevice(path="/dev/x")])}, "Devices /dev/x"),
    ({"linux": types.LinuxContainerAdjustment(resources={"unified": {"a.b": "c"}})}, "CgroupsUnified a.b"),
    ({"linux": types.LinuxContainerAdjustment(rdt={"clos_id": {"value": "gold"}})}, "RdtClosID"),
]


@pytest.mark.parametrize(("asked", "named"), TWICE, ids=[named for _, named in TWICE])
def test_what_two_plugins_set_is_refused_with_their_names(asked: dict[str, Any], named: str) -> None:
    with pytest.raises(FailedPrecondition, match=f"plugins a and b both set {named} of container new"):
        merged(asked, asked)


def test_what_two_plugins_set_apart_is_put_together() -> None:
    both = merged(env(A="1"), env(B="2"), memory(7)).merged
    assert {one.key: one.value for one in both.env} == {"A": "1", "B": "2"}
    assert both.linux.resources.memory.limit.value == 7


def test_a_plugin_sees_what_those_before_it_made() -> None:
    adjustments = merged(
        {**env(A="new"), **memory(7)},
        container={"env": ["A=old", "B=b"], "annotations": {"x": "1"}},
    )
    seen = adjustments._container
    assert list(seen.env) == ["B=b", "A=new"]
    assert seen.linux.resources.memory.limit.value == 7


def test_a_removal_lets_another_plugin_set_the_same() -> None:
    again = {"env": [KeyValue(key="-A"), KeyValue(key="A", value="2")]}
    both = merged(env(A="1"), again, container={"env": ["A=0"]})
    assert [(one.key, one.value) for one in both.merged.env] == [("-A", ""), ("A", "2")]
    assert list(both._container.env) == ["A=2"]


def test_a_removal_alone_reaches_the_spec_and_hides_the_thing() -> None:
    both = merged(
        {"mounts": [Mount(destination="-/x")], "annotations": {"-y": ""}},
        container={"mounts": [Mount(destination="/x"), Mount(destination="/z")], "annotations": {"y": "1"}},
    )
    assert [one.destination for one in both.merged.mounts] == ["-/x"]
    assert dict(both.merged.annotations) == {"-y": ""}
    assert [one.destination for one in both._container.mounts] == ["/z"]
    assert dict(both._container.annotations) == {}


def test_hooks_of_all_plugins_run() -> None:
    both = merged(*({"hooks": types.Hooks(poststop=[types.Hook(path=path)])} for path in ("/a", "/b"))).merged
    assert [one.path for one in both.hooks.poststop] == ["/a", "/b"]


def test_the_command_of_another_plugin_can_be_replaced_on_purpose() -> None:
    assert list(merged({"args": ["a"]}, {"args": ["", "b", "c"]}).merged.args) == ["b", "c"]


def test_a_class_is_removed_and_set_by_another() -> None:
    def rdt(**fields: Any) -> dict[str, Any]:
        return {"linux": types.LinuxContainerAdjustment(rdt=types.LinuxRdt(**fields))}

    both = merged(rdt(clos_id={"value": "gold"}), rdt(remove=True, clos_id={"value": "lead"})).merged
    assert (both.linux.rdt.remove, both.linux.rdt.clos_id.value) == (True, "lead")


def test_owners_are_told_to_judges() -> None:
    owners = Owners()
    Adjustments(types.Container(id="new"), owners).add(types.ContainerAdjustment(**env(A="1"), args=["x"]), "a")
    fields = owners.message().owners["new"]
    assert fields.compound[types.Env].owners["A"] == "a"
    assert fields.simple[types.Args] == "a"
