//! Badges of police staff, as the committee knows them: by number.

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_wire::committee::v1::{ListPoliceBadgesRequest, PoliceBadge};
use serde_json::{Value, json};

use super::views::status_name;
use crate::context::{Context, facts, table};
use crate::error::CliError;

/// `lanyard committee police-badges`.
#[derive(Args)]
pub(crate) struct PoliceBadgesArgs {
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
}

impl PoliceBadgesArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let mut client = connection.badges()?;
        let (mut badges, mut page_token) = (Vec::new(), String::new());
        let total = loop {
            let page_size = u32::try_from(self.limit - badges.len()).unwrap_or(0);
            let request = ListPoliceBadgesRequest { page_size, page_token };
            let page = call("list police badges", client.list_police_badges(request).await)?;
            badges.extend(page.badges);
            page_token = page.next_page_token;
            if page_token.is_empty() || badges.len() >= self.limit {
                break page.total;
            }
        };
        badges.truncate(self.limit);
        let values: Vec<Value> = badges.iter().map(badge_json).collect();
        context.show(&json!({ "total": total, "badges": values }), || {
            let rows = badges.iter().map(|badge| {
                [
                    format!("{}-{}", badge.badge_number, badge.print_number),
                    badge.profile.clone(),
                    standing(badge).to_owned(),
                ]
            });
            format!(
                "{}\n{} of {total} badges",
                table(["badge", "profile", "status"], rows),
                badges.len()
            )
        })
    }
}

/// Shows the police badge at the desk.
pub(super) fn show_one(
    context: &Context,
    badge: &PoliceBadge,
    shown_print: u32,
) -> Result<(), CliError> {
    let mut value = badge_json(badge);
    value["known"] = true.into();
    value["police_staff"] = true.into();
    value["shown_print_number"] = shown_print.into();
    context.show(&value, || {
        let shown = if shown_print == badge.print_number {
            format!("print {shown_print}, the current one")
        } else {
            format!("print {shown_print}, an OLD one: print {} replaced it", badge.print_number)
        };
        facts([
            ("bearer", "of the police's own staff; the police know who".to_owned()),
            ("badge", format!("{}-{}", badge.badge_number, badge.print_number)),
            ("shown", shown),
            ("profile", badge.profile.clone()),
            ("status", standing(badge).to_owned()),
        ])
    })
}

fn badge_json(badge: &PoliceBadge) -> Value {
    json!({
        "badge_number": badge.badge_number, "print_number": badge.print_number,
        "profile": badge.profile, "offered": badge.offered,
        "not_before_minutes": badge.not_before_minutes,
        "not_after_minutes": badge.not_after_minutes,
        "status": status_name(badge.status()), "revoked_by_police": badge.revoked_by_police,
    })
}

fn standing(badge: &PoliceBadge) -> &'static str {
    if badge.revoked_by_police {
        "revoked by the police"
    } else if !badge.offered {
        "referred: its profile is not offered to the police"
    } else {
        status_name(badge.status())
    }
}
