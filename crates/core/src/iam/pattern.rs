//! Texts with wildcards and policy variables, and ARNs with them.

use crate::iam::truth::Truth;
use crate::ids::shorten;

/// What a pattern is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// That character.
    Literal(char),
    /// `?`: any one character.
    One,
    /// `*`: any characters, or none.
    Many,
    /// `${…}`: characters that only AWS knows, at the time of a request.
    Variable,
}

/// A text of a policy that is compared with a text of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pieces: Vec<Piece>,
}

impl Pattern {
    /// A text in which `*` and `?` are wildcards. Where the policy's language knows variables, `${*}`,
    /// `${?}` and `${$}` are those characters themselves.
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
        loop {
            let variable = if variables { rest.strip_prefix("${") } else { None };
            if let Some(inside) = variable {
                // One that is never closed has no meaning that anybody wrote down.
                let (name, after) = inside.split_once('}').unwrap_or(("", ""));
                pieces.push(match name {
                    "*" => Piece::Literal('*'),
                    "?" => Piece::Literal('?'),
                    "$" => Piece::Literal('$'),
                    _ => Piece::Variable,
                });
                rest = after;
                continue;
            }
            let mut characters = rest.chars();
            match characters.next() {
                None => return Self { pieces },
                Some('*') if wildcards => pieces.push(Piece::Many),
                Some('?') if wildcards => pieces.push(Piece::One),
                Some(character) => pieces.push(Piece::Literal(character)),
            }
            rest = characters.as_str();
        }
    }

    /// Whether a text is one that this pattern stands for, a variable standing for anything.
    fn could_be(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        matches(&self.pieces, &text)
    }

    fn has_variables(&self) -> bool {
        self.pieces.contains(&Piece::Variable)
    }

    /// Whether a text is one that this pattern stands for.
    pub(crate) fn is(&self, text: &str) -> Truth {
        match (self.could_be(text), self.has_variables()) {
            (false, _) => Truth::No,
            (true, false) => Truth::Yes,
            (true, true) => Truth::unknown("it holds a policy variable"),
        }
    }

    /// The six parts of an ARN, if this pattern has as many.
    fn arn_parts(&self) -> Option<Vec<&[Piece]>> {
        let parts: Vec<&[Piece]> = self.pieces.splitn(6, |piece| *piece == Piece::Literal(':')).collect();
        (parts.len() == 6).then_some(parts)
    }

    /// How this pattern and an ARN compare part by part, where both have the six of an ARN.
    fn part_by_part(&self, arn: &str) -> Option<bool> {
        let ours = self.arn_parts()?;
        let theirs: Vec<&str> = arn.splitn(6, ':').collect();
        (theirs.len() == 6).then(|| {
            ours.iter().zip(theirs).all(|(pieces, part)| matches(pieces, &part.chars().collect::<Vec<char>>()))
        })
    }

    /// Whether an ARN is one that this pattern stands for in an ARN operator: its six parts are
    /// compared separately, so a `*` ends at a colon.
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>.
    pub(crate) fn is_arn(&self, arn: &str) -> Truth {
        match (self.is(arn), self.part_by_part(arn)) {
            (Truth::No, _) | (_, Some(false)) => Truth::No,
            (truth, Some(true)) => truth,
            (_, None) => Truth::unknown("it is compared as an ARN and not both sides are ARNs"),
        }
    }

    /// Whether an ARN is one that this pattern stands for in a `Resource` element. AWS forbids
    /// wildcards in the service part, and lets a `*` at the end of a part reach beyond the colon; where
    /// only that would make them match, nobody can tell.
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>.
    pub(crate) fn is_resource(&self, arn: &str) -> Truth {
        if self.pieces == [Piece::Many] {
            return Truth::Yes;
        }
        let service_is_literal = self.arn_parts().is_some_and(|parts| {
            parts.get(2).is_some_and(|service| service.iter().all(|piece| matches!(piece, Piece::Literal(_))))
        });
        match (self.is(arn), self.part_by_part(arn)) {
            (Truth::No, _) => Truth::No,
            (truth, Some(true)) if service_is_literal => truth,
            _ => Truth::unknown("a wildcard in it would have to reach over a colon or stand for a service"),
        }
    }
}

/// Remembers the last `*` and lets it take one character more whenever what follows does not fit.
fn matches(pieces: &[Piece], text: &[char]) -> bool {
    let (mut pieces, mut text) = (pieces, text);
    let mut last_star: Option<(&[Piece], &[char])> = None;
    loop {
        match (pieces.split_first(), text.split_first()) {
            (None, None) => return true,
            (Some((Piece::Many | Piece::Variable, after)), _) => {
                last_star = Some((after, text));
                pieces = after;
            }
            (Some((piece, after)), Some((character, left)))
                if *piece == Piece::One || *piece == Piece::Literal(*character) =>
            {
                (pieces, text) = (after, left);
            }
            _ => match last_star.and_then(|(after, from)| from.split_first().map(|(_, left)| (after, left))) {
                Some((after, left)) => {
                    last_star = Some((after, left));
                    (pieces, text) = (after, left);
                }
                None => return false,
            },
        }
    }
}

/// Whether an action is one that a pattern stands for: case does not matter, and a pattern is `*` or a
/// service, a colon and an action, with wildcards in the action only.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html>.
pub(crate) fn is_action(pattern: &str, action: &str) -> Truth {
    let lowered = Pattern::with_wildcards(&pattern.to_ascii_lowercase(), false);
    if !lowered.could_be(&action.to_ascii_lowercase()) {
        return Truth::No;
    }
    match pattern.split_once(':') {
        _ if pattern == "*" => Truth::Yes,
        Some((service, _)) if !service.contains(['*', '?']) || service == "*" => Truth::Yes,
        _ => Truth::unknown(format!("the action `{}` does not name a service", shorten(pattern, 80))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(pattern: &str, text: &str) -> Truth {
        Pattern::with_wildcards(pattern, true).is(text)
    }

    #[test]
    fn wildcards_match_any_one_character_and_any_number_of_them() {
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
    fn a_pattern_of_many_stars_is_no_burden() {
        assert_eq!(like(&"*a".repeat(200), &"a".repeat(2000)), Truth::Yes);
        assert_eq!(like(&format!("{}b", "*a".repeat(200)), &"a".repeat(2000)), Truth::No);
    }

    #[test]
    fn the_three_escapes_are_characters_and_other_variables_are_doubts() {
        assert_eq!(like("a${*}b", "a*b"), Truth::Yes);
        assert_eq!(like("a${*}b", "axb"), Truth::No);
        assert_eq!(like("${?}${$}", "?$"), Truth::Yes);
        assert!(matches!(like("home/${aws:username}/*", "home/ann/x"), Truth::Unknown(_)));
        assert_eq!(like("home/${aws:username}/*", "away/ann/x"), Truth::No);
        assert!(matches!(like("${aws:username", "x"), Truth::Unknown(_)));
    }

    #[test]
    fn in_the_older_language_a_variable_is_literal() {
        let older = Pattern::with_wildcards("home/${aws:username}", false);
        assert_eq!(older.is("home/ann"), Truth::No);
        assert_eq!(older.is("home/${aws:username}"), Truth::Yes);
        assert_eq!(Pattern::exact("a*", false).is("a*"), Truth::Yes);
        assert_eq!(Pattern::exact("a*", false).is("ab"), Truth::No);
    }

    #[test]
    fn the_parts_of_an_arn_are_compared_separately() {
        let arn = |pattern: &str, text: &str| Pattern::with_wildcards(pattern, true).is_arn(text);
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
    fn a_resource_is_everything_or_an_arn_with_wildcards() {
        let resource = |pattern: &str, text: &str| Pattern::with_wildcards(pattern, true).is_resource(text);
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
    fn actions_are_compared_without_case_and_want_a_service() {
        assert_eq!(is_action("*", "kms:Decrypt"), Truth::Yes);
        assert_eq!(is_action("KMS:generatedatakey*", "kms:GenerateDataKeyWithoutPlaintext"), Truth::Yes);
        assert_eq!(is_action("kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"), Truth::No);
        assert_eq!(is_action("*:*", "kms:Decrypt"), Truth::Yes);
        assert!(matches!(is_action("k*", "kms:Decrypt"), Truth::Unknown(_)));
        assert!(matches!(is_action("k?s:Decrypt", "kms:Decrypt"), Truth::Unknown(_)));
        assert_eq!(is_action("s3:*", "kms:Decrypt"), Truth::No);
        assert_eq!(is_action("kms:${aws:username}", "kms:Decrypt"), Truth::No, "an action has no variables");
    }
}
