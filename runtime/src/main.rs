//! The `evo` binary: the command line of the library `evo`.

use std::process::ExitCode;

fn main() -> ExitCode {
    evo::cli::main()
}
