"""Table of API keys."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, database_now


class ApiKey(Base):
    """Who may call, as whom, and what they may do; the key itself is nowhere, only its hash."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    scope: Mapped[str]
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    revoked_at: Mapped[datetime | None]
