"""Information quantities in closed form: pure functions of tensors, in nats."""

__all__ = [
    "covariance",
    "gaussian_mutual_information",
    "kl_to_standard_normal",
    "mean_pairwise_kl",
]

import torch
from torch import Tensor


def kl_to_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    r"""Computes the mean KL divergence of diagonal Gaussians from the standard normal, in nats.

    .. math:: \frac1n \sum_i \frac12 \sum_d (\mu_{id}^2 + \sigma_{id}^2 - 1 - 2\log\sigma_{id})

    Arguments:
        mean: The means, with shape (S, n, D).
        log_std: The log standard deviations, with shape (S, n, D) or (S, 1, D).

    Returns:
        The mean divergence of each copy, with shape (S,).
    """
    per_dim = mean.square() + (2 * log_std).exp() - 1 - 2 * log_std
    return 0.5 * per_dim.sum(-1).mean(-1)


def mean_pairwise_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    r"""Computes the mean KL divergence between all pairs of n diagonal Gaussians, in nats.

    .. math:: \frac1{n^2} \sum_{ij} \mathrm{KL}[q_i \| q_j] = \frac12 \sum_d \left(
        \overline{\sigma^2 + \mu^2}\;\overline{\sigma^{-2}} - 2\,\bar\mu\;\overline{\mu\sigma^{-2}}
        + \overline{\mu^2\sigma^{-2}} - 1\right)

    The log-determinants cancel over the pairs and the rest factorises, so that the cost is linear
    in n. Means are centred first: the divergence does not change and digits are kept.

    Arguments:
        mean: The means, with shape (S, n, D).
        log_std: The log standard deviations, with shape (S, n, D).

    Returns:
        The mean divergence of each copy, with shape (S,).

    References:
        Invariant Representations without Adversarial Training
        (Moyer et al., 2018), https://arxiv.org/abs/1805.09458
    """
    mean = mean - mean.mean(1, keepdim=True)
    variance = (2 * log_std).exp()
    precision = (-2 * log_std).exp()
    per_dim = (
        (variance + mean.square()).mean(1) * precision.mean(1)
        + (mean.square() * precision).mean(1)
        - 1
    )  # (S, D); the term in the mean of the centred means is zero
    return 0.5 * per_dim.sum(-1)


def covariance(sample: Tensor) -> Tensor:
    """Computes the covariance matrices of a sample with shape (S, n, d), with shape (S, d, d)."""
    centred = sample - sample.mean(1, keepdim=True)
    return centred.mT @ centred / sample.shape[1]


def gaussian_mutual_information(covariance: Tensor, split: int, ridge: float = 1e-4) -> Tensor:
    r"""Computes the mutual information of two parts of a Gaussian vector, in nats.

    .. math:: I(u; v) = \frac12 \log\frac{\det R_u \det R_v}{\det R_{uv}}
        = -\frac12 \sum_i \log(1 - \rho_i^2)

    R are correlation matrices and :math:`\rho_i` the canonical correlations. A ridge on the
    diagonals keeps the Cholesky factors finite when features are collinear or constant. From the
    covariance of a sample of n rows, independent parts read :math:`\approx d_u d_v / 2n` instead
    of 0: the bias of the plug-in estimate.

    Arguments:
        covariance: The joint covariance matrices, with shape (S, d_u + d_v, d_u + d_v).
        split: The size d_u of the first part.
        ridge: What is added to the diagonals of the correlation matrices.

    Returns:
        The mutual information of each copy, with shape (S,).
    """
    # The floor under the variances lets a constant feature correlate with nothing, not NaN.
    scale = (covariance.diagonal(dim1=-2, dim2=-1) + 1e-8).rsqrt()
    correlation = covariance * scale[..., :, None] * scale[..., None, :]
    eye = torch.eye(scale.shape[-1], dtype=scale.dtype, device=scale.device)
    correlation = correlation + ridge * eye
    # det R_uv / det R_u is the determinant of the Schur complement, whose Cholesky factor is the
    # lower right block of the joint one: two factorisations do for three determinants.
    log_joint = _log_cholesky_diagonal(correlation)[..., split:].sum(-1)
    return _log_cholesky_diagonal(correlation[..., split:, split:]).sum(-1) - log_joint


def _log_cholesky_diagonal(matrix: Tensor) -> Tensor:
    # Unchecked: what is not finite stays so, for the training loop to name, and no GPU waits.
    factor = torch.linalg.cholesky_ex(matrix).L
    diagonal: Tensor = factor.diagonal(dim1=-2, dim2=-1).log()
    return diagonal
