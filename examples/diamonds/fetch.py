"""Exports plotnine's table of diamonds to diamonds.csv, with the logarithm of the price."""

import numpy as np
from plotnine.data import diamonds

table = diamonds.assign(log_price=np.log(diamonds["price"]))
sizes = table[["x", "y", "z"]]
# A stone of no length, or of more than 3 cm, is a slip of the pen.
good = ((sizes > 0) & (sizes < 30)).all(axis=1)
columns = ["carat", "depth", "table", "x", "y", "z", "log_price"]
table.loc[good, columns].to_csv("diamonds.csv", index=False, float_format="%.6g")
print(f"diamonds.csv: {good.sum()} rows, {(~good).sum()} left out")
