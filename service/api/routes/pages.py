"""The page a person sees."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

router = APIRouter(include_in_schema=False)
_WEB = Path(__file__).parent.parent / "web"


@router.api_route("/", methods=["GET", "HEAD"])
def index() -> FileResponse:
    """Give the dashboard."""
    return FileResponse(_WEB / "index.html")
