"""Makes the models and runs mergekit on every case of cases.json. Deterministic: fixed seeds, CPU, float32 models.

Needs mergekit 0.1.5, torch 2.9.1, transformers 5.23. Run it in an empty directory beside a copy of cases.json.
With the argument `models` it only makes the models.
"""
import json, os, shutil, sys
import torch
from safetensors.torch import load_file, save_file

H, LAYERS, INNER, VOCAB, HEADS, KV_HEADS = 32, 4, 40, 64, 4, 2


def shapes():
    s = {"model.embed_tokens.weight": (VOCAB, H)}
    head = H // HEADS
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        s[p + "self_attn.q_proj.weight"] = (H, H)
        s[p + "self_attn.k_proj.weight"] = (KV_HEADS * head, H)
        s[p + "self_attn.v_proj.weight"] = (KV_HEADS * head, H)
        s[p + "self_attn.o_proj.weight"] = (H, H)
        s[p + "mlp.gate_proj.weight"] = (INNER, H)
        s[p + "mlp.up_proj.weight"] = (INNER, H)
        s[p + "mlp.down_proj.weight"] = (H, INNER)
        s[p + "input_layernorm.weight"] = (H,)
        s[p + "post_attention_layernorm.weight"] = (H,)
    s["model.norm.weight"] = (H,)
    s["lm_head.weight"] = (VOCAB, H)
    return s


def config():
    return dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=H, intermediate_size=INNER,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=H // HEADS,
        vocab_size=VOCAB, max_position_embeddings=128, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu",
        tie_word_embeddings=False, torch_dtype="float32", bos_token_id=1, eos_token_id=2,
    )


def make_models():
    g = torch.Generator().manual_seed(1234)
    base = {}
    for n, s in shapes().items():
        noise = torch.randn(s, generator=g)
        base[n] = (1 + 0.05 * noise) if "norm" in n else noise * 0.1
    models = {"base": base}
    for name, seed in (("a", 11), ("b", 22)):
        # Sparse heavy-tailed differences: deviation about 0.004, 20 % of the elements equal to the base's.
        g = torch.Generator().manual_seed(seed)
        models[name] = {}
        for n, t in base.items():
            d = torch.randn(t.shape, generator=g) * 0.004 * (1 + 2 * (torch.rand(t.shape, generator=g) > 0.95).float())
            d = d * (torch.rand(t.shape, generator=g) > 0.2).float()
            models[name][n] = (t + d).contiguous()
    for name, tensors in models.items():
        save(name, tensors)
    # `far` draws in the order in which the file lists the tensors.
    g = torch.Generator().manual_seed(77)
    saved = load_file("models/base.safetensors")
    save("far", {
        n: (0.6 * t + torch.randn(t.shape, generator=g) * (0.09 if "norm" not in n else 0.3)).contiguous()
        for n, t in saved.items()
    })


def save(name, tensors):
    os.makedirs(f"work/{name}", exist_ok=True)
    os.makedirs("models", exist_ok=True)
    save_file(tensors, f"work/{name}/model.safetensors", metadata={"format": "pt"})
    with open(f"work/{name}/config.json", "w") as f:
        json.dump(config(), f)
    shutil.copy(f"work/{name}/model.safetensors", f"models/{name}.safetensors")


def run_case(name, case):
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    for model in case["models"]:
        model["model"] = "work/" + model["model"]
    if "base_model" in case:
        case["base_model"] = "work/" + case["base_model"]
    options = MergeOptions(random_seed=42, quiet=True, copy_tokenizer=False, write_model_card=False)
    run_merge(MergeConfiguration.model_validate(case), "work/out", options)
    os.makedirs("expected", exist_ok=True)
    shutil.move("work/out/model.safetensors", f"expected/{name}.safetensors")
    shutil.rmtree("work/out")


make_models()
if sys.argv[1:] != ["models"]:
    for name, case in json.load(open("cases.json")).items():
        run_case(name, case)
