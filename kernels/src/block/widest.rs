//! Loops compiled for the widest vectors that the machine has.

/// What is computed, as a value: [`widest`] compiles it once for each class of machines.
pub trait Loops {
    /// What it gives.
    type Output;

    /// Computes it. Marked `#[inline(always)]`, as what it calls, so that it is compiled with its caller's vectors.
    fn run(self) -> Self::Output;
}

/// Computes `loops` with AVX-512 or AVX2 if the machine has them. Rust neither reorders nor fuses floating-point operations by itself,
/// so the bits are the same.
#[cfg(target_arch = "x86_64")]
pub fn widest<L: Loops>(loops: L) -> L::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd")]
    fn avx512<L: Loops>(loops: L) -> L::Output {
        loops.run()
    }
    #[target_feature(enable = "avx2")]
    fn avx2<L: Loops>(loops: L) -> L::Output {
        loops.run()
    }
    let all = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512cd");
    if all {
        // SAFETY: the features were detected.
        #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
        return unsafe { avx512(loops) };
    }
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was detected.
        #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
        return unsafe { avx2(loops) };
    }
    loops.run()
}

/// Computes `loops`: the compiler knows the machine's vectors.
#[cfg(not(target_arch = "x86_64"))]
pub fn widest<L: Loops>(loops: L) -> L::Output {
    loops.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a>(&'a [f32], &'a [f32], &'a mut [f32]);

    impl Loops for Sum<'_> {
        type Output = usize;

        #[inline(always)]
        fn run(self) -> usize {
            self.2.iter_mut().zip(self.0).zip(self.1).for_each(|((y, a), b)| *y = a * 3.0 + b);
            self.2.len()
        }
    }

    #[test]
    fn wide_loops_give_the_bits_of_plain_ones() {
        let (a, b): (Vec<f32>, Vec<f32>) = (0..1003).map(|i| ((i as f32).sin(), (i as f32).cos())).unzip();
        let (mut wide, mut plain) = (vec![0.0; a.len()], vec![0.0; a.len()]);
        assert_eq!(widest(Sum(&a, &b, &mut wide)), a.len());
        Sum(&a, &b, &mut plain).run();
        assert_eq!(wide, plain);
    }
}
