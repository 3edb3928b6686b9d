//! Lays out one program for several architectures: a search tree over the numbers of each, and what must look at
//! arguments copied behind it. A list of comparisons, as compilers of filters make it, is walked by the kernel
//! for each of some hundred numbers when the filter is installed, and that is felt at each start of a container;
//! in a tree a walk has ten steps.
//!
//! Jumps go forward only and comparisons reach 255 instructions, so a program is written from its end.

use std::collections::HashMap;

use super::verdicts::{
    DATA_ARCH, DATA_NUMBER, Instruction, JA, JEQ_K, JGE_K, JGT_K, JSET_K, LD_W_ABS, RET_K, Verdict, Verdicts,
    since,
};

/// SECCOMP_RET_KILL_THREAD of linux/seccomp.h.
const SECCOMP_RET_KILL_THREAD: u32 = 0;

/// What holds for the calls that come with one token.
pub struct Section {
    /// AUDIT_ARCH_*.
    pub token: u32,
    /// Each with the program that its continuations belong to.
    pub parts: Vec<(Vec<Instruction>, Verdicts)>,
}

impl Section {
    /// Gives the numbers from `first` on to another program.
    pub fn share(&mut self, first: u32, program: Vec<Instruction>, verdicts: Verdicts) {
        for (_, before) in &mut self.parts {
            before.retain(|(number, _)| *number < first);
        }
        self.parts.push((program, since(verdicts, first)));
    }
}

/// The program that asks the section of a call's token; calls with another token get `otherwise`.
pub fn layout(sections: &[Section], otherwise: u32) -> Vec<Instruction> {
    let mut writer = Writer::default();
    let labels: Vec<Label> = sections.iter().rev().map(|s| writer.section(s)).collect();
    let mut next = writer.answer(otherwise);
    for (section, label) in sections.iter().rev().zip(labels) {
        next = writer.compare(JEQ_K, section.token, label, next);
    }
    writer.before(next, LD_W_ABS, DATA_ARCH);
    writer.finish()
}

/// An instruction by its place, counted from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Label(usize);

#[derive(Default)]
struct Writer {
    /// The last instruction first.
    reversed: Vec<Instruction>,
    answers: Vec<(u32, Label)>,
}

impl Writer {
    fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, code: u16, jt: usize, jf: usize, k: u32) -> Label {
        self.reversed.push(Instruction {
            code,
            jt: jt as u8, // `near` keeps them below 256
            jf: jf as u8,
            k,
        });
        Label(self.reversed.len() - 1)
    }

    /// How far a jump from the next instruction to be written is.
    fn distance(&self, to: Label) -> usize {
        self.reversed.len() - 1 - to.0
    }

    /// `to`, or what leads there, in the reach of a comparison before which `more` instructions will be written.
    fn near(&mut self, to: Label, more: usize) -> Label {
        if self.distance(to) + more <= usize::from(u8::MAX) {
            return to;
        }
        match self.reversed.get(to.0) {
            Some(i) if i.code == RET_K => self.answer(i.k),
            _ => self.push(JA, 0, 0, self.distance(to) as u32),
        }
    }

    fn compare(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let no = self.near(no, 1); // which leaves room for one instruction that `yes` may need
        let yes = self.near(yes, 0);
        self.push(code, self.distance(yes), self.distance(no), k)
    }

    /// Writes an instruction after which `next` is executed.
    fn before(&mut self, next: Label, code: u16, k: u32) -> Label {
        if self.distance(next) != 0 {
            self.push(JA, 0, 0, self.distance(next) as u32);
        }
        self.push(code, 0, 0, k)
    }

    /// Returns `value`: one of the same written not long before, or a new one.
    fn answer(&mut self, value: u32) -> Label {
        let known = self.answers.iter().find(|(known, _)| *known == value);
        if let Some((_, label)) = known.filter(|(_, label)| self.distance(*label) < 200) {
            return *label;
        }
        self.answers.retain(|(known, _)| *known != value);
        let label = self.push(RET_K, 0, 0, value);
        self.answers.push((value, label));
        label
    }

    fn section(&mut self, section: &Section) -> Label {
        let mut leaves = Vec::new();
        for (program, verdicts) in &section.parts {
            let mut copies = HashMap::new();
            for (number, verdict) in verdicts {
                let leaf = match verdict {
                    Verdict::Return(value) => Leaf::Answer(*value),
                    Verdict::Continue(from) => Leaf::Code(self.copy(program, *from, &mut copies)),
                };
                leaves.push((*number, leaf));
            }
        }
        let root = self.tree(&leaves);
        self.before(root, LD_W_ABS, DATA_NUMBER)
    }

    fn tree(&mut self, leaves: &[(u32, Leaf)]) -> Label {
        match leaves {
            [] => self.answer(SECCOMP_RET_KILL_THREAD), // there is always a leaf
            [(_, Leaf::Answer(value))] => self.answer(*value),
            [(_, Leaf::Code(label))] => *label,
            _ => {
                let (low, high) = leaves.split_at(leaves.len() / 2);
                let first = high[0].0;
                let high = self.tree(high);
                let low = self.tree(low);
                self.compare(JGE_K, first, high, low)
            }
        }
    }

    /// Copies what can be reached in `program` from the instruction `at`; `copies` are those made before.
    fn copy(&mut self, program: &[Instruction], at: usize, copies: &mut HashMap<usize, Label>) -> Label {
        if let Some(label) = copies.get(&at) {
            return *label;
        }
        let Some(i) = program.get(at) else {
            return self.answer(SECCOMP_RET_KILL_THREAD); // the kernel takes no program that can run out
        };
        let label = match i.code {
            RET_K => return self.answer(i.k),
            JA => self.copy(program, at + 1 + i.k as usize, copies),
            JEQ_K | JGT_K | JGE_K | JSET_K => {
                let no = self.copy(program, at + 1 + usize::from(i.jf), copies);
                let yes = self.copy(program, at + 1 + usize::from(i.jt), copies);
                self.compare(i.code, i.k, yes, no)
            }
            _ => {
                let next = self.copy(program, at + 1, copies);
                self.before(next, i.code, i.k)
            }
        };
        copies.insert(at, label);
        label
    }
}

/// Where a search for a number ends.
enum Leaf {
    Answer(u32),
    Code(Label),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_reaches_everything() {
        const LD_IMM: u16 = 0;
        for (yes, no) in (0..270).flat_map(|yes| (0..270).map(move |no| (yes, no))) {
            let mut writer = Writer::default();
            for place in 0..270 {
                writer.push(LD_IMM, 0, 0, place);
            }
            writer.compare(JEQ_K, 0, Label(yes), Label(no));
            let program = writer.finish();
            let arrive = |jump: u8| {
                let at = 1 + usize::from(jump);
                match program[at].code {
                    JA => program[at + 1 + program[at].k as usize].k as usize,
                    _ => program[at].k as usize,
                }
            };
            assert_eq!((arrive(program[0].jt), arrive(program[0].jf)), (yes, no));
        }
    }
}
