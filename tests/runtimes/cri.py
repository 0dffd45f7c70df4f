"""A client of the Container Runtime Interface, with as much of its messages as the tests need.

Messages are dictionaries. What they look like on the wire stands in the tables: field name → (number, kind), where a
kind is "int", "text", "map" (texts to texts), the name of another message, or a list of one of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Union

import grpc

SERVICE = "/runtime.v1.RuntimeService/"
TIMEOUT = 60
Kind = Union[str, list[str]]

MESSAGES: dict[str, dict[str, tuple[int, Kind]]] = {
    "StatusRequest": {},
    "StatusResponse": {"status": (1, "RuntimeStatus")},
    "RuntimeStatus": {"conditions": (1, ["RuntimeCondition"])},
    "RuntimeCondition": {"type": (1, "text"), "status": (2, "int"), "reason": (3, "text"), "message": (4, "text")},
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig")},
    "RunPodSandboxResponse": {"pod_sandbox_id": (1, "text")},
    "StopPodSandboxRequest": {"pod_sandbox_id": (1, "text")},
    "StopPodSandboxResponse": {},
    "RemovePodSandboxRequest": {"pod_sandbox_id": (1, "text")},
    "RemovePodSandboxResponse": {},
    "PodSandboxStatusRequest": {"pod_sandbox_id": (1, "text"), "verbose": (2, "int")},
    "PodSandboxStatusResponse": {"status": (1, "PodSandboxStatus"), "info": (2, "map")},
    "PodSandboxStatus": {"id": (1, "text"), "state": (3, "int"), "network": (5, "PodSandboxNetworkStatus")},
    "PodSandboxNetworkStatus": {"ip": (1, "text"), "additional_ips": (2, ["PodIP"])},
    "PodIP": {"ip": (1, "text")},
    "PodSandboxConfig": {
        "metadata": (1, "PodSandboxMetadata"), "hostname": (2, "text"), "log_directory": (3, "text"),
        "port_mappings": (5, ["PortMapping"]), "annotations": (7, "map"), "linux": (8, "LinuxPodSandboxConfig"),
    },
    "PodSandboxMetadata": {"name": (1, "text"), "uid": (2, "text"), "namespace": (3, "text")},
    "PortMapping": {
        "protocol": (1, "int"), "container_port": (2, "int"), "host_port": (3, "int"), "host_ip": (4, "text"),
    },
    "LinuxPodSandboxConfig": {"cgroup_parent": (1, "text")},
    "CreateContainerRequest": {
        "pod_sandbox_id": (1, "text"), "config": (2, "ContainerConfig"), "sandbox_config": (3, "PodSandboxConfig"),
    },
    "CreateContainerResponse": {"container_id": (1, "text")},
    "ContainerConfig": {
        "metadata": (1, "ContainerMetadata"), "image": (2, "ImageSpec"), "command": (3, ["text"]),
        "linux": (15, "LinuxContainerConfig"),
    },
    "ContainerMetadata": {"name": (1, "text")},
    "ImageSpec": {"image": (1, "text")},
    "LinuxContainerConfig": {},
    "StartContainerRequest": {"container_id": (1, "text")},
    "StartContainerResponse": {},
    "ExecSyncRequest": {"container_id": (1, "text"), "cmd": (2, ["text"]), "timeout": (3, "int")},
    "ExecSyncResponse": {"stdout": (1, "text"), "stderr": (2, "text"), "exit_code": (3, "int")},
}  # fmt: skip
MAP_ENTRY: dict[str, tuple[int, Kind]] = {"key": (1, "text"), "value": (2, "text")}


class Client(AbstractContextManager["Client"]):
    """``with Client(socket) as cri: cri("RunPodSandbox", config={…})``"""

    def __init__(self, socket: str) -> None:
        self.channel = grpc.insecure_channel(f"unix://{socket}")

    def __call__(self, method: str, **request: Any) -> dict[str, Any]:
        """The answer. Raises grpc.RpcError with what the runtime says."""
        ask = self.channel.unary_unary(
            SERVICE + method,
            request_serializer=lambda value: encode(f"{method}Request", value),
            response_deserializer=lambda content: decode(f"{method}Response", content),
        )
        return ask(request, timeout=TIMEOUT, wait_for_ready=True)

    def __exit__(self, *_: object) -> None:
        self.channel.close()


def encode(message: str, value: dict[str, Any]) -> bytes:
    """The bytes of a message; fields that are absent or empty are not written, as in proto3."""
    return _encode(MESSAGES[message], value)


def decode(message: str, content: bytes) -> dict[str, Any]:
    """The fields that the table knows; each list is there, other fields only where they were written."""
    return _decode(MESSAGES[message], content)


def _encode(fields: dict[str, tuple[int, Kind]], value: dict[str, Any]) -> bytes:
    written = b""
    for name, content in value.items():
        number, kind = fields[name]
        if kind == "map":
            entries = [{"key": key, "value": text} for key, text in content.items()]
            written += b"".join(_sized(number, _encode(MAP_ENTRY, entry)) for entry in entries)
        elif isinstance(kind, list):
            written += b"".join(_field(number, kind[0], one) for one in content)
        elif content:
            written += _field(number, kind, content)
    return written


def _field(number: int, kind: str, value: Any) -> bytes:
    if kind == "int":
        return _varint(number << 3) + _varint(value)
    return _sized(number, value.encode() if kind == "text" else encode(kind, value))


def _sized(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _decode(fields: dict[str, tuple[int, Kind]], content: bytes) -> dict[str, Any]:
    names = {number: (name, kind) for name, (number, kind) in fields.items()}
    value: dict[str, Any] = {name: [] for name, (_, kind) in fields.items() if isinstance(kind, list)}
    for number, raw in _raw_fields(content):
        name, kind = names.get(number, ("", ""))
        if kind == "map":
            entry = _decode(MAP_ENTRY, raw)
            value.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
        elif isinstance(kind, list):
            value[name].append(_value(kind[0], raw))
        elif kind:
            value[name] = _value(kind, raw)
    return value


def _value(kind: str, raw: Any) -> Any:
    if kind == "int":
        return raw
    return raw.decode() if kind == "text" else decode(kind, raw)


def _raw_fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value (int or bytes) of each field."""
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        value, at = _read_varint(content, at)
        if key & 7 == 2:
            value, at = content[at : at + value], at + value
        elif key & 7:
            raise ValueError(f"wire type {key & 7} is not used by this interface")
        yield key >> 3, value


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
