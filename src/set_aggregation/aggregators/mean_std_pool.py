"""Statistics pooling: mean and standard deviation."""

from set_aggregation.aggregators.concat import Concat
from set_aggregation.aggregators.global_avg_pool import GlobalAvgPool
from set_aggregation.aggregators.std_pool import StdPool


class MeanStdPool(Concat):
    r"""Mean and standard deviation of each feature, concatenated: :class:`GlobalAvgPool` and :class:`StdPool`.

    The statistics pooling layer of x-vectors, `Snyder et al. (2018) <https://doi.org/10.1109/ICASSP.2018.8461375>`_:

    .. math::
        y = (\mu, \sigma), \qquad \mu = \frac{1}{N} \sum_{i=1}^{N} x_i, \qquad
        \sigma_d^2 = \frac{1}{N} \sum_{i=1}^{N} (x_{id} - \mu_d)^2.

    Args:
        in_features: size D of an element.

    Shape:
        - output: :math:`(B, 2D)`.

    Example:
        >>> import torch
        >>> MeanStdPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[2., 4., 1., 2.]])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, [GlobalAvgPool, StdPool])
