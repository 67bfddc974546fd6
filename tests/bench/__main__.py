"""The command line of the benches."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import sys
from types import ModuleType

import uvloop
from loguru import logger

from tests.bench.report import Report

NAMES = ("wan", "latency", "fanout", "failover", "memory", "hub")


def bench(name: str) -> ModuleType:
    """A bench module: `options(parser)`, `SMOKE` (a tiny size), `async run(args) -> Report`."""
    return importlib.import_module(f"tests.bench.{name}")


def summary(name: str) -> str:
    return (bench(name).__doc__ or "").partition("\n")[0]


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m tests.bench")
    names = main.add_subparsers(dest="name", required=True, metavar="NAME")
    names.add_parser("list", help="name the benches")
    for name in NAMES:
        one = names.add_parser(name, help=summary(name), description=bench(name).__doc__)
        one.add_argument("--json", action="store_true", help="no table for people, only the JSON")
        one.add_argument("--smoke", action="store_true", help="a tiny size: does it run at all?")
        bench(name).options(one)
        if name in sys.argv[1:] and "--smoke" in sys.argv:
            one.set_defaults(**bench(name).SMOKE)
    return main


def main() -> int:
    args = parser().parse_args()
    if args.name == "list":
        for name in NAMES:
            print(f"{name:10} {summary(name)}")
        return 0
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    logging.basicConfig(level=logging.ERROR)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report: Report = runner.run(bench(args.name).run(args))
    if not args.json:
        print(report.table(), file=sys.stderr)
    print(report.as_json(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
