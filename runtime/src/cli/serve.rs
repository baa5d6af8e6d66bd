//! `evo serve`: a model behind the interface that OpenAI's clients speak.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};
use evo_lang::diag::Code;
use evo_stdlib::model::{self, Model, ModelError, Place};

use super::args::DeviceArgs;
use super::{Stop, run, screen};
use crate::clock;
use crate::engine::{Engine, Failure, RunOptions, Settings};
use crate::serve::{Limits, ServeError, Server, Settings as Serving};

/// The variable that holds the key which requests must give.
const KEY: &str = "EVO_SERVE_KEY";

/// What is served, where, and within which limits.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  evo serve models/smollm2                        http://127.0.0.1:8080/v1, for this machine alone
  evo serve model.gguf --port 9000
  evo serve quickstart.evo:child                  a model that a program declares; it is computed first
  EVO_SERVE_KEY=... evo serve models/smollm2 --host 0.0.0.0

  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'

Ctrl-C lets open requests finish; Ctrl-C again ends at once.")]
pub(super) struct ServeArgs {
    /// A Hugging Face directory, a GGUF file, or PROGRAM:NAME
    #[arg(value_name = "MODEL|PROGRAM:NAME", value_hint = ValueHint::AnyPath)]
    model: String,
    /// The address to listen on; any but this machine's own needs a key in EVO_SERVE_KEY
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// What the model is called [default: the name of its directory or file, or NAME]
    #[arg(long = "name", value_name = "NAME")]
    called: Option<String>,
    /// Set a param of the program (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = super::args::name_and_value)]
    set: Vec<(String, String)>,
    /// Threads that compute [default: all cores]; answers do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Seed of the draws of requests that give none [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Requests at one time; further ones get 429
    #[arg(long, value_name = "N", default_value_t = Limits::default().requests)]
    max_requests: usize,
    /// Tokens of a chat's answer whose request names no number
    #[arg(long, value_name = "N", default_value_t = Limits::default().tokens)]
    max_tokens: usize,
    /// Bytes of a request
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body)]
    max_body: usize,
    /// Seconds that a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().time.as_secs())]
    timeout: u64,
    /// Seconds that open requests may go on after Ctrl-C
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().grace.as_secs())]
    grace: u64,
}

/// Serves until it is stopped.
pub(super) fn serve(args: &ServeArgs) -> Result<u8, Stop> {
    let key = std::env::var(KEY).ok().filter(|key| !key.is_empty());
    if !args.host.is_loopback() && key.is_none() {
        let title = format!("{} can be reached by others, and there is no key", args.host);
        let help = format!("set {KEY} to a long random text, which requests then give as `Authorization: Bearer …`");
        return Err(Failure::placeless(2, Code::E0150, title, help).into());
    }
    let (_watcher, engine) = run::engine(args.jobs, false);
    let place = Place {
        threads: args.jobs.map_or(engine.jobs(), usize::from),
        device: engine.device(args.device.name.as_deref())?,
        ..Place::default()
    };
    let (name, model) = model(args, &engine)?;
    let limits = Limits {
        requests: args.max_requests.max(1),
        tokens: args.max_tokens.max(1),
        body: args.max_body,
        time: Duration::from_secs(args.timeout.max(1)),
        grace: Duration::from_secs(args.grace),
        ..Limits::default()
    };
    let name = args.called.clone().unwrap_or(name);
    let address = SocketAddr::new(args.host, args.port);
    let seed = args.seed.unwrap_or_else(|| clock::now_ms().unsigned_abs());
    let server = Server::start(model, &place, Serving { address, name: name.clone(), key, seed, limits });
    let server = server.map_err(|error| failed(&error, args))?;
    screen::note(&format!("`{name}` at http://{}/v1; Ctrl-C ends it", server.address()));
    let stopper = server.stopper();
    let handler = move || {
        if stopper.is_stopping() {
            screen::note("ending at once");
        } else {
            screen::note("open requests go on to their ends; Ctrl-C again ends at once");
        }
        stopper.stop();
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        screen::note(&format!("Ctrl-C will end at once, open requests too: {error}"));
    }
    server.wait().map_err(|error| failed(&error, args))?;
    Ok(0)
}

fn failed(error: &ServeError, args: &ServeArgs) -> Failure {
    let (code, exit, help) = match error {
        ServeError::Address { .. } => {
            (Code::E0150, 2, format!("choose another port than {}: `--port 0` takes a free one", args.port))
        }
        ServeError::Start(_) => (Code::R0546, 3, "free memory or threads of this machine".to_owned()),
        ServeError::Model(_) => (Code::R0504, 3, "try the model with `evo logits`, which says more".to_owned()),
    };
    Failure::placeless(exit, code, error.to_string(), help)
}

/// The model with its name.
fn model(args: &ServeArgs, engine: &Engine) -> Result<(String, Model), Stop> {
    let path = Path::new(&args.model);
    let (program, name) = match args.model.rsplit_once(':') {
        Some((program, name)) if program.ends_with(".evo") && !path.exists() => (Path::new(program), name),
        _ => {
            let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
            let model = if is_gguf { model::gguf(path) } else { model::hf(path) }.map_err(|error| refused(&error))?;
            model::check_finite(&model.tensors).map_err(|error| refused(&error))?;
            let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let name = full.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            return Ok((name, model));
        }
    };
    Ok((name.to_owned(), computed(program, name, args, engine)?))
}

fn refused(error: &ModelError) -> Failure {
    let code = Code::find(error.code()).unwrap_or(Code::E0401);
    Failure::placeless(2, code, error.to_string(), error.help())
}

/// A model that a program declares: computed, as `save` would have it.
fn computed(program: &Path, name: &str, args: &ServeArgs, engine: &Engine) -> Result<Model, Stop> {
    let folder = tempfile::Builder::new().prefix("evo-serve-").tempdir()?;
    let saved: PathBuf = folder.path().join("model");
    let text = text(program, name, &args.set, &saved.display().to_string());
    let beside = program.with_file_name("serve.evo");
    engine.load(program)?; // what is wrong with the program itself is told of it
    let program = engine.load_text(&beside.display().to_string(), &text);
    let plan = program.plan(&Settings { device: args.device.name.clone(), ..Settings::new() })?;
    run::warn(&plan, false)?;
    let outcome = plan.start(RunOptions::default())?.wait();
    run::conclude(&outcome, "evo serve with the same words", false)?;
    if outcome.exit_code() != 0 {
        return Err(Stop::Told(outcome.exit_code()));
    }
    let model = model::hf(&saved).map_err(|error| refused(&error))?;
    // The files stay open where they are mapped; nobody else needs their names.
    drop(folder);
    Ok(model)
}

/// The program that saves the model; it lies beside the other.
fn text(program: &Path, name: &str, set: &[(String, String)], to: &str) -> String {
    let file = program.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let quote = super::eval::quote;
    let params: Vec<String> = set.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let instance =
        if params.is_empty() { "program".to_owned() } else { format!("program {{ {} }}", params.join(", ")) };
    format!("use {} as program\nsave {instance}.{name} to {}\n", quote(&file), quote(to))
}
