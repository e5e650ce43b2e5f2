//! What an issuing station needs: from the issuing key to badge texts, seeds and QR codes.

use lanyard_core::badge::{BadgeText, IssuingKey};
use lanyard_core::ids::{Audience, Authority, BadgeNumber, EventId, PrintNumber};
use lanyard_wire::committee::v1::PrintSeeds;
use qrcode::render::{svg, unicode};
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a text does not become a QR code.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QrCodeError {
    /// The encoder refused it.
    #[error("QR code: {0}")]
    Encode(#[from] QrError),
}

/// One print of one badge, derived: the text for the card, the seeds for the committee's service.
pub struct DerivedPrint {
    /// What is printed; nobody but the station and the bearer has it.
    pub text: BadgeText,
    /// What the service is given: enough to publish, not enough to pass a gate.
    pub seeds: PrintSeeds,
}

/// Derives a print. The same numbers always give the same print, so that a text that was lost can be had again.
#[must_use]
pub fn derive_print(
    key: &IssuingKey,
    event: &EventId,
    number: BadgeNumber,
    print: PrintNumber,
) -> DerivedPrint {
    let secret = key.badge_secret(event, number, print);
    let seed = |authority, audience| secret.seed(authority, audience).expose_bytes().to_vec();
    DerivedPrint {
        text: BadgeText::new(&secret, event),
        seeds: PrintSeeds {
            badge_number: number.get(),
            print_number: print.get().into(),
            committee_gate: seed(Authority::Committee, Audience::Gate),
            committee_police: seed(Authority::Committee, Audience::Police),
            committee_sponsor: seed(Authority::Committee, Audience::Sponsor),
            police_gate: seed(Authority::Police, Audience::Gate),
        },
    }
}

/// The QR code of a badge text or scoped code, as SVG with its quiet zone. Wiped on drop: it is the badge.
///
/// # Errors
/// [`QrCodeError`] if the text is too long for a QR code.
pub fn qr_svg(text: &str) -> Result<Zeroizing<String>, QrCodeError> {
    let svg = code(text)?.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    Ok(Zeroizing::new(svg))
}

/// The QR code in characters, for a terminal with a dark background.
///
/// # Errors
/// As [`qr_svg`].
pub fn qr_terminal(text: &str) -> Result<Zeroizing<String>, QrCodeError> {
    let drawn = code(text)?
        .render::<unicode::Dense1x2>()
        // Terminals are dark: swapped, the code's light modules are the bright ones.
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .build();
    Ok(Zeroizing::new(drawn))
}

/// 15 % of a code may be unreadable; badges are scratched.
fn code(text: &str) -> Result<QrCode, QrCodeError> {
    Ok(QrCode::with_error_correction_level(text, EcLevel::M)?)
}

#[cfg(test)]
mod tests {
    use lanyard_core::badge::Presented;

    use super::*;

    fn print(number: u32, print: u16) -> DerivedPrint {
        let (key, event) = (IssuingKey::from_bytes([7; 32]), EventId::parse("games").unwrap());
        derive_print(&key, &event, BadgeNumber::new(number), PrintNumber::new(print))
    }

    #[test]
    fn a_print_is_derived_alike_each_time_and_carries_its_own_seeds() {
        let event = EventId::parse("games").unwrap();
        let (one, again, other) = (print(1, 1), print(1, 1), print(1, 2));
        assert_eq!(one.text.expose_str(), again.text.expose_str());
        assert_ne!(one.text.expose_str(), other.text.expose_str());
        let Ok(Presented::Badge(secret)) = Presented::parse(one.text.expose_str(), &event) else {
            panic!("the text is a badge");
        };
        let seed = secret.seed(Authority::Police, Audience::Gate);
        assert_eq!(one.seeds.police_gate, seed.expose_bytes());
        assert_ne!(one.seeds.police_gate, one.seeds.committee_gate);
    }

    #[test]
    fn a_badge_fits_a_small_qr_code() {
        let text = print(1, 1).text;
        // Version 4 holds 90 alphanumeric characters at level M.
        assert!(code(text.expose_str()).unwrap().width() <= 33);
        assert!(qr_svg(text.expose_str()).unwrap().contains("<svg"));
        assert!(qr_terminal(text.expose_str()).unwrap().lines().count() > 10);
        assert!(qr_svg(&"x".repeat(5_000)).is_err());
    }
}
