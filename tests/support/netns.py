"""Machines and cables out of network namespaces: real TCP, real black holes. Root, `ip` and `nft`.

Namespaces are anonymous, held by file descriptors of this process alone: when it ends, however it
ends, they are gone with all that is in them, and no two runs can meet. The machine's own network is
never touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_RULES = """
table inet cut {{
  counter lost {{}}
  chain in {{ type filter hook input priority 0; iifname "{port}" counter name lost drop; }}
  chain out {{ type filter hook output priority 0; oifname "{port}" counter name lost drop; }}
}}
"""


class Machine:
    """One namespace: a machine with its loopback up. `close` when its processes are gone."""

    def __init__(self, name: str) -> None:
        self.name = name
        with _open("/proc/thread-self/ns/net") as here:
            _check(_LIBC.unshare(CLONE_NEWNET), f"a namespace for {name}")
            try:
                self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _check(_LIBC.setns(here, CLONE_NEWNET), "back to our own namespace")
        self.run("ip", "link", "set", "lo", "up")

    def close(self) -> None:
        os.close(self._fd)

    @property
    def path(self) -> str:
        """For tools that want the namespace as a file."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def enter(self) -> None:
        """For `preexec_fn`: the child is in this machine, and dies when we do."""
        _check(_LIBC.setns(self._fd, CLONE_NEWNET), f"into {self.name}")
        die_with_us()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the machine; no `await` meanwhile. Sockets made now stay in it."""
        with _open("/proc/thread-self/ns/net") as here:
            _check(_LIBC.setns(self._fd, CLONE_NEWNET), f"into {self.name}")
            try:
                yield
            finally:
                _check(_LIBC.setns(here, CLONE_NEWNET), "back to our own namespace")

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        with self.inside():
            return socket.socket(family, kind)

    def run(self, *command: str, stdin: str = "") -> str:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, preexec_fn=self.enter
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    # -- faults -----------------------------------------------------------------------------------

    def black_hole(self, port: str) -> None:
        """From now on nothing passes `port`, and nobody is told."""
        self.run("nft", "-f", "-", stdin=_RULES.format(port=port))

    def heal(self, port: str) -> int:
        """Ends whatever is wrong with `port`; returns how many packets the black hole took."""
        dropped = self.dropped()
        if self._has_rules():
            self.run("nft", "delete", "table", "inet", "cut")
        if not self.is_up(port):
            self.run("ip", "link", "set", port, "up")
        return dropped

    def dropped(self) -> int:
        """Packets the black hole took so far."""
        if not self._has_rules():
            return 0
        listed = json.loads(self.run("nft", "-json", "list", "counters"))["nftables"]
        return sum(int(entry["counter"]["packets"]) for entry in listed if "counter" in entry)

    def link_down(self, port: str) -> None:
        """Hard: the cable is out, the kernel knows it."""
        self.run("ip", "link", "set", port, "down")

    def is_up(self, port: str) -> bool:
        found = json.loads(self.run("ip", "-json", "link", "show", port))
        return "UP" in found[0]["flags"]

    def _has_rules(self) -> bool:
        return "table inet cut" in self.run("nft", "list", "tables")


class Lan:
    """A switch; `plug` gives a machine a port on it."""

    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self._prefix = prefix  # of a /24: "10.77.0"
        self._switch = Machine(f"switch {name}")
        self._ports = 0
        self._switch.run("ip", "link", "add", "bridge", "type", "bridge")
        self._switch.run("ip", "link", "set", "bridge", "up")

    def plug(self, machine: Machine, number: int) -> str:
        """The machine's address here; its port is called as the switch is."""
        self._ports += 1
        port, address = f"p{self._ports}", f"{self._prefix}.{number}"
        peer = ("peer", "name", self.name, "netns", machine.path)
        self._switch.run("ip", "link", "add", port, "type", "veth", *peer)
        self._switch.run("ip", "link", "set", port, "master", "bridge", "up")
        machine.run("ip", "address", "add", f"{address}/24", "dev", self.name)
        machine.run("ip", "link", "set", self.name, "up")
        return address

    def close(self) -> None:
        self._switch.close()


def socket_factory(machine: Machine) -> Callable[[Any], socket.socket]:
    """For aiohttp's connector: connections are made from within the machine."""

    def make(info: Any) -> socket.socket:
        made = machine.socket(info[0], info[1])
        made.setblocking(False)
        return made

    return make


def die_with_us() -> None:
    """For `preexec_fn`: however we end, the child does not live on."""
    _check(_LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "death signal")


@contextlib.contextmanager
def _open(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)} (these tests need root)")
