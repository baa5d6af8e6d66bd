//! Gradients against candle's, by its own differentiation of the slow variants of its operations: a small Llama.
#![cfg(test)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::ops::{log_softmax, rms_norm_slow, silu, softmax};
use candle_nn::rotary_emb::rope_slow;
use evo_kernels::backprop::{Batch, Goal, Network, Start, StartVector, Workspace};
use evo_kernels::decode::{Config, Slot};
use evo_stdlib::model::{Model, hf};

/// The model's tensors as variables of candle.
struct Llama<'a> {
    config: &'a Config,
    weights: BTreeMap<String, Var>,
}

impl Llama<'_> {
    fn weight(&self, name: &str) -> &Tensor {
        self.weights[&format!("{name}.weight")].as_tensor()
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight(name).t()?)
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        rms_norm_slow(x, self.weight(name), self.config.norm.eps)
    }

    fn attention(&self, block: &str, x: &Tensor) -> Result<Tensor> {
        let c = self.config;
        let (len, group) = (x.dim(0)?, c.num_heads / c.num_kv_heads);
        let heads = |name: &str, count: usize| {
            let y = self.linear(&format!("{block}.self_attn.{name}_proj"), x)?;
            y.reshape((1, len, count, c.head_dim))?.transpose(1, 2)?.contiguous()
        };
        let rope = c.layers[0].rope.as_ref().unwrap();
        let angles = (0..len).flat_map(|p| rope.frequencies().into_iter().map(move |f| p as f32 * f));
        let angles = Tensor::from_iter(angles, &Device::Cpu)?.reshape((len, c.head_dim / 2))?;
        let (cos, sin) = (angles.cos()?, angles.sin()?);
        let for_all_heads = |y: Tensor| {
            let wide = y.unsqueeze(2)?.broadcast_as((1, c.num_kv_heads, group, len, c.head_dim))?.contiguous()?;
            wide.reshape((1, c.num_heads, len, c.head_dim))
        };
        let q = rope_slow(&heads("q", c.num_heads)?, &cos, &sin)?;
        let k = for_all_heads(rope_slow(&heads("k", c.num_kv_heads)?, &cos, &sin)?)?;
        let v = for_all_heads(heads("v", c.num_kv_heads)?)?;
        let later = (0..len * len).map(|i| if i % len > i / len { f32::NEG_INFINITY } else { 0.0 });
        let later = Tensor::from_iter(later, &Device::Cpu)?.reshape((1, 1, len, len))?;
        let scores = (q.matmul(&k.t()?.contiguous()?)? * f64::from(c.attention_scale))?.broadcast_add(&later)?;
        let out = softmax(&scores, D::Minus1)?.matmul(&v)?;
        let out = out.transpose(1, 2)?.contiguous()?.reshape((len, c.query_size()))?;
        self.linear(&format!("{block}.self_attn.o_proj"), &out)
    }

    /// The log-probability of each token after the first.
    fn log_probabilities(&self, tokens: &[u32]) -> Result<Tensor> {
        let (inputs, targets) = (&tokens[..tokens.len() - 1], &tokens[1..]);
        let mut x = self.weight("model.embed_tokens").index_select(&Tensor::new(inputs, &Device::Cpu)?, 0)?;
        for i in 0..self.config.num_layers() {
            let block = format!("model.layers.{i}");
            let attended = self.attention(&block, &self.norm(&format!("{block}.input_layernorm"), &x)?)?;
            x = (x + attended)?;
            let n = self.norm(&format!("{block}.post_attention_layernorm"), &x)?;
            let part = |name: &str| format!("{block}.mlp.{name}_proj");
            let inner = (silu(&self.linear(&part("gate"), &n)?)? * self.linear(&part("up"), &n)?)?;
            x = (x + self.linear(&part("down"), &inner)?)?;
        }
        let logits = self.linear("lm_head", &self.norm("model.norm", &x)?)?;
        let targets = Tensor::new(targets, &Device::Cpu)?.unsqueeze(1)?;
        log_softmax(&logits, D::Minus1)?.gather(&targets, 1)?.squeeze(1)
    }
}

fn untied() -> Model {
    hf(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/families/untied")).unwrap()
}

/// The name of a weight's tensor, which is all of it.
fn name_of(model: &Model, slot: &Slot) -> String {
    let mut name = None;
    model.config.family.for_each_source(&model.config.decoder, |source| {
        if source.slot == *slot {
            name = Some(source.tensor);
        }
    });
    name.unwrap()
}

#[test]
fn a_small_llama_has_the_gradients_of_candles_slow_operations() {
    let model = untied();
    let var = |name: &String| {
        let tensor = &model.tensors[name];
        let values = Tensor::from_vec(tensor.to_f32().unwrap().to_vec(), tensor.shape(), &Device::Cpu).unwrap();
        (name.clone(), Var::from_tensor(&values.to_dtype(DType::F32).unwrap()).unwrap())
    };
    let llama = Llama { config: &model.config.decoder, weights: model.tensors.keys().map(var).collect() };
    let sequences: [Vec<u32>; 2] = [(0..23).map(|i| i * 37 % 61).collect(), (0..14).map(|i| i * i * 11 % 61).collect()];
    let slopes: Vec<f32> = (0..22 + 13).map(|i| -0.3 - 0.1 * (i % 5) as f32).collect();
    let parts: Vec<Tensor> = sequences.iter().map(|tokens| llama.log_probabilities(tokens).unwrap()).collect();
    let expected = Tensor::cat(&parts, 0).unwrap();
    let loss = (&expected * Tensor::new(slopes.as_slice(), &Device::Cpu).unwrap()).unwrap().sum_all().unwrap();
    let theirs = loss.backward().unwrap();

    let of = |slot: &Slot| model.tensors[&name_of(&model, slot)].to_f32().unwrap().to_vec();
    let network = Network::new(
        model.config.decoder.clone(),
        |slot| Ok::<_, Infallible>(Start::Trained(of(slot))),
        |slot| Ok(StartVector::Trained(of(slot))),
    );
    let network = network.unwrap_or_else(|never| match never {});
    let mut batch = Batch::default();
    sequences.iter().for_each(|tokens| batch.push(tokens, 1));
    let mut ours = network.gradients();
    let found = network.learn(&mut Workspace::new(2), &batch, &Goal::Tokens, &slopes, &mut ours);
    for (found, expected) in found.iter().zip(expected.to_vec1::<f32>().unwrap()) {
        assert!((found - expected).abs() < 2e-5, "{found} is not {expected}");
    }
    assert_eq!(ours.len(), llama.weights.len());
    for (parameter, ours) in network.parameters().iter().zip(&ours) {
        let name = name_of(&model, &parameter.slot);
        let theirs = theirs.get(llama.weights[&name].as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
        let theirs = theirs.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let length = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        let whole = length(&mut theirs.iter().copied());
        let apart = length(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b));
        assert!(whole > 0.0 && apart < 2e-5 * whole, "{name}: {apart:e} of {whole:e}");
    }
}
