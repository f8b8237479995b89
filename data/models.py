"""PyTorch models that instances are made of: ``placer import torch data/models.py:gpt2``."""

from __future__ import annotations

from typing import Any


def bert() -> Any:
    """BERT-base from its configuration, 128 tokens, batch 8."""
    import torch
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig()), (torch.zeros(8, 128, dtype=torch.long),)


def gpt2() -> Any:
    """GPT-2 small from its configuration, 1024 tokens, batch 1; head and embedding share their weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(use_cache=False)), (torch.zeros(1, 1024, dtype=torch.long),)
