"""A Flyte control plane on loopback: it takes runs, and starts each action as a process, as a cluster starts a pod.

In a test: `with ControlPlane(folder) as plane: ...`. It does what running tasks takes, and no more: it has no cache, no
queue and no images, and knows no user.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.actions import actions_service_connect, actions_service_pb2
from flyteidl2.cluster import payload_pb2, service_connect
from flyteidl2.common import identifier_pb2, phase_pb2, run_pb2
from flyteidl2.core import execution_pb2
from flyteidl2.dataproxy import dataproxy_service_connect, dataproxy_service_pb2
from flyteidl2.task import common_pb2
from flyteidl2.workflow import run_definition_pb2, run_service_connect, run_service_pb2, state_service_pb2

__all__ = ["ControlPlane"]

ENDED = (
    phase_pb2.ACTION_PHASE_SUCCEEDED,
    phase_pb2.ACTION_PHASE_FAILED,
    phase_pb2.ACTION_PHASE_ABORTED,
)
PROJECT = {"org": "o", "project": "p", "domain": "d"}
PATIENCE = 30.0
"""Seconds to start and to end."""


class ControlPlane:
    """The control plane and its pods, which have the Python and the packages of the tests.

    Args:
        folder: where inputs, outputs and logs are.
        secrets: those that are kept for tasks; a pod has those that its task asks for.
        environment: variables of every pod.

    Attributes:
        endpoint: as `.flyte/config.yaml` names it.
        tasks: the names of the tasks of the pods that were started, in order.
        aborted: the runs that were aborted, and why.
        held: while this file is there, a run that was made is not answered; `made` beside it says that there is one.
        is_deaf: whether it refuses to abort.
    """

    def __init__(
        self, folder: Path, secrets: Mapping[str, str] = {}, environment: Mapping[str, str] = {}
    ) -> None:
        self.folder, self.tasks, self.aborted = folder, list[str](), dict[str, str]()
        self.secrets, self.environment = dict(secrets), dict(environment)
        self.held, self.is_deaf = folder / "held", False
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.endpoint = f"dns:///127.0.0.1:{self.port}"
        self._pods = _Pods(self)
        services = [
            run_service_connect.RunServiceASGIApplication(_Runs(self._pods)),
            actions_service_connect.ActionsServiceASGIApplication(_Actions(self._pods)),
            dataproxy_service_connect.DataProxyServiceASGIApplication(_Data(self._pods)),
            service_connect.ClusterServiceASGIApplication(_Cluster(self)),
        ]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return
            for service in services:
                if scope["path"].startswith(service.path):
                    await service(scope, receive, send)
                    return
            await self._take_file(scope, receive, send)

        self._server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="critical", lifespan="off")
        )
        self._thread = threading.Thread(target=self._server.run, name="control plane", daemon=True)

    def __enter__(self) -> ControlPlane:
        self._thread.start()
        for _ in range(int(PATIENCE / 0.05)):
            if self._server.started:
                return self
            self._thread.join(0.05)
        raise TimeoutError("the control plane has not begun")

    def __exit__(self, *_: object) -> None:
        self._pods.end()
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(PATIENCE)

    def write_config(self, project: Path) -> None:
        """Let a project name it in its `.flyte/config.yaml`."""
        file = project / ".flyte" / "config.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        task = ", ".join(f"{name}: {value}" for name, value in PROJECT.items())
        file.write_text(f"admin: {{endpoint: '{self.endpoint}', insecure: true}}\ntask: {{{task}}}\n")

    def logs(self) -> str:
        """What all pods printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.rglob("log.txt")))

    async def _take_file(self, scope: Any, receive: Any, send: Any) -> None:
        """Keep a file that is sent to the path /files/NAME: code of the user."""
        path = self.folder / scope["path"].lstrip("/")
        found = scope["method"] == "PUT" and path.parent == self.folder / "files"
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        if found:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        await send({"type": "http.response.start", "status": 200 if found else 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class _Pods:
    """The actions of all runs: what each is to do, and what became of it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.specs: dict[tuple[str, str], Any] = {}
        self.ended: dict[tuple[str, str], Any] = {}
        self.watchers: dict[tuple[str, str], list[asyncio.Queue[Any]]] = defaultdict(list)
        self.variables: dict[str, dict[str, str]] = {}
        self._running: dict[tuple[str, str], asyncio.subprocess.Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, id: Any, spec: Any, inputs: str, parent: str) -> None:
        self.specs[id.run.name, id.name] = spec
        self.plane.tasks.append(spec.task_template.id.name)
        task = asyncio.get_running_loop().create_task(self._run(id, spec, inputs, parent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def abort(self, run: str) -> None:
        """End the pods of a run."""
        for (of, action), process in list(self._running.items()):
            if of == run:
                self.ended[of, action] = state_service_pb2.ActionUpdate(phase=phase_pb2.ACTION_PHASE_ABORTED)
                process.terminate()

    def end(self) -> None:
        """End all pods."""
        for process in list(self._running.values()):
            process.kill()

    async def _run(self, id: Any, spec: Any, inputs: str, parent: str) -> None:
        run, action = id.run.name, id.name
        base = self.plane.folder / run
        out = base / action
        out.mkdir(parents=True, exist_ok=True)  # the parent has put the inputs there
        container = spec.task_template.container
        places = {
            "{{.input}}": inputs,
            "{{.outputPrefix}}": str(out),
            "{{.rawOutputDataPrefix}}": str(base / "raw"),
            "{{.checkpointOutputPrefix}}": str(out / "checkpoint"),
            "{{.prevCheckpointPrefix}}": str(out / "before"),
            "{{.runName}}": run,
            "{{.actionName}}": action,
            "{{.runStartTime}}": "2026-01-01T00:00:00Z",
        }
        home = self.plane.folder / "home" / f"{run}-{action}"  # nothing is shared with another pod
        home.mkdir(parents=True)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(home),
            "_U_EP_OVERRIDE": f"127.0.0.1:{self.plane.port}",
            "_U_INSECURE": "true",
            "_U_USE_ACTIONS": "1",
            "_U_RUN_BASE": str(base),
            "_U_ORG_NAME": PROJECT["org"],
            "FLYTE_INTERNAL_EXECUTION_PROJECT": PROJECT["project"],
            "FLYTE_INTERNAL_EXECUTION_DOMAIN": PROJECT["domain"],
            "FLYTE_INTERNAL_IMAGE": container.image,
            "FSSPEC_FILE_AUTO_MKDIR": "true",
            "ACTION_NAME": action,
            "RUN_NAME": run,
            **self.plane.environment,
            **{
                secret.env_var or secret.key: self.plane.secrets[secret.key]
                for secret in spec.task_template.security_context.secrets
                if secret.key in self.plane.secrets
            },
            **self.variables[run],
            **{pair.key: pair.value for pair in container.env},
        }
        with (out / "log.txt").open("wb") as log:
            self._running[run, action] = process = await asyncio.create_subprocess_exec(
                *(places.get(word, word) for word in container.args),
                env=environment, cwd=home, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
            await process.wait()
        del self._running[run, action]
        aborted = self.ended.get((run, action))
        self.ended[run, action] = update = state_service_pb2.ActionUpdate(
            action_id=id, output_uri=str(out), phase=phase_pb2.ACTION_PHASE_SUCCEEDED
        )
        if aborted is not None:
            update.phase = phase_pb2.ACTION_PHASE_ABORTED
        elif not (out / "outputs.pb").exists():
            update.phase = phase_pb2.ACTION_PHASE_FAILED
            update.error.CopyFrom(_error(out))
        for watcher in self.watchers[run, parent]:
            watcher.put_nowait(update)

    def details(self, run: str, action: str) -> Any:
        """What is known of an action."""
        ended, spec = self.ended.get((run, action)), self.specs.get((run, action))
        phase = ended.phase if ended else phase_pb2.ACTION_PHASE_RUNNING
        details = run_definition_pb2.ActionDetails(
            id=_action(run, action), status=run_definition_pb2.ActionStatus(phase=phase)
        )
        if spec is not None:
            details.task.CopyFrom(spec)
            details.metadata.task.id.name = spec.task_template.id.name
        if ended and ended.HasField("error"):
            details.error_info.message, details.error_info.code = ended.error.message, ended.error.code
            details.error_info.kind = run_definition_pb2.ErrorInfo.KIND_USER
        return details

    def outputs(self, id: Any) -> Any:
        """The outputs of an action."""
        file, outputs = self.plane.folder / id.run.name / id.name / "outputs.pb", common_pb2.Outputs()
        if file.exists():
            outputs.ParseFromString(file.read_bytes())
        return outputs


def _action(run: str, action: str) -> Any:
    return identifier_pb2.ActionIdentifier(name=action, run=identifier_pb2.RunIdentifier(name=run, **PROJECT))


def _error(out: Path) -> Any:
    """Why a pod wrote no outputs."""
    document = execution_pb2.ErrorDocument()
    if (out / "error.pb").exists():
        document.ParseFromString((out / "error.pb").read_bytes())
        return execution_pb2.ExecutionError(
            kind=document.error.origin, code=document.error.code, message=document.error.message
        )
    return execution_pb2.ExecutionError(
        kind=execution_pb2.ExecutionError.SYSTEM,
        code="Unknown",
        message=(out / "log.txt").read_text()[-2000:],
    )


class _Runs(run_service_connect.RunService):
    def __init__(self, pods: _Pods) -> None:
        self._pods = pods

    async def create_run(self, request: Any, ctx: Any) -> Any:
        id = _action(request.run_id.name or f"r{os.urandom(4).hex()}", "a0")
        self._pods.variables[id.run.name] = {pair.key: pair.value for pair in request.run_spec.envs.values}
        self._pods.start(id, request.task_spec, request.offloaded_input_data.uri, "")
        while (held := self._pods.plane.held).exists():
            held.with_name("made").touch()
            await asyncio.sleep(0.05)
        run = run_definition_pb2.Run(action=run_definition_pb2.Action(id=id))
        return run_service_pb2.CreateRunResponse(run=run)

    async def abort_run(self, request: Any, ctx: Any) -> Any:
        if self._pods.plane.is_deaf:
            raise ConnectError(Code.INTERNAL, "nobody listens")
        self._pods.plane.aborted[request.run_id.name] = request.reason
        self._pods.abort(request.run_id.name)
        return run_service_pb2.AbortRunResponse()

    async def get_run_details(self, request: Any, ctx: Any) -> Any:
        details = run_definition_pb2.RunDetails(action=self._pods.details(request.run_id.name, "a0"))
        return run_service_pb2.GetRunDetailsResponse(details=details)

    async def get_action_details(self, request: Any, ctx: Any) -> Any:
        details = self._pods.details(request.action_id.run.name, request.action_id.name)
        return run_service_pb2.GetActionDetailsResponse(details=details)

    async def list_actions(self, request: Any, ctx: Any) -> Any:
        run = request.run_id.name
        found = [self._pods.details(*key) for key in list(self._pods.specs) if key[0] == run]
        actions = [
            run_definition_pb2.Action(id=each.id, metadata=each.metadata, status=each.status)
            for each in found
        ]
        return run_service_pb2.ListActionsResponse(actions=actions)

    async def watch_action_details(self, request: Any, ctx: Any) -> AsyncIterator[Any]:
        while True:
            details = self._pods.details(request.action_id.run.name, request.action_id.name)
            yield run_service_pb2.WatchActionDetailsResponse(details=details)
            if details.status.phase in ENDED:
                return
            await asyncio.sleep(0.1)

    async def get_action_data(self, request: Any, ctx: Any) -> Any:
        return run_service_pb2.GetActionDataResponse(outputs=self._pods.outputs(request.action_id))


class _Actions(actions_service_connect.ActionsService):
    def __init__(self, pods: _Pods) -> None:
        self._pods = pods

    async def enqueue(self, request: Any, ctx: Any) -> Any:
        action = request.action
        self._pods.start(action.action_id, action.task.spec, action.input_uri, action.parent_action_name)
        return actions_service_pb2.EnqueueResponse()

    async def watch_for_updates(self, request: Any, ctx: Any) -> AsyncIterator[Any]:
        updates: asyncio.Queue[Any] = asyncio.Queue()
        parent = request.parent_action_id
        self._pods.watchers[parent.run.name, parent.name].append(updates)
        yield actions_service_pb2.WatchForUpdatesResponse(
            control_message=state_service_pb2.ControlMessage(sentinel=True)
        )
        while True:
            yield actions_service_pb2.WatchForUpdatesResponse(action_update=await updates.get())


class _Data(dataproxy_service_connect.DataProxyService):
    def __init__(self, pods: _Pods) -> None:
        self._pods = pods

    async def upload_inputs(self, request: Any, ctx: Any) -> Any:
        file = self._pods.plane.folder / "inputs" / os.urandom(4).hex() / "inputs.pb"
        file.parent.mkdir(parents=True)
        file.write_bytes(request.inputs.SerializeToString())
        data = run_pb2.OffloadedInputData(uri=str(file), inputs_hash=file.parent.name)
        return dataproxy_service_pb2.UploadInputsResponse(offloaded_input_data=data)

    async def create_upload_location(self, request: Any, ctx: Any) -> Any:
        name = f"{os.urandom(4).hex()}-{Path(request.filename).name}"
        return dataproxy_service_pb2.CreateUploadLocationResponse(
            signed_url=f"http://127.0.0.1:{self._pods.plane.port}/files/{name}",
            native_url=str(self._pods.plane.folder / "files" / name),
        )

    async def get_action_data(self, request: Any, ctx: Any) -> Any:
        return dataproxy_service_pb2.GetActionDataResponse(outputs=self._pods.outputs(request.action_id))


class _Cluster(service_connect.ClusterService):
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def select_cluster(self, request: Any, ctx: Any) -> Any:
        return payload_pb2.SelectClusterResponse(cluster_endpoint=self._plane.endpoint)
