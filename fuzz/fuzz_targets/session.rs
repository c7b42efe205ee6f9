//! The simulated network of `tests/simulation.rs`, its choices made by the fuzzer instead of by a seed: the real sessions
//! between hostile pipes, judged by the simulation's own records of what was sent, received, opened and closed.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "written for the simulation, which uses all of it")]
#[path = "../../tests/sim"]
mod sim {
    pub mod app;
    pub mod peer;
    pub mod pipe;
    pub mod world;

    /// In the place of the simulation's source of randomness, with the same methods.
    pub mod rng {
        use std::cell::RefCell;
        use std::collections::VecDeque;

        thread_local! {
            static CHOICES: RefCell<VecDeque<u8>> = const { RefCell::new(VecDeque::new()) };
        }

        /// The choices of the next world.
        pub fn feed(bytes: &[u8]) {
            CHOICES.with_borrow_mut(|choices| {
                choices.clear();
                choices.extend(bytes);
            });
        }

        /// Takes each choice from the fuzzer's bytes, and goes on by xorshift64* when they are used up.
        #[derive(Clone, Debug)]
        pub struct Rng(u64);

        impl Rng {
            pub fn new(seed: u64) -> Self {
                Self(seed | 1)
            }

            pub fn next(&mut self) -> u64 {
                self.0 ^= self.0 >> 12;
                self.0 ^= self.0 << 25;
                self.0 ^= self.0 >> 27;
                self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
            }

            /// Below `end`: by a byte if that has room for it, else by two.
            pub fn below(&mut self, end: usize) -> usize {
                let chosen = CHOICES.with_borrow_mut(|choices| {
                    let low = choices.pop_front()?;
                    let high = if end > 256 { choices.pop_front()? } else { 0 };
                    Some(usize::from(low) | usize::from(high) << 8)
                });
                chosen.unwrap_or_else(|| self.next() as usize) % end.max(1)
            }

            pub fn between(&mut self, low: usize, high: usize) -> usize {
                low + self.below(high - low + 1)
            }

            pub fn one_in(&mut self, n: usize) -> bool {
                self.below(n) == 0
            }

            pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
                from[self.below(from.len())]
            }

            pub fn fork(&mut self) -> Self {
                Self::new(self.next())
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    sim::rng::feed(bytes);
    sim::world::World::new(bytes.len() as u64).run();
});
