//! The fewest operations that still fail alike.

use crate::op::Step;

/// Courses run at most while looking.
const TRIES: usize = 60;

/// The name of the invariant in the report of a course that failed.
fn invariant(report: &str) -> Option<&str> {
    let line = report.lines().find_map(|line| line.strip_prefix("FAILED "))?;
    line.split_whitespace().next()
}

/// Leaves out as many steps as possible, larger parts first, such that the same invariant does not hold. The time of a
/// step that is left out is added to the next, so that all others happen when they did.
pub(super) fn fewest(
    steps: &[Step],
    report: &str,
    mut run: impl FnMut(&[Step]) -> (String, bool),
) -> Vec<Step> {
    let wanted = invariant(report);
    let mut fewest = steps.to_vec();
    let (mut part, mut tries) = (steps.len().div_ceil(2), 0);
    while part > 0 && tries < TRIES {
        let mut from = 0;
        while from < fewest.len() && tries < TRIES {
            let fewer = without(&fewest, from, part);
            tries += 1;
            let (report, failed) = run(&fewer);
            if failed && invariant(&report) == wanted {
                fewest = fewer;
            } else {
                from += part;
            }
        }
        part /= 2;
    }
    fewest
}

fn without(steps: &[Step], from: usize, count: usize) -> Vec<Step> {
    let to = steps.len().min(from + count);
    let left_out: u64 = steps[from..to].iter().map(|step| step.after).sum();
    let mut kept = steps[..from].to_vec();
    kept.extend_from_slice(&steps[to..]);
    if let Some(next) = kept.get_mut(from) {
        next.after += left_out;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::draw;

    #[test]
    fn what_does_not_matter_is_left_out_and_times_stay() {
        let steps = draw(1);
        assert!(steps.len() > 10);
        let at = |steps: &[Step], wanted: &Step| {
            let place = steps.iter().position(|step| step.op == wanted.op)?;
            Some(steps[..=place].iter().map(|step| step.after).sum::<u64>())
        };
        let (first, second) = (&steps[3], &steps[8]);
        let found = fewest(&steps, "FAILED no-fork at 1 ms: x\n", |steps| {
            let both = at(steps, first).is_some() && at(steps, second).is_some();
            let report = if both { "FAILED no-fork at 2 ms: y" } else { "FAILED no-panic at 1 ms" };
            (report.to_owned(), true)
        });
        assert!(found.len() <= 4, "{found:?}");
        assert_eq!(at(&found, first), at(&steps, first));
        assert_eq!(at(&found, second), at(&steps, second));
    }
}
