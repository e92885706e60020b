"""Upsampling by two followed by a convolution, combined into one transposed convolution."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Upsample


class UpsampledConv2d(nn.Conv2d):
    r"""A 3x3 convolution of an image upsampled by two (nearest neighbour), without computing the upsampled image.

    Of the nine pixels under the kernel only four differ, so the weights of equal pixels can be summed in advance:

    .. math:: W * \mathrm{up}(x) = K *^\top_2 x, \qquad K = W * \mathbb{1}_{2 \times 2},

    a transposed convolution of stride 2 with a kernel of 4x4. It is the same function of the same weights, up to
    rounding, with 4/9 of the multiplications.

    Args:
        conv: the convolution, whose parameters are shared: 3x3, stride 1, padding 1 with zeros, one group.

    Examples:
        >>> import torch
        >>> x, conv = torch.randn(2, 3, 5, 4), nn.Conv2d(3, 7, 3, padding=1)
        >>> plain = conv(F.interpolate(x, scale_factor=2))
        >>> torch.allclose(UpsampledConv2d(conv)(x), plain, atol=1e-5)
        True
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 3, padding=1, bias=conv.bias is not None, device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.training = conv.training

    def forward(self, input: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, outputs, 2h, 2w)``."""
        kernel = F.pad(self.weight, (1, 1, 1, 1))
        kernel = kernel[..., 1:, :] + kernel[..., :-1, :]
        kernel = kernel[..., 1:] + kernel[..., :-1]
        made: Tensor = F.conv_transpose2d(input, kernel.flip(-1, -2).transpose(0, 1), self.bias, stride=2, padding=1)
        return made


def fold_upsampling(network: nn.Module) -> nn.Module:
    """Combine every upsampling by two and the convolution after it in a ``Sequential``; returns the new network.

    Changed modules are copied, so the given network is not changed; parameters, buffers and all names are shared. If
    there is nothing to combine, the same network is returned.

    Examples:
        >>> net = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1))
        >>> fold_upsampling(net)
        Sequential(
          (0): Identity()
          (1): UpsampledConv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
        )
    """
    children = {name: fold_upsampling(child) for name, child in network._modules.items() if child is not None}
    if type(network) is nn.Sequential:
        for first, second in pairwise(list(children)):
            conv = children[second]
            if _doubles(children[first]) and isinstance(conv, nn.Conv2d) and _is_plain(conv):
                children[first], children[second] = nn.Identity(), UpsampledConv2d(conv)
    if all(child is network._modules[name] for name, child in children.items()):
        return network
    twin = copy.copy(network)
    twin._modules = {**network._modules, **children}
    return twin


def _doubles(layer: nn.Module) -> bool:
    if type(layer) is Upsample:
        return not _is_hooked(layer)
    if type(layer) is not nn.Upsample or layer.mode != "nearest" or layer.size is not None:
        return False
    factors = layer.scale_factor if isinstance(layer.scale_factor, tuple) else (layer.scale_factor,)
    return all(factor == 2 for factor in factors) and not _is_hooked(layer)


def _is_plain(layer: nn.Conv2d) -> bool:
    return (
        type(layer) is nn.Conv2d
        and (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
        and (layer.dilation, layer.groups, layer.padding_mode) == ((1, 1), 1, "zeros")
        and not _is_hooked(layer)
    )


def _is_hooked(layer: nn.Module) -> bool:
    """Whether the layer has hooks: they would see other inputs or outputs after the change."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)


__all__ = ["UpsampledConv2d", "fold_upsampling"]
