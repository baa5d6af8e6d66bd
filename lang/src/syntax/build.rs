//! The parser's pairs to the syntax tree.

mod expr;

use pest::iterators::{Pair, Pairs};

use super::ast::*;
use super::scan::Tokens;
use super::{DEPTH_LIMIT, NESTING_LIMIT, Rule};
use crate::diag::{Code, Diagnostic};
use crate::span::{FileId, Span};

/// Builds the tree of one text. The text may be a part of a file that starts at `offset`.
pub(super) struct Builder<'a> {
    tokens: &'a Tokens<'a>,
    file: FileId,
    offset: usize,
    depth: usize,
    /// What is wrong with literals, and trees that are too deep.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// The error for nesting beyond the limit.
pub(super) fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::error(Code::E0110, span, format!("nesting is deeper than {NESTING_LIMIT} levels"), "too deep here")
        .help("give the inner parts names of their own: `let part = …`")
}

/// A documentation line without its mark and the space after it.
pub(super) fn doc_line(text: &str) -> String {
    let text = text.get(3..).unwrap_or("").trim_end();
    text.strip_prefix(' ').unwrap_or(text).to_owned()
}

type P<'a> = Pair<'a, Rule>;

/// A pair's parts without the keywords, which are told by their places.
trait PairExt<'a> {
    fn inner(self) -> Inner<'a>;
}

type Inner<'a> = std::iter::Filter<Pairs<'a, Rule>, fn(&P<'a>) -> bool>;

impl<'a> PairExt<'a> for P<'a> {
    fn inner(self) -> Inner<'a> {
        self.into_inner().filter(|p| !is_keyword(p.as_rule()))
    }
}

fn is_keyword(rule: Rule) -> bool {
    use Rule::*;
    matches!(
        rule,
        kw_let
            | kw_if
            | kw_then
            | kw_else
            | kw_for
            | kw_in
            | kw_to
            | kw_over
            | kw_as
            | word_type
            | word_use
            | word_save
            | word_print
            | word_plot
            | word_expect
    )
}

impl<'a> Builder<'a> {
    pub(super) fn new(tokens: &'a Tokens<'a>, file: FileId, offset: usize) -> Self {
        Self { tokens, file, offset, depth: 0, diagnostics: Vec::new() }
    }

    fn span(&self, pair: &P<'a>) -> Span {
        let span = pair.as_span();
        // A rule that is not atomic may take trailing white space along: the span ends with its last token.
        let (start, end) = (self.offset + span.start(), self.offset + span.end());
        Span::new(self.file, start, self.tokens.end_before(end).max(start))
    }

    fn name(&self, pair: &P<'a>) -> Name {
        Name { text: pair.as_str().to_owned(), span: self.span(pair) }
    }

    /// The whole of a parse by `program` or `one_item`.
    pub(super) fn module(&mut self, pairs: Pairs<'a, Rule>) -> Module {
        let mut module = Module::default();
        for pair in pairs.flat_map(PairExt::inner) {
            match pair.as_rule() {
                Rule::file_doc => module.docs.push(doc_line(pair.as_str())),
                Rule::item => module.items.extend(self.item(pair)),
                _ => {}
            }
        }
        module
    }

    fn item(&mut self, pair: P<'a>) -> Option<Item> {
        let mut docs = Docs::new();
        for part in pair.inner() {
            if part.as_rule() == Rule::doc {
                docs.push(doc_line(part.as_str()));
                continue;
            }
            let span = self.span(&part);
            let kind = self.item_kind(part)?;
            return Some(Item { docs, span, kind });
        }
        None
    }

    fn item_kind(&mut self, part: P<'a>) -> Option<ItemKind> {
        let rule = part.as_rule();
        if rule == Rule::declaration {
            return Some(ItemKind::Decl(Box::new(self.declaration(part)?)));
        }
        if rule == Rule::type_item {
            return Some(ItemKind::Type(self.type_item(part)?));
        }
        let mut inner = part.inner();
        Some(match rule {
            Rule::use_item => ItemKind::Use(self.use_item(inner)?),
            Rule::save => ItemKind::Save { value: self.next_expr(&mut inner)?, to: self.next_expr(&mut inner)? },
            Rule::print => ItemKind::Print(self.next_expr(&mut inner)?),
            Rule::plot => {
                let value = self.next_expr(&mut inner)?;
                let (mut over, mut to) = (None, None);
                for clause in inner {
                    let slot = if clause.as_rule() == Rule::over { &mut over } else { &mut to };
                    *slot = self.next_expr(&mut clause.inner());
                }
                ItemKind::Plot { value, over, to }
            }
            Rule::expect => {
                ItemKind::Expect { condition: self.next_expr(&mut inner)?, message: self.next_expr(&mut inner) }
            }
            _ => return None,
        })
    }

    fn next_expr(&mut self, pairs: &mut Inner<'a>) -> Option<Expr> {
        pairs.next().map(|p| self.expr(p))
    }

    fn use_item(&mut self, mut inner: Inner<'a>) -> Option<Use> {
        let path = inner.next()?;
        let span = self.span(&path);
        let named = path.as_rule() != Rule::text;
        let text = match path.as_rule() {
            Rule::text => self.text(path),
            _ => format!("{}.evo", path.as_str().replace('.', "/")),
        };
        Some(Use { path: text, named, span, alias: inner.next().map(|n| self.name(&n)) })
    }

    fn type_item(&mut self, pair: P<'a>) -> Option<TypeItem> {
        let (mut is_extern, mut name, mut generics, mut ty) = (false, None, Vec::new(), None);
        for part in pair.inner() {
            match part.as_rule() {
                Rule::kw_extern => is_extern = true,
                Rule::name => name = Some(self.name(&part)),
                Rule::generics => generics = part.inner().map(|n| self.name(&n)).collect(),
                _ => ty = Some(self.ty(part)),
            }
        }
        Some(TypeItem { is_extern, name: name?, generics, ty })
    }

    fn declaration(&mut self, pair: P<'a>) -> Option<Decl> {
        let (mut is_extern, mut kind, mut name) = (false, None, None);
        let (mut generics, mut params, mut ty, mut domain, mut result, mut body) =
            (Vec::new(), None, None, None, None, None);
        for part in pair.inner() {
            match part.as_rule() {
                Rule::kw_extern => is_extern = true,
                Rule::kind => kind = Some(self.name(&part)),
                Rule::name => name = Some(self.name(&part)),
                Rule::generics => generics = part.inner().map(|n| self.name(&n)).collect(),
                Rule::params => params = Some(part.inner().filter_map(|p| self.param(p)).collect()),
                Rule::type_note => ty = part.inner().next().map(|t| self.ty(t)),
                Rule::domain => domain = self.domain(part),
                Rule::result => result = part.inner().next().map(|t| self.ty(t)),
                Rule::body => body = self.body(part),
                _ => body = Some(Body::Value(self.expr(part))),
            }
        }
        Some(Decl { is_extern, kind: kind?, name: name?, generics, params, ty, domain, result, body })
    }

    fn body(&mut self, pair: P<'a>) -> Option<Body> {
        let part = pair.inner().next()?;
        let span = self.span(&part);
        Some(match part.as_rule() {
            Rule::fields => Body::Fields(self.fields(part), span),
            _ => Body::Steps(self.steps(part)),
        })
    }

    /// A parameter of a declaration or a field of a record type.
    fn param(&mut self, pair: P<'a>) -> Option<Param> {
        let (mut docs, mut rest, mut name, mut ty, mut domain, mut default) =
            (Docs::new(), false, None, None, None, None);
        for part in pair.inner() {
            match part.as_rule() {
                Rule::doc => docs.push(doc_line(part.as_str())),
                Rule::rest => rest = true,
                Rule::name | Rule::member => name = Some(self.name(&part)),
                Rule::domain => domain = self.domain(part),
                Rule::default => default = self.next_expr(&mut part.inner()),
                _ => ty = Some(self.ty(part)),
            }
        }
        Some(Param { docs, rest, name: name?, ty: ty?, domain, default })
    }

    fn domain(&mut self, pair: P<'a>) -> Option<Domain> {
        let mut inner = pair.inner();
        Some(Domain { range: self.next_expr(&mut inner)?, log: inner.next().is_some() })
    }

    fn fields(&mut self, pair: P<'a>) -> Vec<Field> {
        pair.inner().filter_map(|f| self.field(f)).collect()
    }

    fn field(&mut self, pair: P<'a>) -> Option<Field> {
        let (mut docs, mut name, mut value, mut domain) = (Docs::new(), None, None, None);
        for part in pair.inner() {
            match part.as_rule() {
                Rule::doc => docs.push(doc_line(part.as_str())),
                Rule::member => name = Some(self.name(&part)),
                Rule::domain => domain = self.domain(part),
                Rule::fn_type => value = part.inner().next().map(|t| FieldValue::Ty(self.ty(t))),
                _ => value = Some(FieldValue::Expr(self.expr(part))),
            }
        }
        Some(Field { docs, name: name?, value: value?, domain })
    }

    /// `{ let x = a  let y = b  result }`, or just `{ result }`.
    fn steps(&mut self, pair: P<'a>) -> Expr {
        let span = self.span(&pair);
        let (mut lets, mut result) = (Vec::new(), None);
        for part in pair.inner() {
            match part.as_rule() {
                Rule::let_step => lets.extend(self.let_step(part)),
                _ => result = Some(self.expr(part)),
            }
        }
        let result = result.unwrap_or(Expr { span, kind: ExprKind::Error });
        if lets.is_empty() {
            return result;
        }
        Expr { span, kind: ExprKind::Block(lets, Box::new(result)) }
    }

    fn let_step(&mut self, pair: P<'a>) -> Option<Let> {
        let (mut name, mut ty, mut value) = (None, None, None);
        for part in pair.inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::type_note => ty = part.inner().next().map(|t| self.ty(t)),
                _ => value = Some(self.expr(part)),
            }
        }
        Some(Let { name: name?, ty, value: value? })
    }

    // ------------------------------------------------------------ types

    fn ty(&mut self, pair: P<'a>) -> Ty {
        let span = self.span(&pair);
        if !self.enter(span) {
            return Ty { span, kind: TyKind::Tuple(Vec::new()) };
        }
        let mut arrows: Vec<Ty> = pair.inner().map(|a| self.arrow(a)).collect();
        self.depth -= 1;
        match arrows.len() {
            1 => arrows.remove(0),
            _ => Ty { span, kind: TyKind::Union(arrows) },
        }
    }

    fn arrow(&mut self, pair: P<'a>) -> Ty {
        let span = self.span(&pair);
        let mut inner = pair.inner();
        let Some(first) = inner.next() else { return Ty { span, kind: TyKind::Tuple(Vec::new()) } };
        let Some(result) = inner.next() else { return self.atom(first) };
        if !self.enter(span) {
            return Ty { span, kind: TyKind::Tuple(Vec::new()) };
        }
        let inputs = self.inputs(first);
        let result = self.arrow(result);
        self.depth -= 1;
        Ty { span, kind: TyKind::Fn(inputs, Box::new(result)) }
    }

    /// The inputs of a function type: what stands in parentheses, or one type without them.
    fn inputs(&mut self, pair: P<'a>) -> Vec<(Option<Name>, Ty)> {
        let mut inner = pair.clone().inner();
        match (inner.next(), inner.next()) {
            (Some(group), None) if group.as_rule() == Rule::ty_paren => self.fn_params(group),
            _ => vec![(None, self.atom(pair))],
        }
    }

    fn fn_params(&mut self, pair: P<'a>) -> Vec<(Option<Name>, Ty)> {
        let mut out = Vec::new();
        for input in pair.inner() {
            let (mut name, mut ty) = (None, None);
            for part in input.inner() {
                match part.as_rule() {
                    Rule::name => name = Some(self.name(&part)),
                    _ => ty = Some(self.ty(part)),
                }
            }
            out.extend(ty.map(|t| (name, t)));
        }
        out
    }

    fn atom(&mut self, pair: P<'a>) -> Ty {
        let span = self.span(&pair);
        let mut inner = pair.inner();
        let mut ty = match inner.next() {
            Some(base) => self.ty_base(base),
            None => Ty { span, kind: TyKind::Tuple(Vec::new()) },
        };
        for dim in inner {
            let end = self.span(&dim);
            let lengths = dim.inner().map(|e| self.expr(e)).collect();
            ty = Ty { span: ty.span.to(end), kind: TyKind::Index(Box::new(ty), lengths) };
        }
        ty
    }

    fn ty_base(&mut self, pair: P<'a>) -> Ty {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::ty_list => match pair.inner().next() {
                Some(item) => TyKind::List(Box::new(self.ty(item))),
                None => TyKind::Tuple(Vec::new()),
            },
            Rule::ty_record => TyKind::Record(pair.inner().filter_map(|f| self.param(f)).collect()),
            Rule::ty_paren => {
                let mut items: Vec<Ty> = self.fn_params(pair).into_iter().map(|(_, t)| t).collect();
                if items.len() == 1 {
                    return items.remove(0);
                }
                TyKind::Tuple(items)
            }
            _ => self.ty_name(pair),
        };
        Ty { span, kind }
    }

    fn ty_name(&mut self, pair: P<'a>) -> TyKind {
        let (mut path, mut args) = (Vec::new(), Vec::new());
        for part in pair.inner() {
            match part.as_rule() {
                Rule::path => path = self.path(&part),
                _ => args = part.inner().map(|t| self.ty(t)).collect(),
            }
        }
        TyKind::Name(path, args)
    }

    fn path(&self, pair: &P<'a>) -> Vec<Name> {
        let mut at = self.offset + pair.as_span().start();
        let word = |text: &str| {
            let span = Span::new(self.file, at, at + text.len());
            at += text.len() + 1;
            Name { text: text.to_owned(), span }
        };
        pair.as_str().split('.').map(word).collect()
    }
}
