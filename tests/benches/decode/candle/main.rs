//! candle-transformers, for `run.py`: `peer-candle FOLDER`. Its Llama takes one length a batch and gives the last token's logits
//! alone, so that likelihoods are not asked of it; it answers prompts and greedy decoding. Its quantised Llama fails for more
//! than one prompt at a time ("input tensor is not contiguous"), so it is given one after the other.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use candle_core::{D, DType, Device, IndexOp, Result, Tensor, quantized::gguf_file};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama, LlamaConfig};
use candle_transformers::models::quantized_llama::ModelWeights;

enum Model {
    Plain(Llama, Config, DType),
    Quantized(Box<ModelWeights>),
}

fn open(folder: &Path, format: &str) -> Result<Model> {
    let device = Device::Cpu;
    if format == "q4_1" {
        let mut file = std::fs::File::open(folder.join("q4_1.gguf"))?;
        let content = gguf_file::Content::read(&mut file)?;
        return Ok(Model::Quantized(Box::new(ModelWeights::from_gguf(content, &mut file, &device)?)));
    }
    let dtype = if format == "f32" { DType::F32 } else { DType::BF16 };
    let folder = folder.join(format);
    let config = std::fs::read_to_string(folder.join("config.json"))?;
    let config: LlamaConfig = serde_json::from_str(&config).map_err(candle_core::Error::wrap)?;
    let config = config.into_config(false);
    let weights = std::fs::read(folder.join("model.safetensors"))?;
    let weights = VarBuilder::from_buffered_safetensors(weights, dtype, &device)?;
    Ok(Model::Plain(Llama::load(weights, &config)?, config, dtype))
}

fn answer(model: &mut Model, prompts: &[Vec<u32>], new: usize) -> Result<f64> {
    match model {
        Model::Plain(..) => greedy(model, prompts, new),
        Model::Quantized(_) => prompts.chunks(1).map(|prompt| greedy(model, prompt, new)).sum(),
    }
}

fn greedy(model: &mut Model, prompts: &[Vec<u32>], new: usize) -> Result<f64> {
    let device = Device::Cpu;
    let ids: Vec<u32> = prompts.concat();
    let mut input = Tensor::from_vec(ids, (prompts.len(), prompts[0].len()), &device)?;
    let mut cache = match model {
        Model::Plain(_, config, dtype) => Some(Cache::new(true, *dtype, config, &device)?),
        Model::Quantized(_) => None,
    };
    let (mut position, mut total) = (0, 0.0);
    for _ in 0..new {
        let logits = match (&mut *model, &mut cache) {
            (Model::Plain(llama, ..), Some(cache)) => llama.forward(&input, position, cache)?,
            (Model::Quantized(weights), _) => weights.forward(&input, position)?,
            _ => unreachable!(),
        };
        position += input.dim(1)?;
        let logits = if logits.rank() == 3 { logits.i((.., logits.dim(1)? - 1))? } else { logits };
        let next = logits.argmax(D::Minus1)?;
        total += next.to_vec1::<u32>()?.iter().map(|&id| f64::from(id)).sum::<f64>();
        input = next.unsqueeze(1)?;
    }
    Ok(total)
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).expect("a folder");
    let folder = Path::new(&folder);
    let cases: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("cases.json"))?).map_err(candle_core::Error::wrap)?;
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (format, case) = line.split_once(' ').expect("FORMAT CASE");
        if !models.contains_key(format) {
            models.insert(format.into(), open(folder, format)?);
        }
        let case = &cases[case];
        let prompts: Vec<Vec<u32>> = serde_json::from_value(case["prompts"].clone()).map_err(candle_core::Error::wrap)?;
        let new = case["new"].as_u64().unwrap_or(1) as usize;
        let start = Instant::now();
        let check = answer(models.get_mut(format).expect("opened"), &prompts, new)?;
        println!("{} {check}", start.elapsed().as_secs_f64());
    }
    Ok(())
}
