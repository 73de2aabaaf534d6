"""A Python client of the HTTP surface. It needs httpx and numpy, no torch.

with Client("http://127.0.0.1:8000") as client:
    job = client.calibrate(M, y, initial_weights=d, record_budget=400)
    weights = job.wait(progress=True).weights()

`AsyncClient` is the same with `await`. Both only do the steps that `of_service`, `of_job`, `registering` and `waiting`
tell them; read `calls` first, then `patience` for what is tried again.
"""

from service.client.awaiting import AsyncClient, AsyncJob
from service.client.blocking import Client, Job
from service.client.errors import ClientError, DamagedDownload, JobFailed, JobNotEnded, PackageError
from service.client.packages import read_pickled_package, to_problem
from service.client.patience import Patience
from service.client.problem import Problem
from service.client.results import ActiveWeights, Picture, Predictions

__all__ = [
    "ActiveWeights",
    "AsyncClient",
    "AsyncJob",
    "Client",
    "ClientError",
    "DamagedDownload",
    "Job",
    "JobFailed",
    "JobNotEnded",
    "PackageError",
    "Patience",
    "Picture",
    "Predictions",
    "Problem",
    "read_pickled_package",
    "to_problem",
]
