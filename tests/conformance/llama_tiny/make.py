"""Makes small random decoders with transformers, and what they answer: logits, greedy ids, log-probabilities.

python make.py    # writes one directory a model beside this file; torch 2.9.1, transformers 5.23.0, f64, CPU, seed 0
"""

import json
import pathlib

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM


def round32(x):
    """Nine digits tell one f32 from the next."""
    return [float(f"{v:.9g}") for v in x.tolist()]


here = pathlib.Path(__file__).parent
common = dict(vocab_size=61, hidden_size=32, intermediate_size=45, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3, bos_token_id=None,
              eos_token_id=[3, 7], pad_token_id=None)
llama3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)
# name: (class, configuration, element type of the file, size of a shard)
models = {
    "untied": (LlamaForCausalLM, LlamaConfig(**common), torch.float32, "30KB"),
    "tied_biased": (LlamaForCausalLM, LlamaConfig(**common | dict(
        tie_word_embeddings=True, head_dim=10, num_attention_heads=2, num_key_value_heads=1, attention_bias=True,
        mlp_bias=True, rms_norm_eps=1e-5)), torch.bfloat16, "5GB"),
    "llama3_rope": (LlamaForCausalLM, LlamaConfig(**common, rope_parameters=llama3), torch.float16, "5GB"),
    "mistral_window": (MistralForCausalLM, MistralConfig(**common, sliding_window=5), torch.bfloat16, "5GB"),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**common), torch.bfloat16, "5GB"),
}

for name, (cls, config, dtype, shard) in models.items():
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    model = cls(config).eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key or "bias" in key:  # both are constant after initialisation
                p.copy_(torch.randn_like(p) * 0.3 + ("norm" in key))
    model.to(dtype).save_pretrained(here / name, max_shard_size=shard)
    # Loaded again: the rounded weights in f64, but rotary frequencies that were never rounded to a short type.
    model = cls.from_pretrained(here / name, dtype=torch.float64, attn_implementation="eager").eval()
    cases = []
    for length in (1, 6, 17, 40):
        ids = torch.randint(0, 61, (1, length), generator=torch.Generator().manual_seed(length))
        with torch.no_grad():
            logits = model(ids).logits[0]
            assert logits.dtype == torch.float64
            text, greedy = ids, []
            for _ in range(12):
                greedy.append(int(model(text).logits[0, -1].argmax()))
                text = torch.cat([text, torch.tensor([[greedy[-1]]])], 1)
        logprobs = logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
        cases.append(dict(tokens=ids[0].tolist(), last_logits=round32(logits[-1]), greedy=greedy,
                          logprobs=round32(logprobs)))
    (here / name / "golden.json").write_text(json.dumps(cases) + "\n")
