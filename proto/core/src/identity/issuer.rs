//! Issuing states: lists write them as codes or as English names; identity keys hold the three-letter code.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The three-letter code of a transliterated code or name, if it is one of a state or territory.
pub(super) fn code(issuer: &str) -> Option<&'static str> {
    static CODES: LazyLock<HashMap<String, &str>> = LazyLock::new(|| {
        let mut codes = HashMap::new();
        for (alpha3, alpha2, names) in ISSUERS {
            for name in names.split('|').chain([*alpha3, *alpha2]) {
                codes.insert(words(name), *alpha3);
            }
        }
        codes
    });
    CODES.get(&words(issuer)).copied()
}

/// A name's words in alphabetical order without those that lists add and leave out at will, so that
/// `Korea, Republic of` is `Republic of Korea`.
fn words(name: &str) -> String {
    let mut words: Vec<_> = name.split(' ').map(str::to_ascii_uppercase).collect();
    // A single word stays: AND is Andorra.
    if words.len() > 1 {
        words.retain(|word| {
            !matches!(word.as_str(), "THE" | "OF" | "AND" | "REPUBLIC" | "STATE" | "ISLAMIC")
        });
    }
    words.sort_unstable();
    words.join(" ")
}

/// ISO 3166-1 codes, and names as ISO, ICAO and sanctions lists write them. Names of one line mean one issuer.
#[rustfmt::skip]
const ISSUERS: &[(&str, &str, &str)] = &[
    ("ABW", "AW", "Aruba"),
    ("AFG", "AF", "Afghanistan"),
    ("AGO", "AO", "Angola"),
    ("AIA", "AI", "Anguilla"),
    ("ALA", "AX", "Aland Islands"),
    ("ALB", "AL", "Albania"),
    ("AND", "AD", "Andorra"),
    ("ARE", "AE", "United Arab Emirates|UAE"),
    ("ARG", "AR", "Argentina"),
    ("ARM", "AM", "Armenia"),
    ("ASM", "AS", "American Samoa"),
    ("ATA", "AQ", "Antarctica"),
    ("ATF", "TF", "French Southern Territories"),
    ("ATG", "AG", "Antigua and Barbuda"),
    ("AUS", "AU", "Australia"),
    ("AUT", "AT", "Austria"),
    ("AZE", "AZ", "Azerbaijan"),
    ("BDI", "BI", "Burundi"),
    ("BEL", "BE", "Belgium"),
    ("BEN", "BJ", "Benin"),
    ("BES", "BQ", "Bonaire Sint Eustatius and Saba"),
    ("BFA", "BF", "Burkina Faso"),
    ("BGD", "BD", "Bangladesh"),
    ("BGR", "BG", "Bulgaria"),
    ("BHR", "BH", "Bahrain"),
    ("BHS", "BS", "Bahamas"),
    ("BIH", "BA", "Bosnia and Herzegovina|Bosnia Herzegovina"),
    ("BLM", "BL", "Saint Barthelemy"),
    ("BLR", "BY", "Belarus"),
    ("BLZ", "BZ", "Belize"),
    ("BMU", "BM", "Bermuda"),
    ("BOL", "BO", "Bolivia|Bolivia Plurinational State of"),
    ("BRA", "BR", "Brazil"),
    ("BRB", "BB", "Barbados"),
    ("BRN", "BN", "Brunei|Brunei Darussalam"),
    ("BTN", "BT", "Bhutan"),
    ("BVT", "BV", "Bouvet Island"),
    ("BWA", "BW", "Botswana"),
    ("CAF", "CF", "Central African Republic"),
    ("CAN", "CA", "Canada"),
    ("CCK", "CC", "Cocos Islands|Cocos Keeling Islands"),
    ("CHE", "CH", "Switzerland"),
    ("CHL", "CL", "Chile"),
    ("CHN", "CN", "China|Peoples Republic of China"),
    ("CIV", "CI", "Cote dIvoire|Cote d Ivoire|Ivory Coast"),
    ("CMR", "CM", "Cameroon"),
    ("COD", "CD", "Democratic Republic of the Congo|DR Congo|DRC|Congo Kinshasa"),
    ("COG", "CG", "Republic of the Congo|Congo|Congo Brazzaville"),
    ("COK", "CK", "Cook Islands"),
    ("COL", "CO", "Colombia"),
    ("COM", "KM", "Comoros"),
    ("CPV", "CV", "Cape Verde|Cabo Verde"),
    ("CRI", "CR", "Costa Rica"),
    ("CUB", "CU", "Cuba"),
    ("CUW", "CW", "Curacao"),
    ("CXR", "CX", "Christmas Island"),
    ("CYM", "KY", "Cayman Islands"),
    ("CYP", "CY", "Cyprus"),
    ("CZE", "CZ", "Czechia|Czech Republic"),
    ("DEU", "DE", "Germany|D|Federal Republic of Germany"),
    ("DJI", "DJ", "Djibouti"),
    ("DMA", "DM", "Dominica"),
    ("DNK", "DK", "Denmark"),
    ("DOM", "DO", "Dominican Republic"),
    ("DZA", "DZ", "Algeria"),
    ("ECU", "EC", "Ecuador"),
    ("EGY", "EG", "Egypt|Arab Republic of Egypt"),
    ("ERI", "ER", "Eritrea"),
    ("ESH", "EH", "Western Sahara"),
    ("ESP", "ES", "Spain"),
    ("EST", "EE", "Estonia"),
    ("ETH", "ET", "Ethiopia"),
    ("FIN", "FI", "Finland"),
    ("FJI", "FJ", "Fiji"),
    ("FLK", "FK", "Falkland Islands|Falkland Islands Malvinas"),
    ("FRA", "FR", "France"),
    ("FRO", "FO", "Faroe Islands"),
    ("FSM", "FM", "Micronesia|Federated States of Micronesia"),
    ("GAB", "GA", "Gabon"),
    ("GBR", "GB", "United Kingdom|UK|Great Britain|United Kingdom of Great Britain and Northern Ireland"),
    ("GEO", "GE", "Georgia"),
    ("GGY", "GG", "Guernsey"),
    ("GHA", "GH", "Ghana"),
    ("GIB", "GI", "Gibraltar"),
    ("GIN", "GN", "Guinea"),
    ("GLP", "GP", "Guadeloupe"),
    ("GMB", "GM", "Gambia"),
    ("GNB", "GW", "Guinea Bissau"),
    ("GNQ", "GQ", "Equatorial Guinea"),
    ("GRC", "GR", "Greece"),
    ("GRD", "GD", "Grenada"),
    ("GRL", "GL", "Greenland"),
    ("GTM", "GT", "Guatemala"),
    ("GUF", "GF", "French Guiana"),
    ("GUM", "GU", "Guam"),
    ("GUY", "GY", "Guyana"),
    ("HKG", "HK", "Hong Kong"),
    ("HMD", "HM", "Heard Island and McDonald Islands"),
    ("HND", "HN", "Honduras"),
    ("HRV", "HR", "Croatia"),
    ("HTI", "HT", "Haiti"),
    ("HUN", "HU", "Hungary"),
    ("IDN", "ID", "Indonesia"),
    ("IMN", "IM", "Isle of Man"),
    ("IND", "IN", "India"),
    ("IOT", "IO", "British Indian Ocean Territory"),
    ("IRL", "IE", "Ireland"),
    ("IRN", "IR", "Iran"),
    ("IRQ", "IQ", "Iraq"),
    ("ISL", "IS", "Iceland"),
    ("ISR", "IL", "Israel"),
    ("ITA", "IT", "Italy"),
    ("JAM", "JM", "Jamaica"),
    ("JEY", "JE", "Jersey"),
    ("JOR", "JO", "Jordan"),
    ("JPN", "JP", "Japan"),
    ("KAZ", "KZ", "Kazakhstan"),
    ("KEN", "KE", "Kenya"),
    ("KGZ", "KG", "Kyrgyzstan"),
    ("KHM", "KH", "Cambodia"),
    ("KIR", "KI", "Kiribati"),
    ("KNA", "KN", "Saint Kitts and Nevis|St Kitts and Nevis"),
    ("KOR", "KR", "South Korea|Republic of Korea"),
    ("KWT", "KW", "Kuwait"),
    ("LAO", "LA", "Laos|Lao Peoples Democratic Republic"),
    ("LBN", "LB", "Lebanon"),
    ("LBR", "LR", "Liberia"),
    ("LBY", "LY", "Libya|Libyan Arab Jamahiriya"),
    ("LCA", "LC", "Saint Lucia|St Lucia"),
    ("LIE", "LI", "Liechtenstein"),
    ("LKA", "LK", "Sri Lanka"),
    ("LSO", "LS", "Lesotho"),
    ("LTU", "LT", "Lithuania"),
    ("LUX", "LU", "Luxembourg"),
    ("LVA", "LV", "Latvia"),
    ("MAC", "MO", "Macao|Macau"),
    ("MAF", "MF", "Saint Martin"),
    ("MAR", "MA", "Morocco"),
    ("MCO", "MC", "Monaco"),
    ("MDA", "MD", "Moldova"),
    ("MDG", "MG", "Madagascar"),
    ("MDV", "MV", "Maldives"),
    ("MEX", "MX", "Mexico"),
    ("MHL", "MH", "Marshall Islands"),
    ("MKD", "MK", "North Macedonia|Macedonia|The Former Yugoslav Republic of Macedonia"),
    ("MLI", "ML", "Mali"),
    ("MLT", "MT", "Malta"),
    ("MMR", "MM", "Myanmar|Burma"),
    ("MNE", "ME", "Montenegro"),
    ("MNG", "MN", "Mongolia"),
    ("MNP", "MP", "Northern Mariana Islands"),
    ("MOZ", "MZ", "Mozambique"),
    ("MRT", "MR", "Mauritania"),
    ("MSR", "MS", "Montserrat"),
    ("MTQ", "MQ", "Martinique"),
    ("MUS", "MU", "Mauritius"),
    ("MWI", "MW", "Malawi"),
    ("MYS", "MY", "Malaysia"),
    ("MYT", "YT", "Mayotte"),
    ("NAM", "NA", "Namibia"),
    ("NCL", "NC", "New Caledonia"),
    ("NER", "NE", "Niger"),
    ("NFK", "NF", "Norfolk Island"),
    ("NGA", "NG", "Nigeria"),
    ("NIC", "NI", "Nicaragua"),
    ("NIU", "NU", "Niue"),
    ("NLD", "NL", "Netherlands|Kingdom of the Netherlands|Holland"),
    ("NOR", "NO", "Norway"),
    ("NPL", "NP", "Nepal"),
    ("NRU", "NR", "Nauru"),
    ("NZL", "NZ", "New Zealand"),
    ("OMN", "OM", "Oman"),
    ("PAK", "PK", "Pakistan"),
    ("PAN", "PA", "Panama"),
    ("PCN", "PN", "Pitcairn"),
    ("PER", "PE", "Peru"),
    ("PHL", "PH", "Philippines"),
    ("PLW", "PW", "Palau"),
    ("PNG", "PG", "Papua New Guinea"),
    ("POL", "PL", "Poland"),
    ("PRI", "PR", "Puerto Rico"),
    ("PRK", "KP", "North Korea|Democratic Peoples Republic of Korea|DPRK"),
    ("PRT", "PT", "Portugal"),
    ("PRY", "PY", "Paraguay"),
    ("PSE", "PS", "Palestine|Palestinian|Palestinian Authority|Occupied Palestinian Territory"),
    ("PYF", "PF", "French Polynesia"),
    ("QAT", "QA", "Qatar"),
    ("REU", "RE", "Reunion"),
    ("RKS", "XK", "Kosovo"),
    ("ROU", "RO", "Romania"),
    ("RUS", "RU", "Russia|Russian Federation"),
    ("RWA", "RW", "Rwanda"),
    ("SAU", "SA", "Saudi Arabia"),
    ("SDN", "SD", "Sudan"),
    ("SEN", "SN", "Senegal"),
    ("SGP", "SG", "Singapore"),
    ("SGS", "GS", "South Georgia and the South Sandwich Islands"),
    ("SHN", "SH", "Saint Helena|Saint Helena Ascension and Tristan da Cunha"),
    ("SJM", "SJ", "Svalbard and Jan Mayen"),
    ("SLB", "SB", "Solomon Islands"),
    ("SLE", "SL", "Sierra Leone"),
    ("SLV", "SV", "El Salvador"),
    ("SMR", "SM", "San Marino"),
    ("SOM", "SO", "Somalia"),
    ("SPM", "PM", "Saint Pierre and Miquelon"),
    ("SRB", "RS", "Serbia"),
    ("SSD", "SS", "South Sudan"),
    ("STP", "ST", "Sao Tome and Principe"),
    ("SUR", "SR", "Suriname"),
    ("SVK", "SK", "Slovakia|Slovak Republic"),
    ("SVN", "SI", "Slovenia"),
    ("SWE", "SE", "Sweden"),
    ("SWZ", "SZ", "Eswatini|Swaziland"),
    ("SXM", "SX", "Sint Maarten"),
    ("SYC", "SC", "Seychelles"),
    ("SYR", "SY", "Syria|Syrian Arab Republic"),
    ("TCA", "TC", "Turks and Caicos Islands"),
    ("TCD", "TD", "Chad"),
    ("TGO", "TG", "Togo"),
    ("THA", "TH", "Thailand"),
    ("TJK", "TJ", "Tajikistan"),
    ("TKL", "TK", "Tokelau"),
    ("TKM", "TM", "Turkmenistan"),
    ("TLS", "TL", "Timor Leste|East Timor"),
    ("TON", "TO", "Tonga"),
    ("TTO", "TT", "Trinidad and Tobago"),
    ("TUN", "TN", "Tunisia"),
    ("TUR", "TR", "Turkey|Tuerkiye|Turkiye"),
    ("TUV", "TV", "Tuvalu"),
    ("TWN", "TW", "Taiwan|Taiwan Province of China"),
    ("TZA", "TZ", "Tanzania|United Republic of Tanzania"),
    ("UGA", "UG", "Uganda"),
    ("UKR", "UA", "Ukraine"),
    ("UMI", "UM", "United States Minor Outlying Islands"),
    ("URY", "UY", "Uruguay"),
    ("USA", "US", "United States|United States of America"),
    ("UZB", "UZ", "Uzbekistan"),
    ("VAT", "VA", "Holy See|Vatican|Vatican City|Vatican City State"),
    ("VCT", "VC", "Saint Vincent and the Grenadines|St Vincent and the Grenadines"),
    ("VEN", "VE", "Venezuela|Bolivarian Republic of Venezuela"),
    ("VGB", "VG", "British Virgin Islands"),
    ("VIR", "VI", "United States Virgin Islands|US Virgin Islands"),
    ("VNM", "VN", "Vietnam|Viet Nam"),
    ("VUT", "VU", "Vanuatu"),
    ("WLF", "WF", "Wallis and Futuna"),
    ("WSM", "WS", "Samoa"),
    ("YEM", "YE", "Yemen"),
    ("ZAF", "ZA", "South Africa"),
    ("ZMB", "ZM", "Zambia"),
    ("ZWE", "ZW", "Zimbabwe"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_name_means_one_issuer() {
        for (alpha3, alpha2, names) in ISSUERS {
            assert!(alpha3.len() == 3 && alpha2.len() == 2, "{alpha3}");
            for name in names.split('|').chain([*alpha3, *alpha2]) {
                assert_ne!(words(name), "", "{name}");
                assert_eq!(code(name), Some(*alpha3), "{name}");
            }
        }
        assert!(ISSUERS.is_sorted_by(|one, next| one.0 < next.0));
    }

    #[test]
    fn names_that_look_alike_stay_apart() {
        for (name, expected) in [
            ("KOREA NORTH", "PRK"),
            ("KOREA SOUTH", "KOR"),
            ("KOREA REPUBLIC OF", "KOR"),
            ("CONGO", "COG"),
            ("CONGO DEMOCRATIC REPUBLIC OF THE", "COD"),
            ("DOMINICA", "DMA"),
            ("DOMINICAN REPUBLIC", "DOM"),
            ("IRAN ISLAMIC REPUBLIC OF", "IRN"),
            ("TANZANIA UNITED REPUBLIC OF", "TZA"),
            ("BURMA", "MMR"),
        ] {
            assert_eq!(code(name), Some(expected), "{name}");
        }
        for unknown in ["", "REPUBLIC", "UTO", "KOREAS"] {
            assert_eq!(code(unknown), None, "{unknown}");
        }
    }
}
