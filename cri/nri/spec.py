"""Parts of an OCI spec as NRI has them, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.api import nri_types_pb2 as types

HOOKS = {
    "prestart": "prestart",
    "create_runtime": "createRuntime",
    "create_container": "createContainer",
    "start_container": "startContainer",
    "poststart": "poststart",
    "poststop": "poststop",
}


def mounts(found: Iterable[Mapping[str, Any]]) -> list[types.Mount]:
    return [
        types.Mount(destination=one["destination"], type=one["type"], source=one["source"], options=one["options"])
        for one in found
    ]


def namespaces(found: Iterable[Mapping[str, Any]]) -> list[types.LinuxNamespace]:
    return [types.LinuxNamespace(type=one["type"], path=one.get("path", "")) for one in found]


def devices(found: Iterable[Mapping[str, Any]]) -> list[types.LinuxDevice]:
    return [
        types.LinuxDevice(
            path=one["path"],
            type=one["type"],
            major=one["major"],
            minor=one["minor"],
            file_mode=types.OptionalFileMode(value=one["fileMode"]),
            uid=types.OptionalUInt32(value=one["uid"]),
            gid=types.OptionalUInt32(value=one["gid"]),
        )
        for one in found
    ]


def hooks(found: Mapping[str, Iterable[Mapping[str, Any]]]) -> types.Hooks:
    return types.Hooks(**{name: [_hook(one) for one in found.get(key, ())] for name, key in HOOKS.items()})


def _hook(found: Mapping[str, Any]) -> types.Hook:
    timeout = types.OptionalInt(value=found["timeout"]) if "timeout" in found else None
    return types.Hook(path=found["path"], args=found.get("args", []), env=found.get("env", []), timeout=timeout)


def hook_document(hook: types.Hook) -> dict[str, Any]:
    document = {"path": hook.path, "args": list(hook.args), "env": list(hook.env)}
    return {**document, "timeout": hook.timeout.value} if hook.HasField("timeout") else document


def io_priority(found: Mapping[str, Any]) -> types.LinuxIOPriority:
    return types.LinuxIOPriority(**{"class": found["class"], "priority": found.get("priority", 0)})


def io_priority_document(priority: types.LinuxIOPriority) -> dict[str, Any]:
    return {"class": types.IOPrioClass.Name(getattr(priority, "class")), "priority": priority.priority}


def scheduler(found: Mapping[str, Any]) -> types.LinuxScheduler:
    return types.LinuxScheduler(**found)


def scheduler_document(wanted: types.LinuxScheduler) -> dict[str, Any]:
    numbers = {name: getattr(wanted, name) for name in ("nice", "priority", "runtime", "deadline", "period")}
    document = {name: value for name, value in numbers.items() if value}
    document["flags"] = [types.LinuxSchedulerFlag.Name(flag) for flag in wanted.flags]
    return {"policy": types.LinuxSchedulerPolicy.Name(wanted.policy), **document}


def seccomp(found: Mapping[str, Any]) -> types.LinuxSeccomp:
    message = types.LinuxSeccomp(
        default_action=found["defaultAction"],
        architectures=found.get("architectures", []),
        flags=found.get("flags", []),
        listener_path=found.get("listenerPath", ""),
        listener_metadata=found.get("listenerMetadata", ""),
        syscalls=[_syscall(one) for one in found.get("syscalls") or []],
    )
    if "defaultErrnoRet" in found:
        message.default_errno.value = found["defaultErrnoRet"]
    return message


def _syscall(found: Mapping[str, Any]) -> types.LinuxSyscall:
    errno = types.OptionalUInt32(value=found["errnoRet"]) if "errnoRet" in found else None
    args = [
        types.LinuxSeccompArg(
            index=one["index"], value=one["value"], value_two=one.get("valueTwo", 0), op=one["op"]
        )
        for one in found.get("args") or []
    ]
    return types.LinuxSyscall(names=found["names"], action=found["action"], errno_ret=errno, args=args)


def seccomp_document(policy: types.LinuxSeccomp) -> dict[str, Any]:
    document: dict[str, Any] = {
        "defaultAction": policy.default_action,
        "architectures": list(policy.architectures),
        "syscalls": [_syscall_document(one) for one in policy.syscalls],
    }
    if policy.HasField("default_errno"):
        document["defaultErrnoRet"] = policy.default_errno.value
    if policy.flags:
        document["flags"] = list(policy.flags)
    if policy.listener_path:
        document["listenerPath"], document["listenerMetadata"] = policy.listener_path, policy.listener_metadata
    return document


def _syscall_document(call: types.LinuxSyscall) -> dict[str, Any]:
    args = [
        {"index": one.index, "value": one.value, "valueTwo": one.value_two, "op": one.op} for one in call.args
    ]
    document = {"names": list(call.names), "action": call.action, "args": args}
    return {**document, "errnoRet": call.errno_ret.value} if call.HasField("errno_ret") else document
