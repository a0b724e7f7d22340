"""The variational autoencoder of x and y."""

__all__ = ["VAE"]

import torch
from torch import Tensor

from symmetry.models.stib import StibWithoutRegularizer


class VAE(StibWithoutRegularizer):
    r"""Creates a variational autoencoder of x and y: both are decoded from all latents.

    .. math:: w_{KL}\,\mathrm{KL}[q(z|x) \| N(0, 1)] + w_x\|x - \hat x(z)\|^2
        + w_y\|y - \hat y(z)\|^2

    As in the paper's figure the first latents stand for Z0 and the last for Z1, although the loss
    does not tell them apart; the published MI(Z0, Y) is measured on all of them.

    Arguments:
        See :class:`Model`.

    References:
        Auto-Encoding Variational Bayes (Kingma and Welling, 2014),
        https://arxiv.org/abs/1312.6114
    """

    key = "vae"

    @property
    def measured_size(self) -> int:
        """How many leading latents the published MI(Z0, Y) is measured on."""
        return self.latent_size

    def _predictor_size(self) -> int:
        return self.latent_size

    def _predicted(self, invariant: Tensor, target: Tensor) -> Tensor:
        every = torch.cat([self._stacked(invariant), self._stacked(target)], -1)
        return super()._predicted(invariant, every)
