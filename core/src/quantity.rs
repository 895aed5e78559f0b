//! Kubernetes quantities: `500m`, `1.5Gi`, `2e3` (`apimachinery/pkg/api/resource/quantity.go`).

/// The number in base units (cores, bytes); `None` if it is not a quantity, or negative.
pub fn parse(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let value = number * factor(suffix)?;
    (value.is_finite() && value >= 0.0).then_some(value)
}

fn factor(suffix: &str) -> Option<f64> {
    let binary = |power| 1024_f64.powi(power);
    Some(match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quantity_is_read_as_kubernetes_reads_it() {
        for (text, value) in [
            ("0", 0.0),
            ("2", 2.0),
            ("500m", 0.5),
            ("0.1", 0.1),
            (".5", 0.5),
            ("+1", 1.0),
            ("128974848", 128_974_848.0),
            ("129M", 129e6),
            ("123Mi", 128_974_848.0),
            ("1.5Gi", 1_610_612_736.0),
            ("1e3", 1e3),
            ("1E3", 1e3),
            ("12e-1", 1.2),
            ("2E", 2e18),
            ("100n", 1e-7),
        ] {
            let parsed = parse(text).unwrap_or_else(|| panic!("{text} is a quantity"));
            assert!((parsed - value).abs() <= value * 1e-12, "{text} is {parsed}");
        }
        for text in ["", "m", "1 Gi", "1gi", "-1", "one", "1e", "1e999", "1.2.3", "1K", "1µ"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,24}") {
            parse(&text);
        }
    }
}
