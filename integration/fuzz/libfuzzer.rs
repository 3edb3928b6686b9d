//! One target under libFuzzer, by `make fuzz`: FUZZ_TARGET names it, its seeds go to the directory FUZZ_CORPUS.
#![no_main]

use std::sync::OnceLock;

use fuzz::mutate::{Random, mutate};
use fuzz::seeds::{seeds, write_seeds};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

struct Chosen {
    target: fn(&[u8]),
    seeds: Vec<Vec<u8>>,
}

static CHOSEN: OnceLock<Chosen> = OnceLock::new();

fn choose() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let name = variable("FUZZ_TARGET");
    let target = fuzz::targets().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    let seeds = seeds(&name);
    write_seeds(&seeds, variable("FUZZ_CORPUS").as_ref());
    CHOSEN.get_or_init(|| Chosen { target, seeds });
}

fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(chosen) = CHOSEN.get() {
        (chosen.target)(data);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(seed.into());
    let Some(chosen) = CHOSEN.get().filter(|_| random.below(2) == 0) else {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    };
    let mut new = data[..size].to_vec();
    let other = chosen.seeds.get(random.below(chosen.seeds.len()));
    mutate(&mut new, other.map_or(&[], Vec::as_slice), &mut random, max_size);
    data[..new.len()].copy_from_slice(&new);
    new.len()
});
