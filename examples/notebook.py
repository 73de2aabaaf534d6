"""A notebook: Minnesota's survey made to meet published totals with 400 of its 5,460 tax units.

Start a service (`make up`, or `l0 up`), then run the cells: in VS Code or PyCharm one by one, in Jupyter through
Jupytext, or all of them with `python examples/notebook.py`. It writes `weights.npy` and `loss.svg` into this folder.
"""

# %% Connect
import csv
import gzip
import os
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from service.client import Client

client = Client(os.environ.get("SERVICE_URL", "http://127.0.0.1:8000"))
client.capabilities()["versions"]

# %% The survey: a row a tax unit
DATA = Path(__file__).parent / "minnesota_2022"
with gzip.open(DATA / "households.csv.gz", "rt") as file:
    units = list(csv.DictReader(file))
with (DATA / "targets_spec.csv").open() as file:
    published = {row["name"]: float(row["value"]) for row in csv.DictReader(file)}


def column(name: str) -> np.ndarray:
    """Give one number of every tax unit."""
    return np.array([float(unit[name]) for unit in units])


# %% Build the matrix: a row a target, what each unit adds to it
ages = ["under_18", "age_18_24", "age_25_34", "age_35_44", "age_45_54", "age_55_64", "age_65_74", "age_75_plus"]
incomes = {
    "10k_25k": (10_000, 25_000),
    "25k_50k": (25_000, 50_000),
    "50k_75k": (50_000, 75_000),
    "75k_100k": (75_000, 100_000),
    "100k_200k": (100_000, 200_000),
    "200k_500k": (200_000, 500_000),
}
files, agi = column("filer") == 1, column("agi")
rows = {f"people {age}": column(age) for age in ages}
for name, (low, high) in incomes.items():
    among = files & (agi >= low) & (agi < high)
    rows |= {f"returns with AGI {name}": among * 1.0, f"AGI {name}": among * agi}

M = sp.csr_array(np.array(list(rows.values())))
y = np.array([published[name] for name in rows])
d = column("weight")
print(f"{M.shape[0]} targets x {M.shape[1]:,} tax units, {M.nnz:,} numbers that are not zero")

# %% Calibrate to a budget, and wait
job = client.calibrate(
    M,
    y,
    initial_weights=d,
    target_names=list(rows),
    record_budget=400,
    epochs=500,
    seed=7,
    tags={"made": "in a notebook"},
)
job.wait(progress=True)

# %% The weights, as numpy
weights = job.weights()
np.save("weights.npy", weights)
before, after = np.abs(M @ d / y - 1), np.abs(M @ weights / y - 1)
print(f"{np.count_nonzero(weights)} units kept; mean error {before.mean():.1%} -> {after.mean():.4%}")

# %% Predict another matrix: totals that were not in the fit
others = {"SNAP benefit dollars": column("snap"), "eitc dollars": files * column("eitc"), "wages": column("wages")}
totals = job.predict(sp.csr_array(np.array(list(others.values()))))
for name, total, row in zip(others, totals, others.values(), strict=True):
    known = f", published {published[name] / 1e9:.2f}bn" if name in published else ""
    print(f"{name}: {total / 1e9:.2f}bn, by the survey's weights {row @ d / 1e9:.2f}bn{known}")

# %% Plot the loss curve (or any other: `job.metrics()` gives arrays for a plot of your own)
picture = job.plot_loss(["loss", "data_loss", "l0_penalty"], title="Loss while units are chosen")
picture.save("loss.svg")
picture
