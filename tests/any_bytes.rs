//! Whatever comes, a connection neither panics nor depends on how the network cut it: streams of frames that are nearly
//! right, made by seed, each received whole, byte by byte and in random chunks.

mod common;

use common::{End, frame, masked, unmasked};
use loopwire::deflate::DeflateParams;
use loopwire::protocol::{Config, Delivery, Role};

/// xorshift64*: small, seeded, good enough to choose test cases.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Frames that follow the rules, nearly always.
    fn frames(&mut self, role: Role) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut in_message = false;
        for _ in 0..self.below(12) {
            let opcode = match self.below(10) {
                0 => 0x9,
                1 => 0xA,
                2 if self.one_in(4) => 0x8,
                _ if self.one_in(30) => self.below(16) as u8,
                _ if in_message => 0x0,
                _ => 1 + self.below(2) as u8,
            };
            let fin = opcode >= 8 || self.one_in(2);
            if opcode < 8 {
                in_message = !fin;
            }
            let reserved = if self.one_in(60) { 0x10 << self.below(3) } else { 0 };
            let len = match self.below(6) {
                0 => 0,
                1 if opcode < 8 => 120 + self.below(20),
                2 if opcode < 8 && self.one_in(8) => 65_530 + self.below(10),
                _ => self.below(40),
            };
            let mut payload: Vec<u8> = "aé消😀".bytes().cycle().skip(self.below(10)).take(len).collect();
            if opcode == 8 && len >= 2 {
                payload[..2].copy_from_slice(&[0x03, 0xE8]);
            }
            let first = if fin { 0x80 } else { 0 } | reserved | opcode;
            let is_masked = (role == Role::Server) != self.one_in(100);
            bytes.extend(if is_masked { masked(first, &payload) } else { frame(first, &payload) });
        }
        if !bytes.is_empty() && self.one_in(8) {
            let at = self.below(bytes.len());
            bytes[at] = self.below(256) as u8;
        }
        bytes
    }
}

#[test]
fn nearly_right_streams_mean_the_same_however_they_are_cut() {
    let mut config = Config::default();
    config.max_message = 70_000;
    config.max_fragments = 6;
    for seed in 1..=1000 {
        let mut dice = Dice(seed);
        let role = if dice.one_in(2) { Role::Server } else { Role::Client };
        let bytes = dice.frames(role);

        let mut results = Vec::new();
        for how in ["whole", "byte by byte", "at random"] {
            let mut end = End::new(role, &config, None);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = match how {
                    "whole" => rest.len(),
                    "at random" => 1 + dice.below(100),
                    _ => 1,
                };
                let (chunk, after) = rest.split_at(len.min(rest.len()));
                end.feed(chunk);
                rest = after;
            }
            let out = if role == Role::Server { end.out } else { unmasked(&end.out) };
            results.push((end.seen, out, end.connection.teardown()));
        }
        assert_eq!(results[0], results[1], "seed {seed}, {role:?}: {bytes:02x?}");
        assert_eq!(results[0], results[2], "seed {seed}, {role:?}: {bytes:02x?}");
    }
}

#[test]
fn nothing_panics() {
    for seed in 1..=2000 {
        let mut dice = Dice(seed);
        let role = if dice.one_in(2) { Role::Server } else { Role::Client };
        let mut config = Config::default();
        config.max_message = 1000;
        config.delivery = if dice.one_in(2) { Delivery::Whole } else { Delivery::Pieces };
        let deflate = dice.one_in(2).then(DeflateParams::default);
        let mut end = End::new(role, &config, deflate);
        if dice.one_in(3) {
            end.connection.close(loopwire::wire::CloseCode::NORMAL, "", &mut end.out, end.now).unwrap();
        }
        for _ in 0..5 {
            let bytes = if dice.one_in(2) {
                dice.frames(role)
            } else {
                (0..dice.below(60)).map(|_| dice.below(256) as u8).collect()
            };
            end.feed(&bytes);
            if dice.one_in(10) {
                end.now += std::time::Duration::from_secs(30);
                end.connection.handle_timeout(end.now, &mut end.out);
            }
        }
        end.connection.end_of_stream();
        end.connection.closed();
    }
}
