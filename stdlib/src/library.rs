//! The library as a whole: all families, their declarations parsed once, and the host that answers the elaborator.

use std::sync::Arc;

use evo_lang::diag::Diagnostic;
use evo_lang::library::{Extern, Library as Declarations};
use evo_lang::plan::{Answer, Call, Fact, Host, Key, Problem};
use evo_lang::types::Ty;

use crate::bind::{Builtin, Kept, Module, Place};
use crate::cx::Failure;
use crate::value::Value;

/// All families of the standard library.
pub struct Library {
    modules: Vec<Module>,
    declarations: Declarations,
}

impl Library {
    /// The standard library. Errors are drift between declarations and bindings, or declarations that do not check:
    /// faults of evo, told as sentences.
    pub fn new() -> Result<Library, Vec<String>> {
        Library::of(crate::modules())
    }

    fn of(modules: Vec<Module>) -> Result<Library, Vec<String>> {
        let sources: Vec<(&str, &str)> = modules.iter().map(|m| (m.name, m.source)).collect();
        let (declarations, diagnostics) = Declarations::parse(&sources);
        let mut faults: Vec<String> = diagnostics.iter().map(fault).collect();
        let declared: Vec<Arc<Extern>> = declarations.externs().cloned().collect();
        for module in &modules {
            faults.extend(module.drift(&declared));
        }
        if faults.is_empty() { Ok(Library { modules, declarations }) } else { Err(faults) }
    }

    /// The declarations, for the checker.
    pub fn declarations(&self) -> &Declarations {
        &self.declarations
    }

    /// The families' names and sources, for the reference.
    pub fn sources(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.modules.iter().map(|m| (m.name, m.source))
    }

    /// What implements a declaration.
    pub fn builtin(&self, ext: &Extern) -> Option<&Builtin> {
        let module = self.modules.iter().find(|m| m.name == &*ext.family)?;
        module
            .builtins
            .iter()
            .find(|((name, overload), _)| *name == &*ext.name && *overload == ext.overload)
            .map(|(_, b)| b)
    }

    /// Reads back what the store kept of a value of this type, under the name of its node: programs that share a result
    /// may call it differently.
    pub fn load(&self, ty: &Ty, kept: Kept<'_>, name: &str) -> Result<Value, Failure> {
        let damaged = || Failure::new("R0507", "the stored bytes are not what was written");
        if let Ty::Node(node) = ty
            && let Some(load) = self.modules.iter().find_map(|m| m.loaders.get(&*node.name))
        {
            return load(kept, name);
        }
        match kept {
            Kept::Bytes(bytes) => crate::plain::decode(bytes).map(Value::Plain).ok_or_else(damaged),
            Kept::Files(_) => Err(damaged()),
        }
    }

    /// The identity of an object that is handed to a search's function, and what is known of it.
    pub fn identity(&self, value: &Value) -> Option<(Key, Option<Fact>)> {
        match value {
            Value::Object(object) => object.identity(),
            _ => None,
        }
    }

    /// The host for a program at a place.
    pub fn host(self: &Arc<Self>, place: Place) -> Arc<dyn Host> {
        Arc::new(LibraryHost { library: self.clone(), place })
    }
}

struct LibraryHost {
    library: Arc<Library>,
    place: Place,
}

impl Host for LibraryHost {
    fn call(&self, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
        let ext = call.ext();
        let module = self.library.modules.iter().find(|m| m.name == &*ext.family);
        match module.and_then(|m| m.facts.get(&*ext.name)) {
            Some(facts) => facts(&self.place, call, problems),
            None => Answer::Unknown,
        }
    }

    fn field(&self, fact: &Fact, name: &str) -> Answer {
        let all = self.library.modules.iter().flat_map(|m| &m.field_facts);
        all.into_iter().find_map(|facts| facts(fact, name)).unwrap_or(Answer::Unknown)
    }
}

fn fault(diagnostic: &Diagnostic) -> String {
    format!("{}: {}", diagnostic.code, diagnostic.title)
}

#[cfg(test)]
mod tests {
    use super::Library;

    #[test]
    fn declarations_and_bindings_agree() {
        if let Err(faults) = Library::new() {
            panic!("{}", faults.join("\n"));
        }
    }
}
