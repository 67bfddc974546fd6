"""A candidate by `kubernetes.leaderelection`, run by tests as a process; tells what it does.

    python elector.py KUBECONFIG NAMESPACE NAME

It leads until it cannot renew; then, as its documentation says, it ends.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import kubernetes
import kubernetes.leaderelection.electionconfig
import kubernetes.leaderelection.leaderelection
import kubernetes.leaderelection.resourcelock.leaselock

LEASE, RENEW, RETRY = 5, 3, 1  # seconds; it takes whole ones
LOCK = "lock"


def tell(event: str) -> None:
    sys.stdout.write(json.dumps({"event": event, "at": time.monotonic()}) + "\n")
    sys.stdout.flush()


def lead() -> None:
    tell("leads")
    threading.Event().wait()


def main() -> None:
    kubeconfig, namespace, name = sys.argv[1:]
    untyped: Any = kubernetes
    untyped.config.load_kube_config(kubeconfig)
    config = untyped.leaderelection.electionconfig.Config(
        untyped.leaderelection.resourcelock.leaselock.LeaseLock(LOCK, namespace, name),
        lease_duration=LEASE,
        renew_deadline=RENEW,
        retry_period=RETRY,
        onstarted_leading=lead,
        onstopped_leading=lambda: tell("stopped"),
    )
    tell("ready")
    untyped.leaderelection.leaderelection.LeaderElection(config).run()


if __name__ == "__main__":
    main()
