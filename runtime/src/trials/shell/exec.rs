//! Runs lists, pipelines and compound commands.

use super::ast::{AndOr, ArmEnd, Assign, Assigned, CaseArm, Command, Kind, List, Pipeline, Word};
use super::parse::{Fault, Parser};
use super::state::{Flow, Run, Shell, Stream, Value, Var, show};
use super::{Stopped, builtins, tools};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

impl Shell {
    /// Runs a text line by line, as bash reads it.
    pub(crate) fn run_text(&mut self, text: &[u8], first_line: usize) -> Run {
        let mut parser = Parser::new(text, first_line, self.limits.depth);
        self.status = 0;
        loop {
            let list = match parser.next_line() {
                Ok(list) => list,
                Err(fault) => return self.parse_fault(fault),
            };
            if list.is_empty() {
                return Ok(self.status);
            }
            match self.run_list(&list) {
                Err(Flow::Abandon) => {
                    self.status = 1;
                    if self.env.settings.errexit {
                        return Err(Flow::Exit(1));
                    }
                }
                other => {
                    other?;
                }
            }
        }
    }

    fn parse_fault(&mut self, fault: Fault) -> Run {
        self.status = 2;
        match fault {
            Fault::Depth => return Err(Flow::Stop(Stopped::Depth)),
            Fault::Syntax(message, line) => self.warn(&format!("bash: -c: line {line}: {message}"))?,
            Fault::Lacking(what, line) => {
                self.lack(&format!("syntax: {what}"));
                self.warn(&format!("bash: -c: line {line}: this shell does not have {what}"))?;
            }
        }
        Err(Flow::Exit(2))
    }

    pub(crate) fn run_list(&mut self, list: &List) -> Run {
        for and_or in list {
            self.charge(1)?;
            if and_or.background {
                // Nothing runs beside anything here: what is put in the background runs now.
                self.subshell(|shell| shell.run_and_or(and_or))?;
                self.status = 0;
            } else {
                self.status = self.run_and_or(and_or)?;
            }
        }
        Ok(self.status)
    }

    fn run_and_or(&mut self, and_or: &AndOr) -> Run {
        let mut last = &and_or.first;
        let mut left = and_or.rest.len();
        self.status = self.run_link(&and_or.first, left > 0)?;
        for (and, pipeline) in &and_or.rest {
            left -= 1;
            if *and == (self.status == 0) {
                self.status = self.run_link(pipeline, left > 0)?;
                last = pipeline;
            } else if left == 0 {
                return Ok(self.status);
            }
        }
        if self.env.settings.errexit && self.status != 0 && self.conditions == 0 && !last.negate {
            return Err(Flow::Exit(self.status));
        }
        Ok(self.status)
    }

    fn run_link(&mut self, pipeline: &Pipeline, condition: bool) -> Run {
        let quiet = condition || pipeline.negate;
        self.conditions += usize::from(quiet);
        let status = self.run_pipeline(pipeline);
        self.conditions -= usize::from(quiet);
        let status = status?;
        Ok(if pipeline.negate { i32::from(status == 0) } else { status })
    }

    fn run_pipeline(&mut self, pipeline: &Pipeline) -> Run {
        let [stages @ .., (last, _)] = pipeline.stages.as_slice() else { return Ok(0) };
        if stages.is_empty() {
            return self.run_command(last);
        }
        let mut statuses = Vec::new();
        let mut input = None;
        for (stage, with_errors) in stages {
            let (status, next) = self.run_stage(stage, *with_errors, input)?;
            statuses.push(status);
            input = Some(next);
        }
        let status = self.subshell(|shell| {
            shell.env.fds.extend(input.map(|stream| (0, Rc::new(RefCell::new(stream)))));
            shell.run_command(last)
        })?;
        statuses.push(status);
        let failed = statuses.iter().rev().find(|status| **status != 0);
        let all: BTreeMap<usize, Vec<u8>> =
            statuses.iter().enumerate().map(|(at, status)| (at, status.to_string().into_bytes())).collect();
        self.env.vars.insert(b"PIPESTATUS".to_vec(), Var { value: Some(Value::List(all)), ..Var::default() });
        Ok(if self.env.settings.pipefail { failed.copied().unwrap_or(0) } else { status })
    }

    /// Runs a stage that is not the last on half of the steps left; gives what it sent down the pipe.
    fn run_stage(&mut self, stage: &Command, with_errors: bool, input: Option<Stream>) -> Run<(i32, Stream)> {
        let pipe = Rc::new(RefCell::new(Stream::Buffer { bytes: Vec::new(), pipe: true }));
        let out = Rc::clone(&pipe);
        let floor = self.floor;
        self.floor += self.steps.saturating_sub(floor) / 2;
        let depth = self.depth;
        let ended = self.subshell(|shell| {
            if with_errors {
                shell.env.fds.insert(2, Rc::clone(&out));
            }
            shell.env.fds.insert(1, out);
            shell.env.fds.extend(input.map(|stream| (0, Rc::new(RefCell::new(stream)))));
            shell.run_command(stage)
        });
        let spent = self.steps <= self.floor;
        self.floor = floor;
        self.depth = depth;
        let (status, cut) = match ended {
            Ok(status) => (status, None),
            Err(Flow::Cut) => (141, Some(if spent { Stopped::Steps } else { Stopped::OutputBytes })),
            Err(flow) => return Err(flow),
        };
        let bytes = match &mut *pipe.borrow_mut() {
            Stream::Buffer { bytes, .. } => std::mem::take(bytes),
            _ => Vec::new(),
        };
        Ok((status, Stream::Input { data: Arc::new(bytes), at: 0, cut }))
    }

    /// Runs `work` on a copy of the variables, functions, directory and descriptors.
    pub(crate) fn subshell(&mut self, work: impl FnOnce(&mut Self) -> Run) -> Run {
        let weight: usize = self.env.vars.values().map(weight).sum();
        self.charge(2 + weight as u64 / 64)?;
        let saved = self.env.clone();
        let conditions = self.conditions;
        let ended = self.nested(work);
        self.env = saved;
        self.conditions = conditions;
        match ended {
            Ok(status) | Err(Flow::Exit(status) | Flow::Return(status)) => Ok(status),
            Err(Flow::Break(_) | Flow::Continue(_)) => Ok(0),
            Err(Flow::Abandon) => Ok(1),
            Err(flow @ (Flow::Stop(_) | Flow::Cut)) => Err(flow),
        }
    }

    pub(crate) fn run_command(&mut self, command: &Command) -> Run {
        self.charge(1)?;
        self.line = command.line;
        let processes = self.processes;
        let fds = if command.redirects.is_empty() { None } else { Some(self.env.fds.clone()) };
        let ended = self.redirected(command);
        if let Some(fds) = fds {
            let keep = matches!(&command.kind, Kind::Simple { words, .. } if is_exec(words));
            if !keep {
                self.env.fds = fds;
            }
        }
        if self.processes > processes {
            self.drop_process_files(processes);
        }
        ended
    }

    fn redirected(&mut self, command: &Command) -> Run {
        if let Kind::Simple { assigns, words } = &command.kind {
            return self.run_simple(assigns, words, &command.redirects);
        }
        for redirect in &command.redirects {
            if !self.redirect(redirect)? {
                return Ok(1);
            }
        }
        self.nested(|shell| shell.run_kind(&command.kind))
    }

    fn run_kind(&mut self, kind: &Kind) -> Run {
        match kind {
            Kind::Simple { .. } => Ok(0),
            Kind::Group(list) => self.run_list(list),
            Kind::Subshell(list) => {
                let status = self.subshell(|shell| shell.run_list(list))?;
                self.status = status;
                Ok(status)
            }
            Kind::If { arms, other } => self.run_if(arms, other.as_ref()),
            Kind::For { name, words, body } => self.run_for(name, words.as_deref(), body),
            Kind::CountedFor { start, condition, step, body } => {
                self.arithmetic_word(start)?;
                self.run_loop(
                    body,
                    |shell| {
                        let text = shell.expand_text(condition)?;
                        Ok(text.iter().all(u8::is_ascii_whitespace) || shell.arithmetic(&text)? != 0)
                    },
                    |shell| shell.arithmetic_word(step).map(|_| ()),
                )
            }
            Kind::While { until, condition, body } => {
                self.run_loop(body, |shell| Ok((shell.condition(condition)? == 0) != *until), |_| Ok(()))
            }
            Kind::Case { word, arms } => self.run_case(word, arms),
            Kind::Arith(word) => Ok(i32::from(
                match self.arithmetic_word(word) {
                    Err(Flow::Abandon) => return Ok(1),
                    value => value?,
                } == 0,
            )),
            Kind::Test(test) => self.run_test(test).map(|yes| i32::from(!yes)),
            Kind::Function { name, body } => {
                self.env.functions.insert(name.clone(), Rc::clone(body));
                Ok(0)
            }
        }
    }

    fn condition(&mut self, list: &List) -> Run {
        self.conditions += 1;
        let status = self.run_list(list);
        self.conditions -= 1;
        status
    }

    fn run_if(&mut self, arms: &[(List, List)], other: Option<&List>) -> Run {
        for (condition, body) in arms {
            if self.condition(condition)? == 0 {
                return self.run_list(body);
            }
        }
        match other {
            Some(body) => self.run_list(body),
            None => Ok(0),
        }
    }

    fn run_for(&mut self, name: &[u8], words: Option<&[Word]>, body: &List) -> Run {
        let values = match words {
            Some(words) => self.expand_words(words)?,
            None => self.env.params.clone(),
        };
        let mut values = values.into_iter();
        self.run_loop(
            body,
            |shell| match values.next() {
                Some(value) => shell.assign(name, value),
                None => Ok(false),
            },
            |_| Ok(()),
        )
    }

    fn run_loop(
        &mut self,
        body: &List,
        mut more: impl FnMut(&mut Self) -> Run<bool>,
        mut step: impl FnMut(&mut Self) -> Run<()>,
    ) -> Run {
        let mut status = 0;
        self.env.loops += 1;
        let ended = loop {
            match self.charge(1).and_then(|()| more(self)) {
                Ok(true) => {}
                Ok(false) => break Ok(status),
                Err(Flow::Break(_)) => break Ok(status),
                Err(flow) => break Err(flow),
            }
            match self.run_list(body) {
                Ok(last) => status = last,
                Err(Flow::Break(levels)) if levels > 1 => break Err(Flow::Break(levels - 1)),
                Err(Flow::Break(_)) => break Ok(0),
                Err(Flow::Continue(levels)) if levels > 1 => break Err(Flow::Continue(levels - 1)),
                Err(Flow::Continue(_)) => status = 0,
                Err(flow) => break Err(flow),
            }
            if let Err(flow) = step(self) {
                break Err(flow);
            }
        };
        self.env.loops = self.env.loops.saturating_sub(1);
        ended
    }

    fn run_case(&mut self, word: &Word, arms: &[CaseArm]) -> Run {
        let text = self.expand_text(word)?;
        let fold = self.env.settings.nocasematch;
        let mut status = 0;
        let mut fall = false;
        for arm in arms {
            let mut fits = fall;
            for pattern in &arm.patterns {
                self.charge(1 + text.len() as u64 / 64)?;
                fits = fits || self.expand_pattern(pattern)?.matches_folding(&text, fold);
            }
            if !fits {
                continue;
            }
            self.status = 0;
            status = self.run_list(&arm.body)?;
            match arm.end {
                ArmEnd::Leave => return Ok(status),
                ArmEnd::FallThrough => fall = true,
                ArmEnd::TestNext => fall = false,
            }
        }
        Ok(status)
    }

    fn run_simple(&mut self, assigns: &[Assign], words: &[Word], redirects: &[super::ast::Redirect]) -> Run {
        let before = self.status;
        self.status = 0;
        let substituted = !assigns.is_empty();
        if !words.is_empty() {
            self.status = before;
        }
        let args = self.expand_words(words)?;
        for redirect in redirects {
            if !self.redirect(redirect)? {
                return Ok(1);
            }
        }
        if args.is_empty() {
            for assign in assigns {
                self.run_assign(assign)?;
            }
            return Ok(if substituted || words.is_empty() || self.status != before { self.status } else { 0 });
        }
        if self.env.settings.xtrace {
            self.warn(&format!("+ {}", show(&args.join(&b' '))))?;
        }
        let mut hidden: BTreeMap<Vec<u8>, Option<Var>> = BTreeMap::new();
        for assign in assigns {
            let old = self.env.vars.get(&assign.name).cloned();
            hidden.entry(assign.name.clone()).or_insert(old);
            self.run_assign(assign)?;
            if let Some(var) = self.env.vars.get_mut(&assign.name) {
                var.exported = true;
            }
        }
        self.status = before;
        let ended = self.dispatch(&args, words);
        for (name, old) in hidden {
            match old {
                Some(var) => self.env.vars.insert(name, var),
                None => self.env.vars.remove(&name),
            };
        }
        ended
    }

    pub(crate) fn run_assign(&mut self, assign: &Assign) -> Run<()> {
        match &assign.value {
            Assigned::Array(items) => self.assign_array(&assign.name, items, assign.append),
            Assigned::Text(word) => {
                let text = self.expand_assigned(word)?;
                if let Some(index) = &assign.index {
                    let index = self.expand_text(index)?;
                    return self.assign_element(&assign.name, &index, text, assign.append);
                }
                let integer = self.env.vars.get(&assign.name).is_some_and(|var| var.integer);
                let text = match self.text_of(&assign.name).filter(|_| assign.append) {
                    Some(old) if integer => [old, text].join(&b'+'),
                    Some(old) => [old, text].concat(),
                    None => text,
                };
                if self.assign(&assign.name, text)? { Ok(()) } else { Err(Flow::Abandon) }
            }
        }
    }

    /// Runs a function, a builtin or a tool.
    fn dispatch(&mut self, args: &[Vec<u8>], words: &[Word]) -> Run {
        let Some(name) = args.first() else { return Ok(0) };
        if let Some(body) = self.env.functions.get(name).cloned() {
            return self.call(&body, &args[1..]);
        }
        if let Some(declare) = builtins::declarer(name) {
            return declare(self, args, words);
        }
        self.run_args(args)
    }

    /// Runs a command that is no function.
    pub(crate) fn run_args(&mut self, args: &[Vec<u8>]) -> Run {
        let Some(name) = args.first() else { return Ok(0) };
        // Long paths take long to walk, from a deep directory too.
        let length: usize = args.iter().map(Vec::len).sum();
        self.charge((self.env.cwd.len() + length) as u64 / 8)?;
        if let Some(builtin) = builtins::find(name) {
            return builtin(self, args);
        }
        self.run_tool(args)
    }

    /// Runs a tool or a file, never a function or builtin: what `find -exec` and `xargs` do.
    pub(crate) fn run_tool(&mut self, args: &[Vec<u8>]) -> Run {
        self.charge(1)?;
        let Some(name) = args.first() else { return Ok(0) };
        let base = [b"/bin/".as_slice(), b"/usr/bin/"].iter().find_map(|start| name.strip_prefix(*start));
        if let Some(tool) = tools::find(base.unwrap_or(name)) {
            return self.nested(|shell| tool(shell, args));
        }
        if name.contains(&b'/') {
            return self.run_file(name, args);
        }
        if let Some(why) = tools::refused(name) {
            self.lack(&show(name));
            self.warn(&format!("{}: {why}", show(name)))?;
            return Ok(127);
        }
        self.lack(&show(name));
        self.complain(&format!("{}: command not found", show(name)))?;
        Ok(127)
    }

    fn run_file(&mut self, name: &[u8], args: &[Vec<u8>]) -> Run {
        let text = self.files.find(&self.env.cwd, name, true).and_then(|id| {
            let mode = self.files.node(id).map_or(0, |node| node.mode);
            let bytes = self.files.bytes_of(id)?;
            if mode & 0o100 == 0 { Err(super::files::Errno::Denied) } else { Ok(bytes) }
        });
        match text {
            Ok(text) => self.run_script(name, &text, &args[1..]),
            Err(errno) => {
                self.complain(&format!("{}: {}", show(name), errno.text()))?;
                Ok(if errno == super::files::Errno::Missing { 127 } else { 126 })
            }
        }
    }

    /// Runs a text as a script of its own.
    pub(crate) fn run_script(&mut self, name: &[u8], text: &[u8], params: &[Vec<u8>]) -> Run {
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if first.starts_with(b"#!") && !first.ends_with(b"sh") && !first.windows(3).any(|part| part == b"sh ") {
            self.lack(&format!("interpreter {}", show(&first[2..])));
            self.complain(&format!("{}: cannot execute: required file not found", show(name)))?;
            return Ok(127);
        }
        let (name, params) = (name.to_vec(), params.to_vec());
        self.subshell(|shell| {
            shell.env.vars.retain(|name, var| var.exported || name == b"IFS" || name == b"OPTIND");
            shell.env.functions.clear();
            shell.env.settings = super::state::Settings::default();
            shell.env.locals.clear();
            shell.env.loops = 0;
            shell.conditions = 0;
            shell.env.name = name;
            shell.env.params = params;
            shell.run_text(text, 1)
        })
    }

    fn call(&mut self, body: &Rc<Command>, params: &[Vec<u8>]) -> Run {
        let params = std::mem::replace(&mut self.env.params, params.to_vec());
        let loops = std::mem::take(&mut self.env.loops);
        self.env.locals.push(BTreeMap::new());
        let ended = self.nested(|shell| shell.run_command(body));
        self.env.params = params;
        self.env.loops = loops;
        for (name, old) in self.env.locals.pop().unwrap_or_default() {
            match old {
                Some(var) => self.env.vars.insert(name, var),
                None => self.env.vars.remove(&name),
            };
        }
        match ended {
            Err(Flow::Return(status)) => Ok(status),
            other => other,
        }
    }
}

fn is_exec(words: &[Word]) -> bool {
    matches!(words, [word] if matches!(word.as_slice(), [super::ast::Part::Bare(name)] if name == b"exec"))
}

fn weight(var: &Var) -> usize {
    match &var.value {
        Some(Value::Text(text)) => text.len(),
        Some(Value::List(items)) => items.values().map(|item| item.len() + 16).sum(),
        Some(Value::Map(items)) => items.iter().map(|(key, item)| key.len() + item.len() + 16).sum(),
        None => 0,
    }
}
