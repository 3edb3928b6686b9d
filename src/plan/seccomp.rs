//! A seccomp filter as the kernel takes it.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub program: Vec<u8>,
    pub flags: u32,
}
impl Filter {
    pub fn instructions(&self) -> usize {
        self.program.len() / 8
    }
}
