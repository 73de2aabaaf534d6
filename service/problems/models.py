"""Tables of uploads and problems."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, database_now


class Upload(Base):
    """Bytes as they came."""

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("tenant", "sha256", "content_type"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    content_type: Mapped[str]
    storage_key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    used_at: Mapped[datetime | None]  # when it was sent again, or a problem was made of it


class StoredProblem(Base):
    """A validated problem, by its content."""

    __tablename__ = "problems"
    __table_args__ = (UniqueConstraint("tenant", "sha256"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    kind: Mapped[str]
    sha256: Mapped[str]
    sizes: Mapped[dict[str, Any]]
    findings: Mapped[list[Any]]
    tags: Mapped[dict[str, Any]]
    storage_key: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # 0: made before sizes were kept
    created_at: Mapped[datetime] = mapped_column(default=database_now())
