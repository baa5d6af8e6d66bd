//! What may be spent: reserved before a call by its worst case, settled after it by what it came to.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Money in US dollars, and tokens of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// US dollars.
    pub money: f64,
    /// Tokens.
    pub tokens: u64,
}

impl Amount {
    fn plus(self, more: Amount) -> Amount {
        Amount { money: self.money + more.money, tokens: self.tokens.saturating_add(more.tokens) }
    }

    fn minus(self, less: Amount) -> Amount {
        Amount { money: (self.money - less.money).max(0.0), tokens: self.tokens.saturating_sub(less.tokens) }
    }
}

/// A call does not fit into what is left.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Overspent {
    /// Too much money.
    #[error("the next call may cost {worst:.4} usd, and {left:.4} of {limit:.4} usd are left")]
    Money {
        /// What the call costs at worst.
        worst: f64,
        /// What is left.
        left: f64,
        /// The budget.
        limit: f64,
    },
    /// Too many tokens.
    #[error("the next call may take {worst} tokens, and {left} of {limit} are left")]
    Tokens {
        /// What the call takes at worst.
        worst: u64,
        /// What is left.
        left: u64,
        /// The budget.
        limit: u64,
    },
}

#[derive(Debug, Default)]
struct State {
    spent: Amount,
    held: Amount,
    /// Calls that hold a part of it.
    open: usize,
}

/// A budget that calls of many threads share.
#[derive(Debug, Default)]
pub struct Purse {
    /// The most US dollars, if there is a limit.
    money: Option<f64>,
    /// The most tokens, if there is a limit.
    tokens: Option<u64>,
    state: Mutex<State>,
    changed: Condvar,
}

/// A part of a purse that a call may use up; what it does not use goes back.
#[derive(Debug)]
pub struct Hold<'p> {
    purse: &'p Purse,
    worst: Amount,
    actual: Amount,
}

impl Purse {
    /// A budget of which `spent` is spent already.
    pub fn new(money: Option<f64>, tokens: Option<u64>, spent: Amount) -> Purse {
        let state = Mutex::new(State { spent, ..State::default() });
        Purse { money, tokens, state, changed: Condvar::new() }
    }

    /// What has been spent.
    pub fn spent(&self) -> Amount {
        self.lock().spent
    }

    /// The most US dollars that may be spent, if there is a limit.
    pub fn limit(&self) -> Option<f64> {
        self.money
    }

    /// Sets `worst` aside. While open calls hold what this one needs, it waits for them: what they leave over may be enough, and only when
    /// nobody else is asking is it known that it is not.
    ///
    /// # Errors
    /// It does not fit into what is left.
    pub fn hold(&self, worst: Amount) -> Result<Hold<'_>, Overspent> {
        let mut state = self.lock();
        loop {
            match self.fits(state.spent.plus(state.held), worst) {
                Ok(()) => break,
                Err(_) if state.open > 0 && self.fits(state.spent, worst).is_ok() => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Err(_) => self.fits(state.spent, worst)?,
            }
        }
        state.held = state.held.plus(worst);
        state.open += 1;
        Ok(Hold { purse: self, worst, actual: Amount::default() })
    }

    fn fits(&self, used: Amount, worst: Amount) -> Result<(), Overspent> {
        if let Some(limit) = self.money
            && used.money + worst.money > limit
        {
            return Err(Overspent::Money { worst: worst.money, left: (limit - used.money).max(0.0), limit });
        }
        match self.tokens {
            Some(limit) if used.tokens.saturating_add(worst.tokens) > limit => {
                Err(Overspent::Tokens { worst: worst.tokens, left: limit.saturating_sub(used.tokens), limit })
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold<'_> {
    /// Adds what has really been used.
    pub fn use_up(&mut self, actual: Amount) {
        self.actual = self.actual.plus(actual);
    }

    /// What has been used so far.
    pub fn used(&self) -> Amount {
        self.actual
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut state = self.purse.lock();
        state.held = state.held.minus(self.worst);
        state.open = state.open.saturating_sub(1);
        state.spent = state.spent.plus(self.actual);
        if state.open == 0 {
            state.held = Amount::default(); // no crumbs of rounding stay held
        }
        self.purse.changed.notify_all();
    }
}
