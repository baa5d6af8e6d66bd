//! Expressions and literals.

use super::*;

impl<'a> Builder<'a> {
    /// Goes one level deeper; false, with a diagnostic, at the limit.
    pub(super) fn enter(&mut self, span: Span) -> bool {
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

    /// An expression: operands and operators side by side.
    pub(super) fn expr(&mut self, pair: P<'a>) -> Expr {
        let span = self.span(&pair);
        if !self.enter(span) {
            return Expr { span, kind: ExprKind::Error };
        }
        let mut operands = Vec::new();
        let mut operators = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::operand => operands.push(Operand::new(part)),
                _ => operators.extend(BinaryOp::of(part.as_str()).map(|op| (op, self.span(&part)))),
            }
        }
        let mut climb = Climb { operands: operands.into_iter(), operators, next: 0 };
        let expr = self.climb(&mut climb, 0, span);
        self.depth -= 1;
        expr
    }

    /// Precedence climbing: an operand and all operators that bind at least as tightly as `least`.
    fn climb(&mut self, c: &mut Climb<'a>, least: u8, span: Span) -> Expr {
        let Some(mut operand) = c.operands.next() else { return Expr { span, kind: ExprKind::Error } };
        let left = self.prefixed(c, &mut operand, span);
        self.climb_from(c, left, least, span)
    }

    fn prefixed(&mut self, c: &mut Climb<'a>, operand: &mut Operand<'a>, span: Span) -> Expr {
        let Some(prefix) = operand.prefixes.pop() else {
            return self.core(std::mem::take(&mut operand.parts), span);
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

    /// A primary expression with its tails, or with what makes it the parameters of a closure.
    fn core(&mut self, parts: Vec<P<'a>>, span: Span) -> Expr {
        let mut parts = parts.into_iter();
        let before = self.depth;
        let Some(first) = parts.next() else { return Expr { span, kind: ExprKind::Error } };
        let mut value = self.primary(first);
        for part in parts {
            if part.as_rule() == Rule::closure {
                return self.closure(value, part);
            }
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
        if matches!(&value.kind, ExprKind::Tuple(items) if items.is_empty()) {
            let d = Diagnostic::error(Code::E0101, value.span, "`()` holds no value", "a value belongs in here");
            self.diagnostics.push(d.help("write a value; a closure without parameters is `() => e`"));
            value.kind = ExprKind::Error;
        }
        value
    }

    fn closure(&mut self, head: Expr, pair: P<'a>) -> Expr {
        let span = head.span.to(self.span(&pair));
        let body = self.next_expr(&mut pair.inner()).unwrap_or(Expr { span, kind: ExprKind::Error });
        let name = |e: Expr| match e.kind {
            ExprKind::Name(text) => Some(Name { text, span: e.span }),
            _ => None,
        };
        let at = head.span;
        let names = match head.kind {
            ExprKind::Group(inner) => name(*inner).map(|n| vec![n]),
            ExprKind::Tuple(items) => items.into_iter().map(name).collect(),
            _ => name(head).map(|n| vec![n]),
        };
        let Some(names) = names else {
            let d = Diagnostic::error(Code::E0101, at, "the parameters of a closure are names", "not a name");
            self.diagnostics.push(d.help("write `x => e` or `(x, y) => e`"));
            return Expr { span, kind: ExprKind::Error };
        };
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
                let d = Diagnostic::error(
                    Code::E0118,
                    span,
                    format!("`{digits}` is too large for `{what}`"),
                    "out of range",
                );
                let d = d.note(format!("the largest `{what}` is {limit}"));
                self.diagnostics.push(match real {
                    true => d.help("write a smaller number"),
                    false => d.help(format!("for a real number, write `{digits}.0`")),
                });
            }
            NumberValue::Real(value)
        });
        ExprKind::Number(Number { value, unit })
    }

    /// The content of a text literal, its escapes resolved.
    pub(super) fn text(&mut self, pair: P<'a>) -> String {
        let Some(kind) = pair.inner().next() else { return String::new() };
        let long = kind.as_rule() == Rule::long_text;
        let Some(chars) = kind.inner().next() else { return String::new() };
        let raw = chars.as_str();
        let start = self.offset + chars.as_span().start();
        // A long text may begin on the line after its mark.
        let skipped =
            if long { raw.len() - raw.trim_start_matches('\r').strip_prefix('\n').unwrap_or(raw).len() } else { 0 };
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
                    let d =
                        Diagnostic::error(Code::E0119, span, format!("`\\{shown}` is not an escape"), "unknown escape");
                    self.diagnostics
                        .push(d.help("write `\\\\` for a backslash; there are `\\n \\t \\r \\0 \\\" \\\\`"));
                }
            }
        }
        out
    }
}

/// Operands and operators of a flat `expr` pair.
struct Climb<'a> {
    operands: std::vec::IntoIter<Operand<'a>>,
    operators: Vec<(BinaryOp, Span)>,
    next: usize,
}

/// An operand with the signs before it, the nearest first.
struct Operand<'a> {
    prefixes: Vec<P<'a>>,
    parts: Vec<P<'a>>,
}

impl<'a> Operand<'a> {
    fn new(pair: P<'a>) -> Self {
        let (mut prefixes, parts): (Vec<P<'a>>, Vec<P<'a>>) =
            pair.into_inner().partition(|p| p.as_rule() == Rule::prefix);
        prefixes.reverse();
        Self { prefixes, parts }
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
