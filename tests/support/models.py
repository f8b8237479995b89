"""Models that tests import: those of the onnx package, and factories of PyTorch models."""

from typing import Any

LIGHT = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
TOKENS = 128


def bert() -> Any:
    """BERT-base with its default configuration."""
    import torch
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig()), (torch.zeros(1, TOKENS, dtype=torch.long),)


def gpt2() -> Any:
    """GPT-2 small with its default configuration: the head shares the weights of the embedding."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(use_cache=False)), (torch.zeros(1, TOKENS, dtype=torch.long),)


def mixed() -> Any:
    """Make a small model with in-place, two outputs, unread, frozen and non-persistent tensors."""
    import torch
    from torch import nn

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)
            self.norm = nn.BatchNorm2d(8)
            self.relu = nn.ReLU(inplace=True)
            self.lstm = nn.LSTM(8, 16, batch_first=True)
            self.spare = nn.Linear(4, 4)  # never called
            self.frozen = nn.Parameter(torch.zeros(16), requires_grad=False)
            self.register_buffer("ramp", torch.arange(16.0), persistent=False)

        def forward(self, x: Any) -> Any:
            y = self.relu(self.norm(self.conv(x)))
            a, b = self.lstm(y.flatten(2).transpose(1, 2))[0].chunk(2, dim=-1)
            return torch.cat([a, b * 2], dim=-1) + self.frozen + self.ramp + torch.arange(16.0)

    return Mixed(), (torch.zeros(2, 3, 10, 10),)


def raises() -> Any:
    """Fail."""
    raise ValueError("no such checkpoint")


def returns_nothing() -> Any:
    """Return no model."""
    return None
