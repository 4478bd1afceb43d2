from core.api import ttrpc_pb2 as _ttrpc_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReopenLogRequest(_message.Message):
    __slots__ = ("container_id",)
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    container_id: str
    def __init__(self, container_id: _Optional[str] = ...) -> None: ...

class ExecSyncRequest(_message.Message):
    __slots__ = ("container_id", "process", "timeout_ns", "limit")
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_NS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    container_id: str
    process: bytes
    timeout_ns: int
    limit: int
    def __init__(self, container_id: _Optional[str] = ..., process: _Optional[bytes] = ..., timeout_ns: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ExecOutput(_message.Message):
    __slots__ = ("stdout", "stderr", "exit")
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    stdout: bytes
    stderr: bytes
    exit: ExecExit
    def __init__(self, stdout: _Optional[bytes] = ..., stderr: _Optional[bytes] = ..., exit: _Optional[_Union[ExecExit, _Mapping]] = ...) -> None: ...

class ExecExit(_message.Message):
    __slots__ = ("code", "timed_out")
    CODE_FIELD_NUMBER: _ClassVar[int]
    TIMED_OUT_FIELD_NUMBER: _ClassVar[int]
    code: int
    timed_out: bool
    def __init__(self, code: _Optional[int] = ..., timed_out: _Optional[bool] = ...) -> None: ...

class OpenStreams(_message.Message):
    __slots__ = ("container_id", "exec", "terminal", "stdin", "stdout", "stderr")
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    EXEC_FIELD_NUMBER: _ClassVar[int]
    TERMINAL_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    container_id: str
    exec: bool
    terminal: bool
    stdin: bool
    stdout: bool
    stderr: bool
    def __init__(self, container_id: _Optional[str] = ..., exec: _Optional[bool] = ..., terminal: _Optional[bool] = ..., stdin: _Optional[bool] = ..., stdout: _Optional[bool] = ..., stderr: _Optional[bool] = ...) -> None: ...

class StreamsEvent(_message.Message):
    __slots__ = ("opened", "exit", "error")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    opened: StreamsOpened
    exit: ExecExit
    error: _ttrpc_pb2.Status
    def __init__(self, opened: _Optional[_Union[StreamsOpened, _Mapping]] = ..., exit: _Optional[_Union[ExecExit, _Mapping]] = ..., error: _Optional[_Union[_ttrpc_pb2.Status, _Mapping]] = ...) -> None: ...

class StreamsOpened(_message.Message):
    __slots__ = ("descriptors", "stdin", "shared_stdin")
    class Descriptor(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TERMINAL: _ClassVar[StreamsOpened.Descriptor]
        STDIN: _ClassVar[StreamsOpened.Descriptor]
        STDOUT: _ClassVar[StreamsOpened.Descriptor]
        STDERR: _ClassVar[StreamsOpened.Descriptor]
    TERMINAL: StreamsOpened.Descriptor
    STDIN: StreamsOpened.Descriptor
    STDOUT: StreamsOpened.Descriptor
    STDERR: StreamsOpened.Descriptor
    DESCRIPTORS_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    SHARED_STDIN_FIELD_NUMBER: _ClassVar[int]
    descriptors: _containers.RepeatedScalarFieldContainer[StreamsOpened.Descriptor]
    stdin: bool
    shared_stdin: bool
    def __init__(self, descriptors: _Optional[_Iterable[_Union[StreamsOpened.Descriptor, str]]] = ..., stdin: _Optional[bool] = ..., shared_stdin: _Optional[bool] = ...) -> None: ...

class SandboxOptions(_message.Message):
    __slots__ = ("hostname", "network", "ipc", "uts", "pid", "sysctls", "shm_size", "uid_mappings", "gid_mappings")
    class SysctlsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    IPC_FIELD_NUMBER: _ClassVar[int]
    UTS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    SYSCTLS_FIELD_NUMBER: _ClassVar[int]
    SHM_SIZE_FIELD_NUMBER: _ClassVar[int]
    UID_MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    GID_MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    hostname: str
    network: bool
    ipc: bool
    uts: bool
    pid: bool
    sysctls: _containers.ScalarMap[str, str]
    shm_size: int
    uid_mappings: _containers.RepeatedCompositeFieldContainer[IdMapping]
    gid_mappings: _containers.RepeatedCompositeFieldContainer[IdMapping]
    def __init__(self, hostname: _Optional[str] = ..., network: _Optional[bool] = ..., ipc: _Optional[bool] = ..., uts: _Optional[bool] = ..., pid: _Optional[bool] = ..., sysctls: _Optional[_Mapping[str, str]] = ..., shm_size: _Optional[int] = ..., uid_mappings: _Optional[_Iterable[_Union[IdMapping, _Mapping]]] = ..., gid_mappings: _Optional[_Iterable[_Union[IdMapping, _Mapping]]] = ...) -> None: ...

class IdMapping(_message.Message):
    __slots__ = ("container_id", "host_id", "length")
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_ID_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    container_id: int
    host_id: int
    length: int
    def __init__(self, container_id: _Optional[int] = ..., host_id: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class TaskOptions(_message.Message):
    __slots__ = ("runtime", "runtime_root", "systemd_cgroup", "log_path", "stdin", "stdin_once", "io_uid", "io_gid")
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ROOT_FIELD_NUMBER: _ClassVar[int]
    SYSTEMD_CGROUP_FIELD_NUMBER: _ClassVar[int]
    LOG_PATH_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    STDIN_ONCE_FIELD_NUMBER: _ClassVar[int]
    IO_UID_FIELD_NUMBER: _ClassVar[int]
    IO_GID_FIELD_NUMBER: _ClassVar[int]
    runtime: str
    runtime_root: str
    systemd_cgroup: bool
    log_path: str
    stdin: bool
    stdin_once: bool
    io_uid: int
    io_gid: int
    def __init__(self, runtime: _Optional[str] = ..., runtime_root: _Optional[str] = ..., systemd_cgroup: _Optional[bool] = ..., log_path: _Optional[str] = ..., stdin: _Optional[bool] = ..., stdin_once: _Optional[bool] = ..., io_uid: _Optional[int] = ..., io_gid: _Optional[int] = ...) -> None: ...
