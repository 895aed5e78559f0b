//! The answer of a user's query: one number.

use prometheus_http_query::response::Data;

/// Reads exactly one number. Anything else is an error that says so: an empty answer is not a zero (kedacore/keda#3065).
pub(super) fn one(answer: &Data) -> Result<f64, String> {
    let value = match answer {
        Data::Scalar(sample) => sample.value(),
        Data::Vector(rows) => match rows.as_slice() {
            [row] => row.sample().value(),
            [] => return Err("the query found no series; one that may find none can end with \"or vector(0)\"".into()),
            rows => {
                let count = rows.len();
                return Err(format!("the query found {count} series, wants one: aggregate it, for example with sum()"));
            }
        },
        Data::Matrix(_) => {
            return Err("the query gives a range of values, wants one: use a function such as rate()".into());
        }
    };
    if value.is_finite() { Ok(value) } else { Err(format!("the query gives {value}, wants a finite number")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> Result<f64, String> {
        one(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn one_number_is_taken_from_a_scalar_and_from_a_single_series() {
        assert_eq!(answer(r#"{"resultType":"scalar","result":[1700000000.1,"42.5"]}"#), Ok(42.5));
        assert_eq!(answer(r#"{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"7"]}]}"#), Ok(7.0));
    }

    #[test]
    fn everything_else_is_an_error_that_says_what_came_and_what_to_do() {
        let row = r#"{"metric":{},"value":[1,"7"]}"#;
        for (json, error) in [
            (
                r#"{"resultType":"vector","result":[]}"#.to_owned(),
                "the query found no series; one that may find none can end with \"or vector(0)\"",
            ),
            (
                format!(r#"{{"resultType":"vector","result":[{row},{row},{row}]}}"#),
                "the query found 3 series, wants one: aggregate it, for example with sum()",
            ),
            (
                r#"{"resultType":"matrix","result":[]}"#.to_owned(),
                "the query gives a range of values, wants one: use a function such as rate()",
            ),
            (r#"{"resultType":"scalar","result":[1,"NaN"]}"#.to_owned(), "the query gives NaN, wants a finite number"),
            (r#"{"resultType":"scalar","result":[1,"+Inf"]}"#.to_owned(), "the query gives inf, wants a finite number"),
            (
                r#"{"resultType":"scalar","result":[1,"-Inf"]}"#.to_owned(),
                "the query gives -inf, wants a finite number",
            ),
        ] {
            assert_eq!(answer(&json), Err(error.to_owned()), "{json}");
        }
    }
}
