//! The constants of CMA-ES, as pycma 4.5 sets them (Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772, with
//! pycma's own c_σ, c_μ and negative weights).

/// Learning rates and recombination weights for a dimension and a population.
#[derive(Clone, Debug, PartialEq)]
pub struct CmaParams {
    /// Recombination weights from the best candidate to the worst: the first `mu` are positive and add up to 1, the last
    /// are negative (active update).
    pub weights: Vec<f64>,
    /// How many weights are positive.
    pub mu: usize,
    /// The variance-effective number of parents, 1 / Σ w² over the positive weights.
    pub mu_eff: f64,
    /// Rate of the step-size path.
    pub c_sigma: f64,
    /// Damping of the step size.
    pub d_sigma: f64,
    /// Rate of the covariance path.
    pub c_c: f64,
    /// Rate of the rank-one update.
    pub c_1: f64,
    /// Rate of the rank-μ update.
    pub c_mu: f64,
    /// The expected length of an n-dimensional standard normal vector.
    pub chi_n: f64,
    /// Eigenvectors are renewed once this many generations have passed.
    pub eigen_gap: f64,
}

/// The usual population for a dimension: 4 + ⌊3 ln n⌋.
pub fn default_population(dimension: usize) -> usize {
    4 + (3.0 * libm::log(dimension.max(1) as f64)) as usize
}

impl CmaParams {
    /// The constants for `dimension` ≥ 1 and `population` ≥ 2.
    pub fn new(dimension: usize, population: usize) -> Self {
        let (n, lambda) = (dimension as f64, population as f64);
        let mut weights: Vec<f64> =
            (1..=population).map(|rank| libm::log((lambda + 1.0) / 2.0) - libm::log(rank as f64)).collect();
        let mu = weights.iter().filter(|w| **w > 0.0).count();
        let total: f64 = weights[..mu].iter().sum();
        weights[..mu].iter_mut().for_each(|w| *w /= total);
        let mu_eff = 1.0 / weights[..mu].iter().map(|w| w * w).sum::<f64>();
        let c_1 = (lambda / 6.0).min(1.0) * 2.0 / ((n + 1.3).powi(2) + mu_eff);
        let c_mu = (1.0 - c_1).min(2.0 * (0.25 + mu_eff + 1.0 / mu_eff - 2.0) / ((n + 2.0).powi(2) + mu_eff));
        scale_negative(&mut weights[mu..], n, mu_eff, c_1, c_mu);
        let c_sigma = ((mu_eff + 2.0) / (n + mu_eff + 3.0)).min(0.5);
        Self {
            mu,
            mu_eff,
            c_sigma,
            d_sigma: 1.0 + c_sigma + 2.0 * (((mu_eff - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0),
            c_c: (4.0 + mu_eff / n) / (n + 4.0 + 2.0 * mu_eff / n),
            c_1,
            c_mu,
            chi_n: n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n)),
            eigen_gap: 1.0 / (c_1 + c_mu + 1e-23) / n / 10.0,
            weights,
        }
    }
}

/// Scales the negative weights so that they add up to −min(1 + c₁/c_μ, (1 − c₁ − c_μ)/(n c_μ), 1 + 2 μ⁻/(μ + 2)): no decay
/// of the covariance matrix, a positive definite one, and a rate that respects μ⁻, the effective number of negative weights.
fn scale_negative(weights: &mut [f64], n: f64, mu_eff: f64, c_1: f64, c_mu: f64) {
    let sum: f64 = weights.iter().sum();
    if sum == 0.0 {
        return;
    }
    let mu_eff_minus = sum * sum / weights.iter().map(|w| w * w).sum::<f64>();
    let mut bound = 1.0 + 2.0 * mu_eff_minus / (mu_eff + 2.0);
    if c_mu > 0.0 {
        bound = bound.min(1.0 + c_1 / c_mu).min((1.0 - c_1 - c_mu) / (n * c_mu));
    }
    weights.iter_mut().for_each(|w| *w *= bound / -sum);
}
