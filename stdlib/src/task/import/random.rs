//! Python's `random.Random`: the examples that the harness draws are those that it would draw.
//!
//! The Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), seeded by an array of one word, and CPython's `sample`.

const N: usize = 624;
const M: usize = 397;

/// A stream of draws.
pub(super) struct Random {
    state: [u32; N],
    next: usize,
}

impl Random {
    /// As `random.Random(seed)`.
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [0u32; N];
        let mut last = 19_650_218u32;
        for (i, word) in state.iter_mut().enumerate() {
            if i > 0 {
                last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
            }
            *word = last;
        }
        let mut i = 1;
        for round in 0..2 * N - 1 {
            let before = state[i - 1];
            let mixed = before ^ (before >> 30);
            state[i] = if round < N {
                (state[i] ^ mixed.wrapping_mul(1_664_525)).wrapping_add(seed)
            } else {
                (state[i] ^ mixed.wrapping_mul(1_566_083_941)).wrapping_sub(i as u32)
            };
            i += 1;
            if i >= N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        Self { state, next: N }
    }

    fn word(&mut self) -> u32 {
        if self.next >= N {
            for k in 0..N {
                let y = (self.state[k] & 0x8000_0000) | (self.state[(k + 1) % N] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[k] = self.state[(k + M) % N] ^ (y >> 1) ^ odd;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number below `n`, which is not 0 and fits 32 bits.
    fn below(&mut self, n: usize) -> usize {
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let drawn = (self.word() >> (32 - bits.clamp(1, 32))) as usize;
            if drawn < n {
                return drawn;
            }
        }
    }

    /// As `random.sample(range(n), k)`; `k` is at most `n`.
    pub(super) fn sample(&mut self, n: usize, k: usize) -> Vec<usize> {
        let mut few = 21usize;
        if k > 5 {
            let mut power = 1usize;
            while power < k * 3 {
                power *= 4;
            }
            few += power;
        }
        let mut drawn = Vec::with_capacity(k);
        if n <= few {
            let mut pool: Vec<usize> = (0..n).collect();
            for i in 0..k {
                let j = self.below(n - i);
                drawn.push(pool[j]);
                pool[j] = pool[n - i - 1];
            }
        } else {
            while drawn.len() < k {
                let j = self.below(n);
                if !drawn.contains(&j) {
                    drawn.push(j);
                }
            }
        }
        drawn
    }
}
