"""containerd.task.v3.Task, and v2, which has the same messages: the containers of the pod."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from core.api import crisp_shim_pb2, runc_options_pb2, task_events_pb2, task_types_pb2, task_v3_pb2, types_pb2
from core.errdefs import NotFound, Unimplemented
from core.linux.mount import mount_all, umount_all
from core.shim.cgroup import node_layout
from core.shim.container import Container, State, Stdio
from core.shim.containers import Containers
from core.shim.exec import Exec
from core.shim.luggage import Luggage, Packed
from core.shim.metrics import metrics
from core.shim.oci_runtime import OciRuntime
from core.shim.publish import Publisher
from core.shim.reaper import Reaper
from core.shim.record import ExitRecord
from core.types import Mount

VERSION = "2"
DEFAULT_RUNTIME = "crun"

_STATUS = {
    State.CREATED: task_types_pb2.Status.CREATED,
    State.RUNNING: task_types_pb2.Status.RUNNING,
    State.PAUSED: task_types_pb2.Status.PAUSED,
    State.STOPPED: task_types_pb2.Status.STOPPED,
}


class TaskService:
    def __init__(
        self,
        containers: Containers,
        reaper: Reaper,
        publisher: Publisher,
        namespace: str,
        shutdown: Callable[[], None],
        *,
        shim: int,
    ) -> None:
        """`shim` is the pid that the pod's shim is known by."""
        self._containers = containers
        self._reaper = reaper
        self._publisher = publisher
        self._namespace = namespace
        self._shutdown = shutdown
        self._shim = shim
        self._layout = node_layout()
        self._execs: dict[tuple[str, str], Exec] = {}
        self._mounted: set[str] = set()

    async def create(self, request: task_v3_pb2.CreateTaskRequest) -> task_v3_pb2.CreateTaskResponse:
        if request.checkpoint:
            raise Unimplemented("restoring from a checkpoint")
        container = self._new(request)
        self._containers.add(container)
        try:
            if not _is(request.options, crisp_shim_pb2.TaskOptions):
                container.runtime.save()  # for `delete`, should this shim die
            rootfs = os.path.join(request.bundle, "rootfs")
            mount_all([_mount(one) for one in request.rootfs], rootfs)
            await container.create()
        except BaseException:
            if request.rootfs:
                umount_all(rootfs)
            self._containers.remove(container.id)
            raise
        if request.rootfs:
            self._mounted.add(container.id)
        self._containers.watch(container, self._exited)
        self._publisher.publish(
            "/tasks/create",
            task_events_pb2.TaskCreate(container_id=container.id, bundle=request.bundle, pid=container.pid),
        )
        return task_v3_pb2.CreateTaskResponse(pid=container.pid)

    def _new(self, request: task_v3_pb2.CreateTaskRequest) -> Container:
        options = task_options(request.options, request.bundle, self._namespace)
        runtime = OciRuntime(
            binary=options.runtime or DEFAULT_RUNTIME,
            root=options.runtime_root,
            systemd_cgroup=options.systemd_cgroup,
            bundle=request.bundle,
            reaper=self._reaper,
            io_uid=options.io_uid,
            io_gid=options.io_gid,
        )
        stdio = Stdio(
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
            terminal=request.terminal,
            log_path=options.log_path,
            keep_stdin=options.stdin,
            stdin_once=options.stdin_once,
        )
        return Container(request.id, runtime, stdio, self._layout, self._containers.log_counter)

    def _exited(self, container: Container) -> None:
        assert container.exit is not None
        if container.exit.oom_killed:
            self._publisher.publish("/tasks/oom", task_events_pb2.TaskOOM(container_id=container.id))
        self._publish_exit(container.id, container.id, container.exit)

    def _publish_exit(self, container_id: str, process_id: str, exit_: ExitRecord) -> None:
        event = task_events_pb2.TaskExit(
            container_id=container_id,
            id=process_id,
            pid=exit_.pid,
            exit_status=exit_.exit_code,
            exited_at=_stamp(exit_),
        )
        self._publisher.publish("/tasks/exit", event)

    async def start(self, request: task_v3_pb2.StartRequest) -> task_v3_pb2.StartResponse:
        if request.exec_id:
            exec_ = self._exec(request.id, request.exec_id)
            await exec_.start()
            self._containers.group.create_task(self._watch_exec(exec_))
            started = task_events_pb2.TaskExecStarted(container_id=request.id, exec_id=request.exec_id, pid=exec_.pid)
            self._publisher.publish("/tasks/exec-started", started)
            return task_v3_pb2.StartResponse(pid=exec_.pid)
        container = self._containers.get(request.id)
        await container.start()
        self._publisher.publish("/tasks/start", task_events_pb2.TaskStart(container_id=container.id, pid=container.pid))
        return task_v3_pb2.StartResponse(pid=container.pid)

    async def _watch_exec(self, exec_: Exec) -> None:
        await exec_.wait_exit()
        assert exec_.exit is not None
        self._publish_exit(exec_.container.id, exec_.id, exec_.exit)

    async def state(self, request: task_v3_pb2.StateRequest) -> task_v3_pb2.StateResponse:
        container = self._containers.get(request.id)
        process: Container | Exec = self._exec(request.id, request.exec_id) if request.exec_id else container
        if isinstance(process, Exec):
            created = task_types_pb2.Status.RUNNING if process.pid else task_types_pb2.Status.CREATED
            status = task_types_pb2.Status.STOPPED if process.exit else created
        else:
            status = _STATUS[process.state]
        return task_v3_pb2.StateResponse(
            id=container.id,
            exec_id=request.exec_id,
            bundle=container.bundle,
            pid=process.pid,
            status=status,
            stdin=process.stdio.stdin,
            stdout=process.stdio.stdout,
            stderr=process.stdio.stderr,
            terminal=process.stdio.terminal,
            exit_status=process.exit.exit_code if process.exit else 0,
            exited_at=_stamp(process.exit) if process.exit else None,
        )

    async def pids(self, request: task_v3_pb2.PidsRequest) -> task_v3_pb2.PidsResponse:
        pids = self._containers.get(request.id).pids()
        return task_v3_pb2.PidsResponse(processes=[task_types_pb2.ProcessInfo(pid=pid) for pid in pids])

    async def pause(self, request: task_v3_pb2.PauseRequest) -> Empty:
        container = self._containers.get(request.id)
        await container.runtime.pause(container.id)
        container.state = State.PAUSED
        self._publisher.publish("/tasks/paused", task_events_pb2.TaskPaused(container_id=container.id))
        return Empty()

    async def resume(self, request: task_v3_pb2.ResumeRequest) -> Empty:
        container = self._containers.get(request.id)
        await container.runtime.resume(container.id)
        container.state = State.RUNNING
        self._publisher.publish("/tasks/resumed", task_events_pb2.TaskResumed(container_id=container.id))
        return Empty()

    async def kill(self, request: task_v3_pb2.KillRequest) -> Empty:
        if request.exec_id:
            self._exec(request.id, request.exec_id).kill(request.signal)
        else:
            await self._containers.get(request.id).kill(request.signal, everything=request.all)
        return Empty()

    async def exec(self, request: task_v3_pb2.ExecProcessRequest) -> Empty:
        container = self._containers.get(request.id)
        stdio = Stdio(
            stdin=request.stdin, stdout=request.stdout, stderr=request.stderr, terminal=request.terminal
        )
        self._execs[request.id, request.exec_id] = Exec(container, request.exec_id, request.spec.value, stdio)
        self._publisher.publish(
            "/tasks/exec-added", task_events_pb2.TaskExecAdded(container_id=request.id, exec_id=request.exec_id)
        )
        return Empty()

    async def resize_pty(self, request: task_v3_pb2.ResizePtyRequest) -> Empty:
        process = self._process(request.id, request.exec_id)
        if process.console:
            process.console.resize(request.width, request.height)
        return Empty()

    async def close_io(self, request: task_v3_pb2.CloseIORequest) -> Empty:
        process = self._process(request.id, request.exec_id)
        if request.stdin:
            process.close_stdin()
        return Empty()

    async def update(self, request: task_v3_pb2.UpdateTaskRequest) -> Empty:
        container = self._containers.get(request.id)
        await container.runtime.update(container.id, request.resources.value)
        return Empty()

    async def wait(self, request: task_v3_pb2.WaitRequest) -> task_v3_pb2.WaitResponse:
        process = self._process(request.id, request.exec_id)
        await process.exited.wait()
        assert process.exit is not None
        return task_v3_pb2.WaitResponse(exit_status=process.exit.exit_code, exited_at=_stamp(process.exit))

    async def stats(self, request: task_v3_pb2.StatsRequest) -> task_v3_pb2.StatsResponse:
        container = self._containers.get(request.id)
        try:
            found = metrics(self._layout.of_process(container.pid)) if container.exit is None else None
        except OSError:  # it ends at this moment
            found = None
        if found is None:
            raise NotFound(f"container {container.id} has ended: it has no cgroup")
        reply = task_v3_pb2.StatsResponse()
        reply.stats.type_url = found.DESCRIPTOR.full_name
        reply.stats.value = found.SerializeToString()
        return reply

    async def connect(self, request: task_v3_pb2.ConnectRequest) -> task_v3_pb2.ConnectResponse:
        pids = [container.pid for container in self._containers.list() if container.id == request.id]
        return task_v3_pb2.ConnectResponse(shim_pid=self._shim, task_pid=pids[0] if pids else 0, version=VERSION)

    async def delete(self, request: task_v3_pb2.DeleteRequest) -> task_v3_pb2.DeleteResponse:
        if request.exec_id:
            exec_ = self._exec(request.id, request.exec_id)
            exec_.kill(signal.SIGKILL)
            exec_.close()
            del self._execs[request.id, request.exec_id]
            return _deleted(exec_.exit)
        container = self._containers.get(request.id)
        await container.delete()
        if container.id in self._mounted:
            umount_all(os.path.join(container.bundle, "rootfs"))
            self._mounted.discard(container.id)
        self._containers.remove(container.id)
        reply = _deleted(container.exit)
        deleted = task_events_pb2.TaskDelete(
            container_id=container.id, pid=reply.pid, exit_status=reply.exit_status, exited_at=reply.exited_at
        )
        self._publisher.publish("/tasks/delete", deleted)
        return reply

    async def shutdown(self, request: task_v3_pb2.ShutdownRequest) -> Empty:
        """End the process, unless containers are left and `now` is not set."""
        if request.now or not self._containers.list():
            self._shutdown()
        return Empty()

    @property
    def at_rest(self) -> bool:
        return not self._execs and all(container.at_rest for container in self._containers.list())

    def put_down(self, luggage: Luggage) -> Packed:
        containers = [container.put_down(luggage) for container in self._containers.list()]
        return {"containers": containers, "mounted": list(self._mounted)}

    def take_up(self, state: Packed, luggage: Luggage) -> None:
        self._mounted.update(state["mounted"])
        counter = self._containers.log_counter
        for one in state["containers"]:
            container = Container.take_up(one, luggage, self._reaper, self._layout, counter)
            self._containers.add(container)
            if container.exit is None:
                self._containers.watch(container, self._exited)

    def _exec(self, container_id: str, exec_id: str) -> Exec:
        try:
            return self._execs[container_id, exec_id]
        except KeyError:
            raise NotFound(f"exec {exec_id} of task {container_id}") from None

    def _process(self, container_id: str, exec_id: str) -> Container | Exec:
        return self._exec(container_id, exec_id) if exec_id else self._containers.get(container_id)


def task_options(packed: Any, bundle: str, namespace: str) -> crisp_shim_pb2.TaskOptions:
    """Our options, or what those come to that containerd gives a runc-compatible shim, or none.

    Ids are unique in one namespace of one containerd only, so without a root the OCI runtime has one in the bundle.
    """
    if _is(packed, crisp_shim_pb2.TaskOptions):
        return crisp_shim_pb2.TaskOptions.FromString(packed.value)
    runc = _is(packed, runc_options_pb2.Options)
    given = runc_options_pb2.Options.FromString(packed.value if runc else b"")
    root = os.path.join(given.root, namespace) if given.root else os.path.join(bundle, "oci")
    return crisp_shim_pb2.TaskOptions(
        runtime=given.binary_name,
        runtime_root=root,
        systemd_cgroup=given.systemd_cgroup,
        io_uid=given.io_uid,
        io_gid=given.io_gid,
    )


def _is(packed: Any, kind: type[Message]) -> bool:
    return packed.type_url.rpartition("/")[2] == kind.DESCRIPTOR.full_name  # containerd's have no prefix


def _mount(message: types_pb2.Mount) -> Mount:
    return Mount(type=message.type, source=message.source, target=message.target, options=tuple(message.options))


def _stamp(exit_: ExitRecord) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(int(exit_.exited_at * 1e9))
    return stamp


def _deleted(exit_: ExitRecord | None) -> task_v3_pb2.DeleteResponse:
    if exit_ is None:
        return task_v3_pb2.DeleteResponse()
    return task_v3_pb2.DeleteResponse(pid=exit_.pid, exit_status=exit_.exit_code, exited_at=_stamp(exit_))
