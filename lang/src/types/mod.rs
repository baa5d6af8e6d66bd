//! Types and the checker.

mod ty;

pub use ty::{EnumTy, FieldTy, FnTy, GenomeTy, Len, NodeTy, RecordTy, Ty};
