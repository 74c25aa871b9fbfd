//! Patterns with wildcards and policy variables, for texts, ARNs and actions.

use crate::iam::truth::Truth;
use crate::ids::shorten;

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// This character.
    Literal(char),
    /// `?`: any one character.
    One,
    /// `*`: any characters, or none.
    Many,
    /// `${…}`: characters that only AWS knows, when it receives a request.
    Variable,
}

/// A text of a policy that is compared with a text of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Piece>);

impl Pattern {
    /// A text in which `*` and `?` are wildcards. If the policy's version has variables, `${*}`, `${?}` and `${$}` are
    /// those characters themselves.
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>.
    pub(crate) fn with_wildcards(text: &str, variables: bool) -> Self {
        Self::parse(text, variables, true)
    }

    /// A text without wildcards; variables as above.
    pub(crate) fn exact(text: &str, variables: bool) -> Self {
        Self::parse(text, variables, false)
    }

    fn parse(text: &str, variables: bool, wildcards: bool) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if let Some(variable) = rest.strip_prefix("${").filter(|_| variables) {
                // The meaning of an unclosed variable is not documented.
                let (name, after) = variable.split_once('}').unwrap_or_default();
                pieces.push(match name {
                    "*" => Piece::Literal('*'),
                    "?" => Piece::Literal('?'),
                    "$" => Piece::Literal('$'),
                    _ => Piece::Variable,
                });
                rest = after;
                continue;
            }
            pieces.push(match next {
                '*' if wildcards => Piece::Many,
                '?' if wildcards => Piece::One,
                character => Piece::Literal(character),
            });
            rest = rest.strip_prefix(next).unwrap_or_default();
        }
        Self(pieces)
    }

    /// Whether a text matches.
    pub(crate) fn matches(&self, text: &str) -> Truth {
        match matches(&self.0, text) {
            true if self.0.contains(&Piece::Variable) => Truth::unknown("it contains a policy variable"),
            matched => matched.into(),
        }
    }

    /// Whether all six parts of an ARN match, each by itself. `None`: the pattern or the text has fewer parts.
    fn matches_parts(&self, arn: &str) -> Option<bool> {
        let patterns: Vec<&[Piece]> = self.0.splitn(6, |piece| *piece == Piece::Literal(':')).collect();
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let complete = patterns.len() == 6 && parts.len() == 6;
        complete.then(|| patterns.into_iter().zip(parts).all(|(pattern, part)| matches(pattern, part)))
    }

    /// Whether an ARN matches in an ARN operator, which compares the six parts separately, so that a `*` ends at a
    /// colon. Source:
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>.
    pub(crate) fn matches_arn(&self, arn: &str) -> Truth {
        match (self.matches(arn), self.matches_parts(arn)) {
            (Truth::No, _) | (_, Some(false)) => Truth::No,
            (truth, Some(true)) => truth,
            (_, None) => Truth::unknown("an ARN operator compares it with a text that is not an ARN"),
        }
    }

    /// Whether an ARN matches in a `Resource` element. AWS forbids wildcards in the service part, and allows a `*` at
    /// the end of a part to reach beyond the colon. If a match needs either, it is unknown.
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>.
    pub(crate) fn matches_resource(&self, arn: &str) -> Truth {
        if self.0 == [Piece::Many] {
            return Truth::Yes;
        }
        let service = self.0.split(|piece| *piece == Piece::Literal(':')).nth(2).unwrap_or_default();
        let service_is_literal = service.iter().all(|piece| matches!(piece, Piece::Literal(_)));
        match (self.matches(arn), self.matches_parts(arn)) {
            (Truth::No, _) => Truth::No,
            (truth, Some(true)) if service_is_literal => truth,
            _ => Truth::unknown("it matches only if a wildcard reaches over a colon or replaces the service"),
        }
    }
}

/// Backtracks to the last `*`, which takes one more character whenever the rest does not match.
fn matches(pieces: &[Piece], text: &str) -> bool {
    let (mut pieces, mut text) = (pieces, text.chars());
    let mut last_star = None;
    loop {
        let mut rest = text.clone();
        match (pieces.split_first(), rest.next()) {
            (None, None) => return true,
            (Some((Piece::Many | Piece::Variable, after)), _) => {
                last_star = Some((after, text.clone()));
                pieces = after;
            }
            (Some((piece, after)), Some(next)) if *piece == Piece::One || *piece == Piece::Literal(next) => {
                (pieces, text) = (after, rest);
            }
            _ => {
                let Some((after, from)) = &mut last_star else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pieces, text) = (after, from.clone());
            }
        }
    }
}

/// Whether an action matches. Case does not matter. A pattern is `*`, or a service, a colon and an action with
/// wildcards. Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html>.
pub(crate) fn matches_action(pattern: &str, action: &str) -> Truth {
    let lower = Pattern::with_wildcards(&pattern.to_ascii_lowercase(), false);
    match pattern.split_once(':') {
        _ if lower.matches(&action.to_ascii_lowercase()) == Truth::No => Truth::No,
        None if pattern == "*" => Truth::Yes,
        Some((service, _)) if !service.contains(['*', '?']) || service == "*" => Truth::Yes,
        _ => Truth::unknown(format!("the action `{}` does not name a service", shorten(pattern, 80))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(pattern: &str, text: &str) -> Truth {
        Pattern::with_wildcards(pattern, true).matches(text)
    }

    #[test]
    fn wildcards_match_one_or_any_number_of_characters() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("**", "a"),
            ("a*c", "ac"),
            ("a*c", "abbc"),
            ("a?c", "abc"),
            ("*a*b", "xaab"),
            ("ü?", "üß"),
        ] {
            assert_eq!(like(pattern, text), Truth::Yes, "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("?", ""), ("a*c", "acb"), ("A", "a"), ("a?c", "ac"), ("*ab", "aab c")] {
            assert_eq!(like(pattern, text), Truth::No, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_slow_matching_down() {
        assert_eq!(like(&"*a".repeat(200), &"a".repeat(2000)), Truth::Yes);
        assert_eq!(like(&format!("{}b", "*a".repeat(200)), &"a".repeat(2000)), Truth::No);
    }

    #[test]
    fn escapes_are_characters_and_variables_are_unknown() {
        assert_eq!(like("a${*}b", "a*b"), Truth::Yes);
        assert_eq!(like("a${*}b", "axb"), Truth::No);
        assert_eq!(like("${?}${$}", "?$"), Truth::Yes);
        assert!(matches!(like("home/${aws:username}/*", "home/ann/x"), Truth::Unknown(_)));
        assert_eq!(like("home/${aws:username}/*", "away/ann/x"), Truth::No);
        assert!(matches!(like("${aws:username", "x"), Truth::Unknown(_)));
    }

    #[test]
    fn version_2008_has_no_variables() {
        let older = Pattern::with_wildcards("home/${aws:username}", false);
        assert_eq!(older.matches("home/ann"), Truth::No);
        assert_eq!(older.matches("home/${aws:username}"), Truth::Yes);
        assert_eq!(Pattern::exact("a*", false).matches("a*"), Truth::Yes);
        assert_eq!(Pattern::exact("a*", false).matches("ab"), Truth::No);
    }

    #[test]
    fn arn_parts_are_compared_separately() {
        let arn = |pattern: &str, text: &str| Pattern::with_wildcards(pattern, true).matches_arn(text);
        let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
        assert_eq!(arn("arn:aws:cloudtrail:*:123456789012:trail/*", trail), Truth::Yes);
        assert_eq!(arn("arn:*:cloudtrail:eu-?est-1:*:*", trail), Truth::Yes);
        assert_eq!(arn("arn:aws:cloudtrail:*:210987654321:trail/*", trail), Truth::No);
        // AWS's own example of a string that matches where an ARN does not.
        let long = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt";
        assert_eq!(like("arn:aws:someservice:*:111122223333:finance/*", long), Truth::Yes);
        assert_eq!(arn("arn:aws:someservice:*:111122223333:finance/*", long), Truth::No);
        assert!(matches!(arn("*", trail), Truth::Unknown(_)));
        assert_eq!(arn("audit", trail), Truth::No);
    }

    #[test]
    fn a_resource_is_a_star_or_an_arn_with_wildcards() {
        let resource = |pattern: &str, text: &str| Pattern::with_wildcards(pattern, true).matches_resource(text);
        let object = "arn:aws:s3:::logs/AWSLogs/1/a:b.gz";
        assert_eq!(resource("*", object), Truth::Yes);
        assert_eq!(resource("arn:aws:s3:::logs/*", object), Truth::Yes);
        assert_eq!(resource("arn:aws:s3:::logs", object), Truth::No);
        assert!(matches!(resource("arn:aws:s3*", object), Truth::Unknown(_)));
        assert!(matches!(resource("arn:aws:*:::logs/*", object), Truth::Unknown(_)));
        assert!(matches!(resource("arn:aws:s?:::logs/*", object), Truth::Unknown(_)));
        assert!(matches!(resource("arn:aws:s3:::logs/${aws:username}*", object), Truth::Unknown(_)));
    }

    #[test]
    fn actions_ignore_case_and_need_a_service() {
        assert_eq!(matches_action("*", "kms:Decrypt"), Truth::Yes);
        assert_eq!(matches_action("KMS:generatedatakey*", "kms:GenerateDataKeyWithoutPlaintext"), Truth::Yes);
        assert_eq!(matches_action("kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"), Truth::No);
        assert_eq!(matches_action("*:*", "kms:Decrypt"), Truth::Yes);
        assert!(matches!(matches_action("k*", "kms:Decrypt"), Truth::Unknown(_)));
        assert!(matches!(matches_action("k?s:Decrypt", "kms:Decrypt"), Truth::Unknown(_)));
        assert_eq!(matches_action("s3:*", "kms:Decrypt"), Truth::No);
        assert_eq!(matches_action("kms:${aws:username}", "kms:Decrypt"), Truth::No, "an action has no variables");
    }
}
