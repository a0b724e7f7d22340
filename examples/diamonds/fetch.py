"""Exports plotnine's table of diamonds to diamonds.csv."""

from plotnine.data import diamonds

sizes = diamonds[["x", "y", "z"]]
# A stone of no length, or of more than 3 cm, is a slip of the pen.
good = ((sizes > 0) & (sizes < 30)).all(axis=1)
diamonds[good].to_csv("diamonds.csv", index=False, float_format="%.6g")
print(f"diamonds.csv: {good.sum()} rows, {(~good).sum()} left out")
