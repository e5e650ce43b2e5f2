//! Confidence intervals of proportions.

/// The exact 95 % interval of a proportion of `hits` among `total` (Clopper and Pearson 1934); 0 to 1 for no trials.
pub(super) fn clopper_pearson(hits: u64, total: u64) -> (f64, f64) {
    const TAIL: f64 = 0.025;
    if total == 0 {
        return (0.0, 1.0);
    }
    let low = match hits {
        0 => 0.0,
        // The p at which `hits` or more are just as rare.
        _ => solve(|p| 1.0 - at_most(hits - 1, total, p) < TAIL),
    };
    let high = if hits == total { 1.0 } else { solve(|p| at_most(hits, total, p) > TAIL) };
    (low, high)
}

/// The largest p in 0 to 1 for which `holds`, which holds below it.
fn solve(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

/// The probability of at most `hits` among `total` at `p`.
fn at_most(hits: u64, total: u64, p: f64) -> f64 {
    if p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return if hits >= total { 1.0 } else { 0.0 };
    }
    let odds = p.ln() - (-p).ln_1p();
    let mut log = total as f64 * (-p).ln_1p();
    let mut sum = log.exp();
    for k in 1..=hits {
        log += ((total - k + 1) as f64 / k as f64).ln() + odds;
        sum += log.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_published_values() {
        for (hits, total, low, high) in [
            (0, 10, 0.0, 0.308_497),
            (10, 10, 0.691_503, 1.0),
            (1, 10, 0.002_529, 0.445_016),
            (5, 10, 0.187_086, 0.812_914),
            (2, 50_000, 4.844e-6, 1.444_9e-4),
        ] {
            let (found_low, found_high) = clopper_pearson(hits, total);
            let near =
                |found: f64, expected: f64| (found - expected).abs() <= 2e-3 * expected.max(1e-6);
            assert!(near(found_low, low) && near(found_high, high), "{found_low} {found_high}");
        }
        assert_eq!(clopper_pearson(0, 0), (0.0, 1.0));
    }
}
