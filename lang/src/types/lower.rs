//! Types as written to types.

use std::sync::Arc;

use super::cx::{Checker, Meaning, Source, What};
use super::{EnumTy, FieldTy, FnTy, Len, NodeTy, RecordTy, Ty};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ModuleId};
use crate::library::TypeDef;
use crate::span::Span;
use crate::syntax::ast::{self, TyKind};

const BUILTIN: [&str; 11] =
    ["int", "real", "bool", "text", "duration", "bytes", "money", "range", "one_of", "permutation", "Program"];

/// The most types that one type is made of.
const LARGEST: usize = 10_000;

impl<'a> Checker<'a> {
    /// A type. What is wrong with it is reported, and it is `Error` then.
    pub(super) fn lower(&mut self, ty: &ast::Ty) -> Ty {
        let lowered = self.lowered(ty);
        if lowered.is_larger_than(LARGEST) {
            self.too_large(ty.span);
            return Ty::Error;
        }
        lowered
    }

    /// An expression whose type does not grow without bound, as tuples of tuples can.
    pub(super) fn of_fair_size(&mut self, e: Expr) -> Expr {
        if e.ty.is_larger_than(LARGEST) {
            self.too_large(e.span);
            return super::expr::poison(e.span);
        }
        e
    }

    fn too_large(&mut self, span: Span) {
        let d =
            Diagnostic::error(Code::E0110, span, format!("a type is made of more than {LARGEST} types"), "too large");
        self.report(d.help("use arrays or lists for many values of one type"));
    }

    fn lowered(&mut self, ty: &ast::Ty) -> Ty {
        match &ty.kind {
            TyKind::Name(path, args) => self.named(path, args, ty.span),
            TyKind::List(item) => Ty::List(Arc::new(self.lower(item))),
            TyKind::Index(..) => self.indexed(ty),
            TyKind::Record(fields) => {
                Ty::Record(Arc::new(RecordTy { name: None, fields: self.record_fields(fields, &[]) }))
            }
            TyKind::Tuple(items) => Ty::Tuple(items.iter().map(|t| self.lower(t)).collect()),
            TyKind::Fn(inputs, result) => {
                let params =
                    inputs.iter().map(|(n, t)| (n.as_ref().map(|n| n.text.as_str().into()), self.lower(t))).collect();
                Ty::Fn(Arc::new(FnTy { params, result: self.lower(result) }))
            }
            TyKind::Union(items) => {
                let mut members: Vec<Ty> = Vec::new();
                for item in items {
                    match self.lower(item) {
                        Ty::Union(inner) => members.extend(inner.iter().cloned()),
                        other => members.push(other),
                    }
                }
                Ty::Union(members.into())
            }
        }
    }

    /// A type of the library, with its type parameters; `docs` may mark fields.
    pub(crate) fn library_type(&mut self, ty: &ast::Ty, generics: &[ast::Name], docs: &[String]) -> Ty {
        self.generics = generics.iter().map(|g| Arc::from(g.text.as_str())).collect();
        match &ty.kind {
            TyKind::Record(fields) => {
                Ty::Record(Arc::new(RecordTy { name: None, fields: self.record_fields(fields, docs) }))
            }
            _ => self.lower(ty),
        }
    }

    /// Tells of a range where none belongs.
    pub(super) fn no_range(&mut self, domain: &ast::Domain) {
        let title = "only params and genes have a range";
        let told = Diagnostic::error(Code::E0311, domain.range.span, title, "no range here");
        self.report(told.help("leave `in …` out"));
    }

    /// The fields of a record type; `docs` may hold `@tiny` marks for them.
    pub(super) fn record_fields(&mut self, fields: &[ast::Param], docs: &[String]) -> Vec<FieldTy> {
        let mut out: Vec<FieldTy> = Vec::new();
        for field in fields {
            let name: Arc<str> =
                if field.rest { format!("..{}", field.name.text).into() } else { field.name.text.as_str().into() };
            if let Some(domain) = field.domain.as_ref().filter(|_| !self.in_library) {
                self.no_range(domain);
            }
            if out.iter().any(|f| f.name == name) {
                self.twice(&field.name, "field");
                continue;
            }
            let ty = self.lower(&field.ty);
            let optional = self.is_none(field.default.as_ref());
            let default = field.default.as_ref().filter(|_| !optional).map(|d| Arc::new(self.check(d, &ty)));
            let tiny = super::marks::tiny(docs, &field.name.text)
                .or_else(|| super::marks::tiny(&field.docs, &field.name.text));
            out.push(FieldTy { name, ty, default, optional, tiny, doc: super::marks::text(&field.docs) });
        }
        out
    }

    /// A name that the same list has already.
    pub(super) fn twice(&mut self, name: &ast::Name, what: &str) {
        let title = format!("{what} `{}` is given twice", name.text);
        let d = Diagnostic::error(Code::E0208, name.span, title, "second time");
        self.report(d.help("keep one of them"));
    }

    /// Whether a default is the word `none`.
    pub(super) fn is_none(&self, default: Option<&ast::Expr>) -> bool {
        matches!(default, Some(ast::Expr { kind: ast::ExprKind::Name(n), .. }) if n == "none" && !self.is_declared("none"))
    }

    fn named(&mut self, path: &[ast::Name], args: &[ast::Ty], span: Span) -> Ty {
        self.ask_type(path);
        let [first, rest @ ..] = path else { return Ty::Error };
        if !rest.is_empty() {
            return self.member_ty(first, rest);
        }
        let arity = |found: &[ast::Ty], wanted: usize| found.len() == wanted;
        let simple = match first.text.as_str() {
            "int" => Some(Ty::Int),
            "real" => Some(Ty::Real),
            "bool" => Some(Ty::Bool),
            "text" => Some(Ty::Text),
            "duration" => Some(Ty::Duration),
            "bytes" => Some(Ty::Bytes),
            "money" => Some(Ty::Money),
            "Program" => Some(Ty::Program),
            "range" if args.is_empty() => Some(Ty::Range(Arc::new(Ty::Real))),
            _ => None,
        };
        if let Some(ty) = simple {
            return if arity(args, 0) { ty } else { self.type_arity(&first.text, 0, args.len(), span) };
        }
        match first.text.as_str() {
            "range" => return args.first().map_or(Ty::Error, |t| Ty::Range(Arc::new(self.lower(t)))),
            "one_of" | "permutation" => {
                let example = if first.text == "one_of" { "one_of[\"a\", \"b\"]" } else { "permutation[8]" };
                let title = format!("`{}` needs what stands in brackets", first.text);
                self.report(
                    Diagnostic::error(Code::E0207, span, title, "incomplete type").help(format!("such as `{example}`")),
                );
                return Ty::Error;
            }
            _ => {}
        }
        if let Some(name) = self.generics.iter().find(|g| ***g == *first.text) {
            return Ty::Var(name.clone());
        }
        if let Some(&index) = self.names.get(&first.text) {
            return self.declared_ty(index, first);
        }
        if self.broken.contains(&first.text) {
            return Ty::Error;
        }
        self.library_ty(first, args, span)
    }

    fn type_arity(&mut self, name: &str, wanted: usize, found: usize, span: Span) -> Ty {
        let plural = if wanted == 1 { "" } else { "s" };
        let title = format!("`{name}` takes {wanted} type argument{plural}, not {found}");
        let help = if wanted == 0 {
            format!("write `{name}` alone")
        } else {
            format!("write them in `<` and `>` after `{name}`")
        };
        self.report(Diagnostic::error(Code::E0207, span, title, "wrong number").help(help));
        Ty::Error
    }

    fn library_ty(&mut self, name: &ast::Name, args: &[ast::Ty], span: Span) -> Ty {
        let Some(decl) = self.library.types.get(name.text.as_str()) else {
            self.unknown_type(name);
            return Ty::Error;
        };
        if decl.generics.len() != args.len() {
            let wanted = decl.generics.len();
            return self.type_arity(&name.text, wanted, args.len(), span);
        }
        let args: Vec<Ty> = args.iter().map(|t| self.lower(t)).collect();
        match &decl.def {
            TypeDef::Alias(ty) => ty.substitute(&decl.generics, &args),
            TypeDef::Node(_) => Ty::Node(Arc::new(NodeTy { name: decl.name.clone(), args })),
        }
    }

    fn unknown_type(&mut self, name: &ast::Name) {
        let known = self.slots.iter().filter(|s| is_type(&s.source)).map(|s| s.name.text.as_str());
        let library = self.library.types.keys().map(|k| &**k);
        let near = crate::diag::suggest(&name.text, BUILTIN.into_iter().chain(known).chain(library)).map(str::to_owned);
        let d = Diagnostic::error(Code::E0207, name.span, format!("unknown type `{}`", name.text), "not a type");
        let d = match (near, name.text.as_str()) {
            (_, "float" | "f64" | "f32" | "double" | "number") => {
                d.help("the type of real numbers is `real`").fix(name.span, "real")
            }
            (_, "string" | "str" | "String") => d.help("the type of texts is `text`").fix(name.span, "text"),
            (_, "boolean") => d.help("the type of truth values is `bool`").fix(name.span, "bool"),
            (Some(near), _) => d.help(format!("did you mean `{near}`?")).fix(name.span, near),
            (None, _) => d.help(format!("declare it: `type {} = …`", name.text)),
        };
        self.report(d);
    }

    /// The type that a declaration of this module makes.
    fn declared_ty(&mut self, index: usize, name: &ast::Name) -> Ty {
        let seen = self.own(index);
        match seen.what {
            What::Type => seen.ty,
            What::Error => Ty::Error,
            _ => self.not_a_type(name, &seen.word, seen.name_span),
        }
    }

    fn not_a_type(&mut self, name: &ast::Name, word: &str, at: Span) -> Ty {
        let title = format!("`{}` is a `{word}`, not a type", name.text);
        let d = Diagnostic::error(Code::E0207, name.span, title, "not a type").label(at, "declared here");
        self.report(d.help("a type is declared with `type` or `genome`"));
        Ty::Error
    }

    /// `qd.Recipe`
    fn member_ty(&mut self, first: &ast::Name, rest: &[ast::Name]) -> Ty {
        let seen = match self.meaning(&first.text) {
            Meaning::Own(index) => self.own(index),
            Meaning::Broken => return Ty::Error,
            _ => {
                self.unknown_type(first);
                return Ty::Error;
            }
        };
        let mut module = match seen.what {
            What::Use(module) => module,
            What::Error => return Ty::Error,
            _ => return self.not_a_type(first, &seen.word, seen.name_span),
        };
        for (i, name) in rest.iter().enumerate() {
            let Some((_, seen)) = self.member(module, &name.text) else {
                self.unknown_member(module, name);
                return Ty::Error;
            };
            match seen.what {
                What::Use(next) if i + 1 < rest.len() => module = next,
                What::Type if i + 1 == rest.len() => return seen.ty,
                What::Error => return Ty::Error,
                _ => return self.not_a_type(name, &seen.word, seen.name_span),
            }
        }
        Ty::Error
    }

    /// A name that a used program does not declare.
    pub(super) fn unknown_member(&mut self, module: ModuleId, name: &ast::Name) {
        let program = self.modules.get(module.0 as usize);
        let file = program.map_or("the program", |m| &m.name).to_owned();
        if let Some(own) = program.and_then(|m| m.globals.iter().find(|g| *g.name == *name.text)) {
            let title = format!("`{}` is private to `{file}`", name.text);
            let d = Diagnostic::error(Code::E0213, name.span, title, "private").label(own.name_span, "declared here");
            let public = own.name.trim_start_matches('_');
            self.report(d.help(format!("use what `{file}` declares without `_`, or name this `{public}` there")));
            return;
        }
        let near = crate::diag::suggest(&name.text, self.member_names(module)).map(str::to_owned);
        let d = Diagnostic::error(
            Code::E0205,
            name.span,
            format!("`{file}` declares no `{}`", name.text),
            "not declared there",
        );
        let d = match near {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(name.span, near),
            None => d.help(format!("declarations of `{file}.evo` are named after a dot")),
        };
        self.report(d);
    }

    /// `T[a][b]`: `a` arrays of `b`; `one_of[…]`; `permutation[n]`.
    fn indexed(&mut self, ty: &ast::Ty) -> Ty {
        let mut dims: Vec<(&[ast::Expr], Span)> = Vec::new();
        let mut base = ty;
        while let TyKind::Index(inner, index) = &base.kind {
            dims.push((index, base.span));
            base = inner;
        }
        if let (TyKind::Name(path, args), Some((cases, _))) = (&base.kind, dims.last()) {
            match path.first().map(|n| n.text.as_str()) {
                Some("one_of") if path.len() == 1 && args.is_empty() => {
                    let item = self.cases_of(cases);
                    dims.pop();
                    return self.arrays(item, dims, ty.span);
                }
                Some("permutation") if path.len() == 1 => {
                    let title = "a permutation is a gene, not a type of its own";
                    self.report(
                        Diagnostic::error(Code::E0207, ty.span, title, "only in a genome")
                            .help("elsewhere its type is `int[n]`"),
                    );
                    return Ty::Error;
                }
                _ => {}
            }
        }
        let item = self.lower(base);
        self.arrays(item, dims, ty.span)
    }

    /// The cases of `one_of["a", b]`.
    fn cases_of(&self, cases: &[ast::Expr]) -> Ty {
        let word = |e: &ast::Expr| match &e.kind {
            ast::ExprKind::Name(n) | ast::ExprKind::Text(n) => Some(Arc::from(n.as_str())),
            _ => None,
        };
        Ty::Enum(Arc::new(EnumTy { name: None, cases: cases.iter().filter_map(word).collect() }))
    }

    /// Arrays of `item`; `dims` from the innermost to the outermost as written last to first.
    fn arrays(&mut self, item: Ty, dims: Vec<(&[ast::Expr], Span)>, span: Span) -> Ty {
        let mut ty = item;
        for (dim, at) in dims {
            let len = match dim {
                [] => self.any_length(span),
                [one] => self.length(one),
                _ => {
                    let title = "an array has one length in each pair of brackets";
                    self.report(
                        Diagnostic::error(Code::E0310, at, title, "several lengths")
                            .help("write `real[2][3]` for two arrays of three"),
                    );
                    Len::Any
                }
            };
            ty = Ty::Array(Arc::new(ty), len);
        }
        ty
    }

    fn any_length(&mut self, span: Span) -> Len {
        if !self.in_library {
            let d = Diagnostic::error(Code::E0310, span, "an array needs a length", "no length");
            self.report(d.help("write `real[3]`, or `[real]` for a list of any length"));
        }
        Len::Any
    }

    /// A length: a whole number known before anything runs.
    pub(super) fn length(&mut self, e: &ast::Expr) -> Len {
        let value = self.check(e, &Ty::Int);
        if let Some(n) = self.constant_int(&value) {
            if n >= 0 {
                return Len::Const(n.unsigned_abs());
            }
            let d = Diagnostic::error(Code::E0310, e.span, format!("an array cannot have length {n}"), "negative");
            self.report(d.help("a length is zero or more"));
            return Len::Any;
        }
        if matches!(value.ty, Ty::Error) || matches!(value.kind, crate::hir::ExprKind::Error) {
            return Len::Any;
        }
        if let Some((at, why)) = self.not_static(&value) {
            let d = Diagnostic::error(Code::E0310, at, "an array's length must be known before anything runs", why);
            self.report(d.help("use numbers, params, and what a model's header tells, such as `layers(m)`"));
            return Len::Any;
        }
        Len::Static { text: super::consts::spell(e).into(), expr: Arc::new(value) }
    }
}

fn is_type(source: &Source<'_>) -> bool {
    match source {
        Source::Type(_) => true,
        Source::Decl(d) => d.kind.text == "genome",
        Source::Use(_) => false,
    }
}
