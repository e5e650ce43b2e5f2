//! How a mirror is kept up to date, for people.

use lanyard_core::ids::Timestamp;

/// How a mirror is kept up to date, for people.
#[derive(Debug, Clone, Default)]
pub struct SyncState {
    /// The upstream in use.
    pub upstream: Option<String>,
    /// The last upstream that failed, why, and when.
    pub problem: Option<SyncProblem>,
    /// What is missing in what the upstream in use brings, which may not be its fault.
    pub doubt: Option<String>,
    /// All upstreams, the preferred first.
    pub upstreams: Vec<UpstreamState>,
}

/// How one upstream does.
#[derive(Debug, Clone)]
pub struct UpstreamState {
    /// Its name.
    pub name: String,
    /// What is done with it now.
    pub standing: Standing,
    /// What was wrong when it was left last.
    pub problem: Option<SyncProblem>,
    /// How often it was left since the service started.
    pub times_left: u64,
}

/// What is done with an upstream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing: those before it serve.
    Waiting,
    /// It is asked, and has brought nothing yet.
    Asked,
    /// It is in use.
    InUse,
    /// It is followed beside the one in use for a few ticks: to see whether it keeps up again, if it comes before that one, or
    /// whether it brings more.
    OnTrial,
    /// It failed and is left alone for a while.
    Left,
}

/// Why an upstream was left.
#[derive(Debug, Clone)]
pub struct SyncProblem {
    /// Which one.
    pub upstream: String,
    /// What was wrong.
    pub problem: String,
    /// When.
    pub time: Timestamp,
}

impl SyncState {
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let upstreams = names.map(|name| UpstreamState {
            name: name.to_owned(),
            standing: Standing::Waiting,
            problem: None,
            times_left: 0,
        });
        Self { upstreams: upstreams.collect(), ..Self::default() }
    }

    pub(super) fn stands_otherwise(&self, index: usize, standing: Standing) -> bool {
        self.upstreams.get(index).is_some_and(|state| state.standing != standing)
    }

    pub(super) fn stands(&mut self, index: usize, standing: Standing) {
        if matches!(standing, Standing::Asked | Standing::InUse) {
            // It takes the place of whichever was asked, in use or on trial.
            for state in self.upstreams.iter_mut().filter(|one| one.standing != Standing::Left) {
                state.standing = Standing::Waiting;
            }
        }
        let Some(state) = self.upstreams.get_mut(index) else { return };
        state.standing = standing;
        if standing == Standing::InUse {
            self.upstream = Some(state.name.clone());
        }
    }

    /// Something is in doubt about the upstream in use, or nothing any more; false if that was said before.
    pub(super) fn doubted(&mut self, doubt: Option<String>) -> bool {
        let is_new = self.doubt != doubt;
        self.doubt = doubt;
        is_new
    }

    /// An upstream failed, whether it was in use or on trial.
    pub(super) fn left(&mut self, index: usize, problem: String, time: Timestamp) {
        let Some(state) = self.upstreams.get_mut(index) else { return };
        let problem = SyncProblem { upstream: state.name.clone(), problem, time };
        if self.upstream.as_ref() == Some(&state.name) {
            self.upstream = None;
            self.doubt = None;
        }
        state.standing = Standing::Left;
        state.times_left += 1;
        state.problem = Some(problem.clone());
        self.problem = Some(problem);
        // The trial beside the one in use ends with it.
        for state in self.upstreams.iter_mut().filter(|one| one.standing == Standing::OnTrial) {
            state.standing = Standing::Waiting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_ends_with_the_one_in_use() {
        let mut state = SyncState::of(["a", "b"].into_iter());
        state.stands(1, Standing::InUse);
        state.stands(0, Standing::OnTrial);
        state.left(1, "gone".to_owned(), Timestamp::default());
        let standings = state.upstreams.iter().map(|one| one.standing);
        assert_eq!(standings.collect::<Vec<_>>(), [Standing::Waiting, Standing::Left]);
    }
}
