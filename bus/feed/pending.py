"""Frames that cannot be applied yet: ahead of a gap, during a sync, or behind a slow consumer."""

from __future__ import annotations

from bus.feed.frames import Frame

_FRAME_BYTES = 256  # what a kept frame costs besides its content, about


class Pending:
    """Bounded in bytes. What does not fit is dropped (newest first): the gap is synced later."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._frames: dict[tuple[int, int], Frame] = {}
        self._newest = (0, 0)  # of the epoch added last; never smaller than what is here
        self.dropped = 0

    def add(self, frame: Frame) -> None:
        if frame.at in self._frames:
            return
        cost = frame.size + _FRAME_BYTES
        while self._frames and self._bytes + cost > self._limit:
            # What comes first is of most use: a replay must not starve behind newer frames.
            if self._newest == (frame.epoch, self._newest[1]) and frame.seq > self._newest[1]:
                self.dropped += 1
                return
            self._drop_last(frame.epoch)
        self._frames[frame.at] = frame
        self._bytes += cost
        self._newest = max(self._newest, frame.at, key=lambda at: (at[0] == frame.epoch, at[1]))

    def _drop_last(self, epoch: int) -> None:
        """Of another epoch if there is one, else the newest."""
        self.take(*max(self._frames, key=lambda at: (at[0] != epoch, at[1])))
        self.dropped += 1
        self._newest = max(self._frames, key=lambda at: (at[0] == epoch, at[1]), default=(0, 0))

    def take(self, epoch: int, seq: int) -> Frame | None:
        frame = self._frames.pop((epoch, seq), None)
        if frame is not None:
            self._bytes -= frame.size + _FRAME_BYTES
        return frame

    def take_step(self, epoch: int, seq: int) -> list[Frame]:
        """All frames of the step that starts with `seq`, once all of them are here."""
        last = seq
        while (frame := self._frames.get((epoch, last))) is not None and frame.more:
            last += 1
        if frame is None:
            return []
        return [frame for at in range(seq, last + 1) if (frame := self.take(epoch, at))]

    def reach(self, epoch: int, seq: int) -> int:
        """The last frame that is here without a hole after `seq`."""
        while (epoch, seq + 1) in self._frames:
            seq += 1
        return seq

    def keep_after(self, epoch: int, seq: int) -> None:
        """Forgets other epochs and what is not after `seq`."""
        for at in [at for at in self._frames if at[0] != epoch or at[1] <= seq]:
            self.take(*at)

    def newest_after(self, seq: int) -> int:
        """The highest seq here; `seq` itself if there is none."""
        return max((at[1] for at in self._frames), default=seq)
