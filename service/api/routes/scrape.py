"""The numbers of the service as text, for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from service.api.dependencies import NEEDS_ADMIN
from service.api.exposition import Watchtower
from service.api.instruments import Instruments

router = APIRouter(tags=["system"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    dependencies=[NEEDS_ADMIN],
)
async def scrape(request: Request) -> Response:
    """Give every number in Prometheus' text format; also while the database is away."""
    instruments: Instruments = request.app.state.instruments
    watchtower: Watchtower = request.app.state.watchtower
    text = instruments.told() + generate_latest(await watchtower.look())
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
