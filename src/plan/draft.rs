//! A plan in the making: steps, wishes and faults are added while config.json is walked through.

use std::ffi::CString;

use super::{HostPart, IdMaps, Namespaces, Plan, Slot, Step, Want};
use crate::error::{Error, Fault, Result};

#[derive(Debug, Default)]
pub struct Draft {
    steps: Vec<Step>,
    wants: Vec<Want>,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

impl Draft {
    pub fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// How many steps there are so far.
    pub fn position(&self) -> usize {
        self.steps.len()
    }

    /// Puts a step before the one with this index.
    pub fn insert(&mut self, index: usize, step: Step) {
        self.steps.insert(index, step);
    }

    pub fn steps(&mut self, steps: Vec<Step>) {
        self.steps.extend(steps);
    }

    pub fn want(&mut self, want: Want) -> Slot {
        self.wants.push(want);
        Slot(self.wants.len() - 1)
    }

    /// As [`Draft::want`], but what was asked for before is not asked for again.
    pub fn want_once(&mut self, want: Want) -> Slot {
        match self.wants.iter().position(|known| *known == want) {
            Some(known) => Slot(known),
            None => self.want(want),
        }
    }

    /// A user namespace with these maps; one is enough for all who want the same.
    pub fn want_user_namespace(&mut self, maps: IdMaps, field: &str) -> Slot {
        let known = self.wants.iter().position(|known| match known {
            Want::UserNamespace { maps: theirs, .. } => *theirs == maps,
            _ => false,
        });
        known.map(Slot).unwrap_or_else(|| {
            let field = field.to_string();
            self.want(Want::UserNamespace { maps, field })
        })
    }

    /// What was asked for under this number.
    pub fn wanted(&self, slot: Slot) -> Option<&Want> {
        self.wants.get(slot.0)
    }

    pub fn fault(&mut self, path: &str, text: impl Into<String>) {
        self.faults.push(Fault { path: path.into(), text: text.into() });
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// A value of the field at `path` as the kernel takes it; a NUL in it is a fault.
    pub fn cstring(&mut self, path: &str, value: &str) -> CString {
        CString::new(value).unwrap_or_else(|_| {
            self.fault(path, format!("{value:?} holds a NUL"));
            CString::default()
        })
    }

    pub fn cstrings(&mut self, path: &str, values: &[String]) -> Vec<CString> {
        values.iter().enumerate().map(|(i, value)| self.cstring(&format!("{path}[{i}]"), value)).collect()
    }

    /// The plan, or every fault that was found on the way.
    pub fn finish(
        mut self,
        namespaces: Namespaces,
        host: HostPart,
        hook_state: Option<Slot>,
    ) -> Result<Plan> {
        // A process tells of its steps by numbers of 16 bits, and "none yet" besides.
        let (count, most) = (self.steps.len(), usize::from(u16::MAX) - 1);
        if count > most {
            self.fault("mounts, devices, paths, hooks", format!("make {count} steps, {most} are the most"));
        }
        if !self.faults.is_empty() {
            return Err(Error::invalid("config.json", self.faults));
        }
        let Draft { steps, wants, warnings, .. } = self;
        Ok(Plan { namespaces, host, wants, steps, warnings, hook_state })
    }
}
