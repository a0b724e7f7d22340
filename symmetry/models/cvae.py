"""The autoencoders that are told y: CVAE, and CVIB, which hides it from the code."""

__all__ = ["CVAE", "CVIB"]

from typing import ClassVar

from torch import Tensor

from symmetry.information import mean_pairwise_kl
from symmetry.models.base import Model


class CVAE(Model):
    r"""Creates a conditional variational autoencoder: x̂ from Z0 and y, no prediction of y.

    .. math:: w_{KL}\,\mathrm{KL}[q(z_0|x) \| N(0, 1)] + w_x\|x - \hat x(z_0, y)\|^2

    The encoder has no biases; its last layer gives the means and the log variances.

    Arguments:
        See :class:`Model`.

    References:
        Learning Structured Output Representation using Deep Conditional Generative Models
        (Sohn et al., 2015), https://papers.nips.cc/paper/5775
    """

    key = "cvae"
    term_names: ClassVar[tuple[str, ...]] = ("kl", "x")
    decodes_from_y = True

    def _build(self) -> None:
        sizes = self.sizes
        self.encoder = self._mlp(sizes.x, 2 * sizes.invariant, bias=False)
        self.x_decoder = self._mlp(sizes.invariant + sizes.y, sizes.x)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return mean, 0.5 * log_variance


class CVIB(CVAE):
    r"""Creates a CVAE whose codes are drawn together pairwise, which bounds I(Z0; Y).

    .. math:: w_{KL}\,\mathrm{KL}[q(z_0|x) \| N(0, 1)] + w_x\|x - \hat x(z_0, y)\|^2
        + w_p\,\overline{\mathrm{KL}[q(z_0|x_i) \| q(z_0|x_j)]}

    Arguments:
        See :class:`Model`.

    References:
        Invariant Representations without Adversarial Training
        (Moyer et al., 2018), https://arxiv.org/abs/1805.09458
    """

    key = "cvib"
    term_names: ClassVar[tuple[str, ...]] = ("kl", "x", "pairwise")

    def _invariance_terms(
        self, mean: Tensor, log_std: Tensor, invariant: Tensor, y: Tensor
    ) -> dict[str, Tensor]:
        return {"pairwise": mean_pairwise_kl(mean, log_std)}
