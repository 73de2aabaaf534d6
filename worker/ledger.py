"""What a child has said since the last flush, and how it ended."""

from service.jobs.values import ArtifactRef, Batch, CheckpointRef, EventNote
from worker.messages import (
    ArtifactMessage,
    CheckpointMessage,
    DoneMessage,
    EpochMessage,
    FailedMessage,
    FindingMessage,
    Message,
    StageMessage,
    StoppedMessage,
    TargetsMessage,
)

Ending = DoneMessage | StoppedMessage | FailedMessage
_MOST_POINTS = 20_000  # kept while the database is away; beyond, every other waiting point is dropped
_PROGRESS = ("loss", "active", "mean_abs_relative_error")


class Ledger:
    """Collects messages into a batch until `clear` says that the batch is written."""

    def __init__(self, versions: dict[str, str]) -> None:
        self.batch = Batch(versions=versions)
        self.artifacts: list[ArtifactRef] = []
        self.ending: Ending | None = None

    @property
    def has_news(self) -> bool:
        """Whether anything waits to be written."""
        return self.batch != Batch()

    def clear(self) -> None:
        """Start the next batch."""
        self.batch = Batch()

    def add(self, message: Message) -> None:
        """Enter one message."""
        match message:
            case StageMessage(stage=stage):
                self.batch.stage = stage
                self._note("stage", stage, stage=stage)
            case EpochMessage():
                self._epoch(message)
            case FindingMessage(message=text):
                self._note("finding", text, **message.model_dump(exclude={"type", "message"}))
            case CheckpointMessage(epoch=epoch):
                self.batch.checkpoints.append(CheckpointRef(**message.model_dump(exclude={"type"})))
                self._note("checkpoint", f"checkpoint after {epoch} epochs", epoch=epoch)
            case TargetsMessage(rows=rows):
                self.batch.targets.extend(rows)
            case ArtifactMessage():
                self.artifacts.append(ArtifactRef(**message.model_dump(exclude={"type"})))
            case DoneMessage() | StoppedMessage() | FailedMessage():
                self.ending = message

    def _note(self, type_: str, text: str, **data: object) -> None:
        self.batch.events.append(EventNote(type=type_, message=text, data=data))

    def _epoch(self, message: EpochMessage) -> None:
        self.batch.progress = _progress(message)
        self.batch.metrics.append((message.epoch, message.metrics))
        if len(self.batch.metrics) > _MOST_POINTS:
            self.batch.metrics = self.batch.metrics[::-2][::-1]  # the newest point always stays


def _progress(message: EpochMessage) -> dict[str, float | int | None]:
    seconds = message.metrics.get("epoch_seconds")
    left = message.epochs - message.epoch
    shown = {name: message.metrics.get(name) for name in _PROGRESS}
    eta = None if seconds is None else left * seconds
    return {"epoch": message.epoch, "epochs": message.epochs, **shown, "eta_seconds": eta}
