//! Types and the checker: from the syntax tree of one module to its typed tree.
//!
//! The checker is bidirectional. [`expr`] holds its two directions, [`call`] calls and overloads, [`unify`] what is
//! accepted where, [`decl`] declarations, [`lower`] types as written.

mod call;
mod consts;
mod cursor;
mod cx;
mod decl;
mod expr;
mod finish;
mod listing;
mod lower;
mod marks;
mod names;
mod numeric;
mod ops;
mod place;
mod print;
mod rows;
mod shown;
mod ty;
mod unify;

pub(crate) use cursor::Asked;
pub(crate) use cx::Checker;
pub(crate) use decl::name_type;
pub(crate) use marks::{has as has_mark, text as doc_text, tiny_marks};
pub(crate) use names::Uses;
pub use print::print;
pub use ty::{EnumTy, FieldTy, FnTy, GenomeTy, Len, NodeTy, RecordTy, Ty};
