"""Neural posterior estimation p(x|y) by sbi."""

__all__ = ["fit"]

import warnings
from tempfile import TemporaryDirectory

import torch
from sbi.inference import NPE
from sbi.utils import BoxUniform
from sbi.utils.tracking import TensorBoardTracker
from torch.utils.tensorboard import SummaryWriter

from studies.peers import Array, Fitted

WIDER = 1e-3  # of a range, so that its ends are within


def fit(x: Array, y: Array, seed: int, *, epochs: int = 2**31 - 1) -> Fitted:
    """Fits sbi's NPE at its defaults, with a uniform prior over the ranges of the rows.

    References:
        sbi reloaded, Boelts et al., 2025, https://doi.org/10.21105/joss.07754
    """
    torch.manual_seed(seed)
    rows, levels = (torch.as_tensor(side, dtype=torch.float32) for side in (x, y))
    low, high = rows.min(0).values, rows.max(0).values
    reach = WIDER * (high - low)
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # it warns of its own libraries
        inference = NPE(
            BoxUniform(low - reach, high + reach),
            tracker=TensorBoardTracker(SummaryWriter(folder)),  # or it logs where one stands
            show_progress_bars=False,
        )
        inference.append_simulations(rows, levels).train(max_num_epochs=epochs)
        posterior = inference.build_posterior()

    @torch.no_grad()
    def partners(x: Array, y: Array, count: int) -> Array:
        asked = torch.as_tensor(y, dtype=torch.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = posterior.sample_batched((count,), asked, show_progress_bars=False)
        drawn: Array = found.double().numpy()
        return drawn

    return Fitted(partners)
