//! What share holders did wrong while a job went on with others.

use lanyard_wire::pseudonym::v1::HolderFault;
use serde_json::{Value, json};

use crate::context::printable;

/// The faults as JSON.
pub(crate) fn fault_json(faults: &[HolderFault]) -> Vec<Value> {
    let value = |fault: &HolderFault| {
        json!({
            "holder": fault.holder, "share": fault.share, "count": fault.count,
            "misbehaves": fault.misbehaves, "last": fault.last,
        })
    };
    faults.iter().map(value).collect()
}

/// A line for each holder at fault, each after a line break; empty if there is none.
pub(crate) fn fault_lines(faults: &[HolderFault]) -> String {
    let line = |fault: &HolderFault| {
        let HolderFault { holder, share, count, last, .. } = fault;
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        let what = match fault.misbehaves {
            true => format!("answered wrongly {times} and was left out"),
            false => format!("did not answer {times}"),
        };
        let line = format!(
            "share holder {holder} (share {share}) {what}; another one was asked; last: {last}"
        );
        format!("\n{}", printable(&line))
    };
    faults.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_and_what_it_did_are_named() {
        let cheat = HolderFault {
            holder: "trustee".to_owned(),
            share: 3,
            count: 3,
            misbehaves: true,
            last: "its proof does not hold".to_owned(),
        };
        let down = HolderFault { misbehaves: false, count: 1, ..cheat.clone() };
        assert_eq!(
            fault_lines(&[cheat, down]),
            "\nshare holder trustee (share 3) answered wrongly 3 times and was left out; another one was asked; last: its \
             proof does not hold\
             \nshare holder trustee (share 3) did not answer once; another one was asked; last: its proof does not hold"
        );
        assert_eq!(fault_lines(&[]), "");
    }
}
