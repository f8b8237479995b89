"""Hugging Face models built from a configuration, as factories for ``placer import torch``."""

import torch
import transformers

TOKENS = 32


def gpt2():
    """GPT-2 small, tied head."""
    config = transformers.GPT2Config(use_cache=False)
    model = transformers.GPT2LMHeadModel(config)
    return model, (torch.zeros(1, TOKENS, dtype=torch.long),)


def bert():
    """BERT base with its pooler."""
    model = transformers.BertModel(transformers.BertConfig())
    return model, (torch.zeros(1, TOKENS, dtype=torch.long),)


def llama():
    """A small Llama; untied head, twelve layers."""
    config = transformers.LlamaConfig(
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=12,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=512,
        use_cache=False,
    )
    return transformers.LlamaForCausalLM(config), (torch.zeros(1, TOKENS, dtype=torch.long),)
