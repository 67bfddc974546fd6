"""Ages as kubectl shows them. Source: k8s.io/apimachinery/pkg/util/duration."""

from __future__ import annotations

from datetime import UTC, datetime


def human(seconds: float) -> str:
    """ "5s", "3m20s", "45m", "6h12m", "26h", "3d4h", "20d", "2y10d", "9y"."""
    if seconds < -2:
        return "<invalid>"
    s = max(0, int(seconds))
    if s < 120:
        return f"{s}s"
    minutes, hours, days = s // 60, s // 3600, s // 86400
    if minutes < 10:
        return _two(minutes, "m", s % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    return _days(hours, days)


def _days(hours: int, days: int) -> str:
    years = days // 365
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    if years < 8:
        return _two(years, "y", days % 365, "d")
    return f"{years}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    tail = f"{small}{small_unit}" if small else ""
    return f"{large}{large_unit}{tail}"


def age(timestamp: object, now: float) -> str:
    """How long ago an RFC 3339 time was; "<unknown>" if there is none."""
    if not isinstance(timestamp, str) or not timestamp:
        return "<unknown>"
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return "<unknown>"
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return human(now - then.timestamp())
