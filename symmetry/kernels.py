"""A kernel measure of dependence, which needs no adversary."""

__all__ = ["normalized_hsic"]

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 1024  # rows: kernel matrices grow with their square
BANDWIDTHS = (0.25, 0.5, 1.0)  # in standard deviations


def normalized_hsic(z: Tensor, y: Tensor, bandwidths: Sequence[float] = BANDWIDTHS) -> Tensor:
    r"""Estimates the normalised Hilbert-Schmidt independence criterion without bias.

    .. math:: \frac{\mathrm{HSIC}(z, y)}{\sqrt{\mathrm{HSIC}(z, z)\,\mathrm{HSIC}(y, y)}}

    Both samples are standardised; the kernels are sums of Gaussians of several bandwidths, so
    that neither coarse nor fine dependence is missed. HSIC is the unbiased estimate: it is 0 in
    the mean, not positive, when z and y are independent. Large samples are taken in blocks.

    Arguments:
        z: The first sample, with shape (S, n, d_z).
        y: The second sample, with shape (S, n, d_y).
        bandwidths: The bandwidths of the kernels, in standard deviations of the sample.

    Returns:
        The dependence of each copy, with shape (S,); 1 if z and y determine each other alike.

    References:
        Feature Selection via Dependence Maximization (Song et al., 2012), equation 4,
        https://jmlr.org/papers/v13/song12a.html
    """
    blocks = [
        _normalized(_kernel(z_block, bandwidths), _kernel(y_block, bandwidths))
        for z_block, y_block in zip(
            torch.split(z, BLOCK, 1), torch.split(y, BLOCK, 1), strict=True
        )
        if z_block.shape[1] >= min(BLOCK, z.shape[1])  # a last short block would weigh too much
    ]
    return torch.stack(blocks).mean(0)


def _kernel(sample: Tensor, bandwidths: Sequence[float]) -> Tensor:
    # Without its diagonal, as the unbiased estimate wants it, with shape (S, n, n).
    centred = sample - sample.mean(1, keepdim=True)
    variance = centred.square().mean((1, 2), keepdim=True)
    squares = centred.square().sum(-1)
    inner = torch.bmm(centred, centred.mT)
    distances = (squares[:, :, None] + squares[:, None, :] - 2 * inner).clamp_min(0)
    scaled = distances / (variance + 1e-12)
    kernel = torch.stack([torch.exp(-scaled / (2 * width**2)) for width in bandwidths]).sum(0)
    eye = torch.eye(kernel.shape[-1], dtype=torch.bool, device=kernel.device)
    return kernel.masked_fill(eye, 0)


def _normalized(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    own = _hsic(k, k) * _hsic(l, l)
    return _hsic(k, l) * (own.clamp_min(0) + 1e-12).rsqrt()


def _hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    n = k.shape[-1]
    k_rows, l_rows = k.sum(-1), l.sum(-1)
    return (
        (k * l).sum((-2, -1))
        + k_rows.sum(-1) * l_rows.sum(-1) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (k_rows * l_rows).sum(-1)
    ) / (n * (n - 3))
