//! The parser's pairs to the syntax tree.

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
        kw_let | kw_if | kw_then | kw_else | kw_for | kw_in | kw_to | kw_over | kw_as | word_type | word_use | word_save | word_print | word_plot | word_expect
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
            Rule::expect => ItemKind::Expect { condition: self.next_expr(&mut inner)?, message: self.next_expr(&mut inner) },
            _ => return None,
        })
    }

    fn next_expr(&mut self, pairs: &mut Inner<'a>) -> Option<Expr> {
        pairs.next().map(|p| self.expr(p))
    }

    fn use_item(&mut self, mut inner: Inner<'a>) -> Option<Use> {
        let path = inner.next()?;
        let span = self.span(&path);
        let text = match path.as_rule() {
            Rule::text => self.text(path),
            _ => format!("{}.evo", path.as_str().replace('.', "/")),
        };
        Some(Use { path: text, span, alias: inner.next().map(|n| self.name(&n)) })
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
        let (mut generics, mut params, mut ty, mut domain, mut result, mut body) = (Vec::new(), None, None, None, None, None);
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
        let (mut docs, mut rest, mut name, mut ty, mut domain, mut default) = (Docs::new(), false, None, None, None, None);
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

    // ------------------------------------------------------------ expressions

    /// Goes one level deeper; false, with a diagnostic, at the limit.
    fn enter(&mut self, span: Span) -> bool {
        if self.depth >= DEPTH_LIMIT {
            if self.diagnostics.last().is_none_or(|d| d.code != Code::E0110) {
                let title = format!("this expression has more than {DEPTH_LIMIT} levels");
                let d = Diagnostic::error(Code::E0110, span, title, "too deep here");
                self.diagnostics.push(d.help("give the inner parts names of their own: `let part = …`"));
            }
            return false;
        }
        self.depth += 1;
        true
    }

    /// An expression from the pair of `expr` or `binary`.
    pub(super) fn expr(&mut self, pair: P<'a>) -> Expr {
        let span = self.span(&pair);
        if !self.enter(span) {
            return Expr { span, kind: ExprKind::Error };
        }
        let pair = if pair.as_rule() == Rule::expr { pair.inner().next() } else { Some(pair) };
        let mut operands = Vec::new();
        let mut operators = Vec::new();
        for part in pair.into_iter().flat_map(PairExt::inner) {
            match part.as_rule() {
                Rule::infix => operators.extend(self.infix(part)),
                _ => operands.push(Operand::new(part)),
            }
        }
        let mut climb = Climb { operands: operands.into_iter(), operators, next: 0 };
        let expr = self.climb(&mut climb, 0, span);
        self.depth -= 1;
        expr
    }

    fn infix(&self, pair: P<'a>) -> Option<(BinaryOp, Span)> {
        let inner = pair.inner().next()?;
        Some((BinaryOp::of(inner.as_str())?, self.span(&inner)))
    }

    /// Precedence climbing: an operand and all operators that bind at least as tightly as `least`.
    fn climb(&mut self, c: &mut Climb<'a>, least: u8, span: Span) -> Expr {
        let Some(mut operand) = c.operands.next() else { return Expr { span, kind: ExprKind::Error } };
        let left = self.prefixed(c, &mut operand, span);
        self.climb_from(c, left, least, span)
    }

    fn prefixed(&mut self, c: &mut Climb<'a>, operand: &mut Operand<'a>, span: Span) -> Expr {
        let Some(prefix) = operand.prefixes.pop() else {
            return match operand.core.take() {
                Some(core) => self.core(core),
                None => Expr { span, kind: ExprKind::Error },
            };
        };
        let at = self.span(&prefix);
        if !self.enter(at) {
            return Expr { span, kind: ExprKind::Error };
        }
        let (op, least) = if prefix.as_str() == "-" { (UnaryOp::Neg, 8) } else { (UnaryOp::Not, 3) };
        let mut value = self.prefixed(c, operand, span);
        // The operators after the operand that bind tighter than the sign belong to its operand.
        value = self.climb_from(c, value, least, span);
        self.depth -= 1;
        Expr { span: at.to(value.span), kind: ExprKind::Unary(op, Box::new(value)) }
    }

    fn climb_from(&mut self, c: &mut Climb<'a>, mut left: Expr, least: u8, span: Span) -> Expr {
        let before = self.depth;
        while let Some(&(op, at)) = c.operators.get(c.next) {
            let (bind, right) = binding(op);
            if bind < least || !self.enter(at) {
                break;
            }
            c.next += 1;
            let value = self.climb(c, right, span);
            left = self.pair(op, at, left, value);
        }
        self.depth = before;
        left
    }

    /// `a op b`; a comparison after a comparison is reported.
    fn pair(&mut self, op: BinaryOp, at: Span, left: Expr, right: Expr) -> Expr {
        let span = left.span.to(right.span);
        if self.is_chain(op, at, &left) {
            return Expr { span, kind: ExprKind::Error };
        }
        Expr { span, kind: ExprKind::Binary(op, at, Box::new(left), Box::new(right)) }
    }

    fn is_chain(&mut self, op: BinaryOp, at: Span, left: &Expr) -> bool {
        let ExprKind::Binary(first, before, ..) = &left.kind else { return false };
        let ranges = [BinaryOp::Range, BinaryOp::RangeIncl];
        let chain = op.is_comparison() && first.is_comparison() || ranges.contains(&op) && ranges.contains(first);
        if chain {
            let title = format!("`{}` after `{}` makes a chain, which has no meaning", op.text(), first.text());
            let d = Diagnostic::error(Code::E0116, at, title, "second of a chain").label(*before, "first");
            self.diagnostics.push(d.help("compare two things at a time: `a < b and b < c`"));
        }
        chain
    }

    /// A closure, or a primary expression with its tails.
    fn core(&mut self, pair: P<'a>) -> Expr {
        if pair.as_rule() == Rule::closure {
            return self.closure(pair);
        }
        let mut parts = pair.inner();
        let before = self.depth;
        let Some(first) = parts.next() else { return Expr { span: Span::default(), kind: ExprKind::Error } };
        let mut value = self.primary(first);
        for part in parts {
            let end = self.span(&part);
            if !self.enter(end) {
                break;
            }
            let span = value.span.to(end);
            let base = Box::new(value);
            let kind = match part.as_rule() {
                Rule::call => ExprKind::Call(base, part.inner().filter_map(|a| self.arg(a)).collect()),
                Rule::index => ExprKind::Index(base, part.inner().map(|e| self.expr(e)).collect()),
                Rule::dot => match part.inner().next() {
                    Some(member) => ExprKind::Dot(base, self.name(&member)),
                    None => base.kind,
                },
                _ => match part.inner().next() {
                    Some(fields) => ExprKind::BlockCall(base, self.fields(fields)),
                    None => base.kind,
                },
            };
            value = Expr { span, kind };
        }
        self.depth = before;
        value
    }

    fn closure(&mut self, pair: P<'a>) -> Expr {
        let span = self.span(&pair);
        let mut inner = pair.inner();
        let names = inner.next().map_or(Vec::new(), |head| head.inner().map(|n| self.name(&n)).collect());
        let body = self.next_expr(&mut inner).unwrap_or(Expr { span, kind: ExprKind::Error });
        Expr { span, kind: ExprKind::Closure(names, Box::new(body)) }
    }

    fn arg(&mut self, pair: P<'a>) -> Option<Arg> {
        let mut name = None;
        let mut value = None;
        for part in pair.inner() {
            match part.as_rule() {
                Rule::arg_name => name = part.inner().next().map(|n| self.name(&n)),
                _ => value = Some(self.expr(part)),
            }
        }
        Some(Arg { name, value: value? })
    }

    fn primary(&mut self, pair: P<'a>) -> Expr {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::number => self.number(pair),
            Rule::text => ExprKind::Text(self.text(pair)),
            Rule::bool => ExprKind::Bool(pair.as_str() == "true"),
            Rule::name => ExprKind::Name(pair.as_str().to_owned()),
            Rule::list => self.list(pair),
            Rule::record => match pair.inner().next() {
                Some(fields) if fields.as_rule() == Rule::fields => ExprKind::Record(self.fields(fields)),
                Some(block) => return self.steps(block),
                None => ExprKind::Error,
            },
            Rule::if_expr => {
                let mut parts = pair.inner();
                match (self.next_expr(&mut parts), self.next_expr(&mut parts), self.next_expr(&mut parts)) {
                    (Some(c), Some(a), Some(b)) => ExprKind::If(Box::new(c), Box::new(a), Box::new(b)),
                    _ => ExprKind::Error,
                }
            }
            _ => {
                let mut items: Vec<Expr> = pair.inner().map(|e| self.expr(e)).collect();
                match items.len() {
                    1 => ExprKind::Group(Box::new(items.remove(0))),
                    _ => ExprKind::Tuple(items),
                }
            }
        };
        Expr { span, kind }
    }

    fn list(&mut self, pair: P<'a>) -> ExprKind {
        let mut items = Vec::new();
        for part in pair.inner() {
            if part.as_rule() != Rule::comprehension {
                items.push(self.expr(part));
                continue;
            }
            let (mut pattern, mut tuple, mut source, mut condition) = (Vec::new(), false, None, None);
            for clause in part.inner() {
                match clause.as_rule() {
                    Rule::pattern => {
                        tuple = clause.as_str().starts_with('(');
                        pattern = clause.inner().map(|n| self.name(&n)).collect();
                    }
                    Rule::comprehension_if => condition = self.next_expr(&mut clause.inner()),
                    _ => source = Some(self.expr(clause)),
                }
            }
            if let (Some(body), Some(source)) = (items.pop(), source) {
                return ExprKind::Comprehension(Box::new(Comprehension { body, pattern, tuple, source, condition }));
            }
        }
        ExprKind::List(items)
    }

    // ------------------------------------------------------------ literals

    fn number(&mut self, pair: P<'a>) -> ExprKind {
        let span = self.span(&pair);
        let mut inner = pair.inner();
        let digits = inner.next().map_or(String::new(), |m| m.as_str().replace('_', ""));
        let unit = inner.next().map(|u| self.name(&u));
        let real = digits.contains(['.', 'e', 'E']);
        let value = if real { None } else { digits.parse().ok().map(NumberValue::Int) };
        let value = value.unwrap_or_else(|| {
            let value: f64 = digits.parse().unwrap_or(f64::INFINITY);
            if !real || !value.is_finite() {
                let (what, limit) = if real { ("real", "1.8e308") } else { ("int", "9223372036854775807") };
                let d = Diagnostic::error(Code::E0118, span, format!("`{digits}` is too large for `{what}`"), "out of range");
                let d = d.note(format!("the largest `{what}` is {limit}"));
                self.diagnostics.push(if real { d } else { d.help(format!("for a real number, write `{digits}.0`")) });
            }
            NumberValue::Real(value)
        });
        ExprKind::Number(Number { value, unit })
    }

    /// The content of a text literal, its escapes resolved.
    fn text(&mut self, pair: P<'a>) -> String {
        let Some(kind) = pair.inner().next() else { return String::new() };
        let long = kind.as_rule() == Rule::long_text;
        let Some(chars) = kind.inner().next() else { return String::new() };
        let raw = chars.as_str();
        let start = self.offset + chars.as_span().start();
        // A long text may begin on the line after its mark.
        let skipped = if long { raw.len() - raw.trim_start_matches('\r').strip_prefix('\n').unwrap_or(raw).len() } else { 0 };
        let raw = raw.get(skipped..).unwrap_or("");
        if !raw.contains('\\') {
            return raw.to_owned();
        }
        let mut out = String::with_capacity(raw.len());
        let mut chars = raw.char_indices();
        while let Some((at, c)) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next().map(|(_, e)| e) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('0') => out.push('\0'),
                Some(e @ ('"' | '\\')) => out.push(e),
                Some('\n') if long => {}
                other => {
                    let length = 1 + other.map_or(0, char::len_utf8);
                    let span = Span::new(self.file, start + skipped + at, start + skipped + at + length);
                    let shown: String = other.into_iter().collect();
                    let d = Diagnostic::error(Code::E0119, span, format!("`\\{shown}` is not an escape"), "unknown escape");
                    self.diagnostics.push(d.help("write `\\\\` for a backslash; there are `\\n \\t \\r \\0 \\\" \\\\`"));
                }
            }
        }
        out
    }
}

/// Operands and operators of a flat `binary` pair.
struct Climb<'a> {
    operands: std::vec::IntoIter<Operand<'a>>,
    operators: Vec<(BinaryOp, Span)>,
    next: usize,
}

/// An operand with the signs before it, the nearest first.
struct Operand<'a> {
    prefixes: Vec<P<'a>>,
    core: Option<P<'a>>,
}

impl<'a> Operand<'a> {
    fn new(pair: P<'a>) -> Self {
        let mut parts: Vec<P<'a>> = pair.inner().collect();
        let core = parts.pop();
        parts.reverse();
        Self { prefixes: parts, core }
    }
}

/// How tightly an operator binds, and the least binding that its right operand takes.
fn binding(op: BinaryOp) -> (u8, u8) {
    use BinaryOp::*;
    match op {
        Or => (1, 2),
        And => (2, 3),
        Eq | Ne | Lt | Le | Gt | Ge => (4, 5),
        Range | RangeIncl => (5, 6),
        Add | Sub => (6, 7),
        Mul | Div => (7, 8),
        Pow => (9, 9),
    }
}
