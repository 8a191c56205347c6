"""What a maintenance did, or would do: counted as it goes, and told in a few words.

What belongs here: the counts. What does not: deciding what goes (`sweep`, `retention`, `erasure`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline_assets.storage.store import Entry, Store


@dataclass
class Report:
    """Files and bytes deleted by kind, what was rewritten, and what had to be left.

    `left` is what running work had a hand in, and comes by itself the next time; `failed` is what the storage
    refused. In a dry run nothing is touched, and `listed` names what would be.
    """

    dry_run: bool
    deep: bool
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    deleted: dict[str, tuple[int, int]] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Objects deleted."""
        return sum(files for files, _ in self.deleted.values())

    @property
    def bytes(self) -> int:
        """Bytes freed."""
        return sum(size for _, size in self.deleted.values())

    def note_deleted(self, kind: str, entry: Entry) -> None:
        """Count an object as deleted."""
        files, size = self.deleted.get(kind, (0, 0))
        self.deleted[kind] = (files + 1, size + entry.size)
        if self.dry_run:
            self.listed.append(f"delete {entry.path}")

    def note_done(self, what: str, subject: str, count: int = 1) -> None:
        """Count something that was done and deletes nothing by itself."""
        if count:
            self.done[what] = self.done.get(what, 0) + count
            if self.dry_run:
                self.listed.append(f"{what}: {subject}")

    def delete(self, store: Store, kind: str, entry: Entry) -> None:
        """Delete an object, or only count it in a dry run. One that the storage won't delete is named."""
        if not self.dry_run:
            try:
                store.delete(entry.path)
            except OSError as error:
                self.failed.append(f"{entry.path}: can't be deleted ({error.strerror or error})")
                return
        self.note_deleted(kind, entry)
