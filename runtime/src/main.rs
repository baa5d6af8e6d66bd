//! The `evo` binary: the command line of the library `evo`.

fn main() {}
