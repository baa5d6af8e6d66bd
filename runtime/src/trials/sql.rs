//! Queries that a model wrote, tried on an SQLite database in memory.
//!
//! A query reads and does nothing else: SQLite's authorizer refuses whatever writes, attaches, sets or asks for chance or the time,
//! when the query is compiled; its machine is stopped after so many steps; rows, cells and expressions have their limits. Two
//! queries agree if they give the same rows: as many columns, whatever their names; whole numbers exactly, others to ten digits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use evo_stdlib::task::{Order, TrialLimits, Verdict};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, ErrorCode};

/// Bytes of a text or blob.
const CELL: i32 = 1 << 20;
/// Steps of SQLite's machine between two looks at the budget.
const STRIDE: u64 = 1000;

/// A cell, so that equal ones compare equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Null,
    Number(String),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// Tries a query on a database that `setup` makes: its rows must be those of `expected`.
pub(super) fn try_query(query: &str, setup: &str, expected: &str, order: Order, limits: &TrialLimits) -> Verdict {
    let mut database = match Database::new(limits) {
        Ok(database) => database,
        Err(error) => return Verdict::Unfit(format!("SQLite cannot be opened: {error}")),
    };
    if let Err(why) = database.make(setup) {
        return Verdict::Unfit(format!("the statements that make the database: {why}"));
    }
    database.close();
    let mut right = match database.rows(expected) {
        Ok(rows) => rows,
        Err(why) => return Verdict::Unfit(format!("the expected query: {why}")),
    };
    let mut found = match database.rows(query) {
        Ok(rows) => rows,
        Err(why) => return Verdict::Failed(why),
    };
    let is_ordered = match order {
        Order::Auto => is_ordered(expected),
        Order::Kept => true,
        Order::Any => false,
    };
    if !is_ordered {
        right.sort();
        found.sort();
    }
    if found == right {
        return Verdict::Passed;
    }
    let width = |rows: &[Vec<Cell>]| rows.first().map_or(0, Vec::len);
    Verdict::Failed(if found.len() != right.len() {
        format!("{} rows, where {} are right", found.len(), right.len())
    } else if width(&found) != width(&right) {
        format!("{} columns, where {} are right", width(&found), width(&right))
    } else {
        "other rows than the right ones".into()
    })
}

/// A database in memory, with what it is held to.
struct Database {
    connection: Connection,
    /// Steps that are left.
    left: Arc<AtomicU64>,
    /// What was refused last.
    refused: Arc<Mutex<Option<String>>>,
    limits: TrialLimits,
}

impl Database {
    fn new(limits: &TrialLimits) -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        let most = [
            (Limit::SQLITE_LIMIT_LENGTH, CELL),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, CELL),
            (Limit::SQLITE_LIMIT_COLUMN, 500),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
            (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
            (Limit::SQLITE_LIMIT_FUNCTION_ARG, 64),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 32),
        ];
        for (limit, value) in most {
            connection.set_limit(limit, value)?;
        }
        let left = Arc::new(AtomicU64::new(limits.steps));
        let count = left.clone();
        connection.progress_handler(
            STRIDE as i32,
            Some(move || {
                let before = count.load(Ordering::Relaxed);
                count.store(before.saturating_sub(STRIDE), Ordering::Relaxed);
                before == 0
            }),
        );
        let refused = Arc::new(Mutex::new(None));
        let database = Self { connection, left, refused, limits: *limits };
        // What makes the database may write, and reach for nothing beyond it.
        database.allow(|action| match action {
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some("attaches a database"),
            AuthAction::Pragma { .. } => Some("sets a pragma"),
            AuthAction::CreateVtable { .. } => Some("makes a virtual table"),
            AuthAction::Function { function_name } => is_unsure(function_name),
            _ => None,
        });
        Ok(database)
    }

    /// Sets what is refused: `why` tells it in words.
    fn allow(&self, why: impl Fn(&AuthAction<'_>) -> Option<&'static str> + Send + 'static) {
        let refused = self.refused.clone();
        self.connection.authorizer(Some(move |context: AuthContext<'_>| match why(&context.action) {
            None => Authorization::Allow,
            Some(what) => {
                *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("it {what}"));
                Authorization::Deny
            }
        }));
    }

    /// Runs statements.
    fn make(&self, statements: &str) -> Result<(), String> {
        let mut batch = Batch::new(&self.connection, statements);
        loop {
            let step = batch.next().and_then(|statement| match statement {
                Some(mut statement) => {
                    let mut rows = statement.raw_query();
                    while rows.next()?.is_some() {}
                    Ok(true)
                }
                None => Ok(false),
            });
            match step {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(self.why(&error)),
            }
        }
    }

    /// From here on, what is not a pure reading is refused.
    fn close(&self) {
        self.allow(|action| match action {
            AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => None,
            AuthAction::Function { function_name } => is_unsure(function_name),
            AuthAction::Attach { .. } => Some("attaches a database"),
            AuthAction::Pragma { .. } => Some("reads or sets a pragma"),
            _ => Some("does more than read"),
        });
    }

    /// The rows of one query.
    fn rows(&mut self, query: &str) -> Result<Vec<Vec<Cell>>, String> {
        self.left.store(self.limits.steps, Ordering::Relaxed);
        if asks_for_now(query) {
            return Err("it asks for the time, so that its rows would not be the same again".into());
        }
        let failed = |error| self.why(&error);
        let mut batch = Batch::new(&self.connection, query);
        let mut statement = batch.next().map_err(failed)?.ok_or("there is no query")?;
        let width = statement.column_count();
        if width == 0 {
            return Err("it gives no rows".into());
        }
        if batch.next().map_err(failed)?.is_some() {
            return Err("it is more than one statement".into());
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(failed)? {
            if found.len() as u64 == self.limits.rows {
                return Err(format!("it gives more than {} rows", self.limits.rows));
            }
            let cells = (0..width).map(|i| row.get_ref(i).map(cell)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
            bytes += cells.iter().map(Cell::bytes).sum::<u64>();
            if bytes > self.limits.output {
                return Err(format!("it gives more than {} bytes", self.limits.output));
            }
            found.push(cells);
        }
        Ok(found)
    }

    fn why(&self, error: &rusqlite::Error) -> String {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (refused, error.sqlite_error_code()) {
            (Some(refused), _) => refused,
            (_, Some(ErrorCode::OperationInterrupted)) => format!("it takes more than {} steps", self.limits.steps),
            _ => error.to_string(),
        }
    }
}

impl Cell {
    fn bytes(&self) -> u64 {
        match self {
            Cell::Null => 8,
            Cell::Number(text) => text.len() as u64,
            Cell::Text(bytes) | Cell::Blob(bytes) => bytes.len() as u64,
        }
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Number(number.to_string()),
        // A real that is whole is the whole number; beyond 2^53 there is no telling.
        ValueRef::Real(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
            Cell::Number((number as i64).to_string())
        }
        ValueRef::Real(number) => Cell::Number(format!("{number:.9e}")),
        ValueRef::Text(text) => Cell::Text(text.to_vec()),
        ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
    }
}

/// Functions that do not give the same again, or reach out of the database.
fn is_unsure(function: &str) -> Option<&'static str> {
    match function.to_ascii_lowercase().as_str() {
        "random" | "randomblob" => Some("asks for chance, so that its rows would not be the same again"),
        "current_date" | "current_time" | "current_timestamp" => {
            Some("asks for the time, so that its rows would not be the same again")
        }
        "load_extension" | "fts3_tokenizer" => Some("loads code"),
        _ => None,
    }
}

/// A word, a quoted text or a sign of a query, without comments.
#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(query: &str) -> Vec<Token> {
    let mut chars = query.chars().peekable();
    let mut found = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            '-' if chars.peek() == Some(&'-') => while chars.next().is_some_and(|c| c != '\n') {},
            '/' if chars.peek() == Some(&'*') => {
                let mut last = ' ';
                chars.next();
                while let Some(c) = chars.next().filter(|c| !(last == '*' && *c == '/')) {
                    last = c;
                }
            }
            '\'' | '"' | '`' | '[' => {
                let close = if c == '[' { ']' } else { c };
                let text: String = chars.by_ref().take_while(|c| *c != close).collect();
                found.push(if c == '\'' { Token::Text(text) } else { Token::Word(text.to_ascii_lowercase()) });
            }
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                found.push(Token::Word(word.to_ascii_lowercase()));
            }
            c if c.is_whitespace() => {}
            c => found.push(Token::Sign(c)),
        }
    }
    found
}

/// Whether a query's own rows have an order: an `ORDER BY` outside all parentheses.
fn is_ordered(query: &str) -> bool {
    let (mut depth, mut last) = (0, None);
    for token in tokens(query) {
        match &token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth -= 1,
            Token::Word(word) if word == "by" && depth == 0 && last == Some(Token::Word("order".into())) => {
                return true;
            }
            _ => {}
        }
        last = Some(token);
    }
    false
}

/// Whether a query has a time function read the clock: with the text `now`, or with no argument.
fn asks_for_now(query: &str) -> bool {
    const CLOCKS: [&str; 6] = ["date", "time", "datetime", "julianday", "unixepoch", "strftime"];
    let found = tokens(query);
    let is_clock = |token: &Token| matches!(token, Token::Word(word) if CLOCKS.contains(&word.as_str()));
    let is_bare = |three: &[Token]| matches!(three, [name, Token::Sign('('), Token::Sign(')')] if is_clock(name));
    let has_now =
        found.iter().any(|token| matches!(token, Token::Text(text) if text.trim().eq_ignore_ascii_case("now")));
    found.windows(3).any(is_bare) || (has_now && found.iter().any(is_clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, price REAL);
        INSERT INTO goods VALUES (1, 'tea', 2.5), (2, 'rice', 1.0), (3, 'salt', 0.1 + 0.2);";

    fn tried(query: &str, expected: &str) -> Verdict {
        try_query(query, SHOP, expected, Order::Auto, &TrialLimits::default())
    }

    fn why(query: &str) -> String {
        match tried(query, "SELECT 1") {
            Verdict::Failed(why) => why,
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn queries_agree_by_their_rows() {
        for (query, expected, passes) in [
            ("select name from goods", "SELECT name FROM goods ORDER BY id DESC", false),
            ("select name from goods order by 1", "SELECT name FROM goods", true),
            ("select name as n from goods order by id desc;", "SELECT name FROM goods ORDER BY id DESC", true),
            ("select 0.3, 1.0 -- a remark", "SELECT price, 1 FROM goods WHERE id = 3", true),
            ("select 9007199254740993", "SELECT 9007199254740992", false),
            ("select null", "SELECT ''", false),
            ("select '1'", "SELECT 1", false),
            ("select name, name from goods", "SELECT name FROM goods", false),
            ("select name from goods union all select name from goods", "SELECT name FROM goods", false),
            ("with t as (select 1 as a) select a from t", "VALUES (1)", true),
        ] {
            assert_eq!(tried(query, expected) == Verdict::Passed, passes, "{query}");
        }
        let any = try_query(
            "select 2 union all select 1",
            SHOP,
            "SELECT * FROM (VALUES (1), (2)) ORDER BY 1",
            Order::Any,
            &TrialLimits::default(),
        );
        assert_eq!(any, Verdict::Passed);
    }

    #[test]
    fn only_reading_is_let_through() {
        for (query, reason) in [
            ("delete from goods", "does more than read"),
            ("insert into goods values (9, 'x', 1) returning id", "does more than read"),
            ("create table t (a)", "does more than read"),
            ("attach database '/tmp/evo-attached.db' as x", "attaches a database"),
            ("vacuum into '/tmp/evo-vacuum.db'", "no rows"),
            ("pragma table_info(goods)", "pragma"),
            ("select * from pragma_table_info('goods')", "a pragma"),
            ("select load_extension('x')", "loads code"),
            ("select random()", "chance"),
            ("select current_timestamp", "the time"),
            ("select date('now')", "the time"),
            ("select strftime('%Y', ' NOW ')", "the time"),
            ("select julianday()", "the time"),
            ("select 1; drop table goods", "more than read"),
            ("select 1; select 2", "more than one statement"),
            ("", "no query"),
            ("-- nothing", "no query"),
            ("selekt 1", "syntax error"),
            ("select colour from goods", "no such column"),
            ("begin", "more than read"),
        ] {
            assert!(why(query).contains(reason), "{query}: {}", why(query));
        }
        assert!(!std::path::Path::new("/tmp/evo-attached.db").exists());
        assert!(!std::path::Path::new("/tmp/evo-vacuum.db").exists());
    }

    #[test]
    fn what_does_not_end_is_stopped() {
        let endless = "with recursive t(n) as (select 1 union all select n + 1 from t)";
        for (query, reason) in [
            (format!("{endless} select count(*) from t"), "steps"),
            (format!("{endless} select n from t"), "rows"),
            (
                "select a.id from goods a, goods b, goods c, goods d, goods e, goods f, goods g, goods h, goods i"
                    .into(),
                "rows",
            ),
            ("select zeroblob(100000000)".into(), "too big"),
            ("select replace(hex(zeroblob(500000)), '0', 'ab')".into(), "too big"),
            (format!("select {}1", "- ".repeat(2000)), "too large"),
            (format!("select {}", ["zeroblob(999999)"; 3].join(", ")), "bytes"),
            (format!("{endless} select group_concat(n) from t"), "steps"),
        ] {
            assert!(why(&query).contains(reason), "{query}: {}", why(&query));
        }
    }

    #[test]
    fn a_trial_that_cannot_be_passed_says_so() {
        let unfit = |setup, expected| try_query("select 1", setup, expected, Order::Auto, &TrialLimits::default());
        assert!(matches!(unfit("create tabel", "select 1"), Verdict::Unfit(why) if why.contains("make the database")));
        assert!(matches!(unfit("attach 'x.db' as y", "select 1"), Verdict::Unfit(why) if why.contains("attaches")));
        assert!(matches!(unfit("vacuum into '/tmp/evo-vacuum.db'", "select 1"), Verdict::Unfit(_)));
        assert!(!std::path::Path::new("/tmp/evo-vacuum.db").exists());
        assert!(matches!(unfit("", "select a from b"), Verdict::Unfit(why) if why.contains("expected query")));
    }

    #[test]
    fn an_order_is_one_outside_parentheses() {
        assert!(is_ordered("select a from (select b) Order  BY a"));
        assert!(!is_ordered("select a from (select b order by b)"));
        assert!(!is_ordered("select 'order by' from \"order\" -- order by"));
        assert!(!asks_for_now("select time, date from flights where date = '2024-01-01'"));
    }
}
